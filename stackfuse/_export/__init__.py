"""The fitted stack as ONE Keras graph, and the graph as a file that needs no stackfuse."""

from stackfuse._export.export import ExportReport, export
from stackfuse._export.graph.convert import convert, convert_type
from stackfuse._export.graph.graph import to_keras

__all__ = ["ExportReport", "convert", "convert_type", "converters", "export", "to_keras"]
