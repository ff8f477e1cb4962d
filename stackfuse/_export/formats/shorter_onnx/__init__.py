"""Shorter ONNX graphs: what no other format can say in fewer operators, ONNX can.

For one row a runtime spends its time between operators, a third of a microsecond or more each. Each
pattern is replaced by operators with the same numbers, bit for bit. Where a pattern is not found,
as another release of the converter may write it, the graph stays as it is, and is right.
"""

from stackfuse._export.formats.shorter_onnx.shortening import shorten

__all__ = ["shorten"]
