"""The fitted stack as ONE Keras graph, and the graph as a file that needs no stackfuse."""

from stackfuse._export import converters, formats
from stackfuse._export.checking.parity import check_parity
from stackfuse._export.compiled_stack import compiled
from stackfuse._export.exporting import ExportReport, export
from stackfuse._export.graph.convert import convert, converter_for
from stackfuse._export.graph.graph import to_keras
from stackfuse._export.kit.for_converters import check_converter
from stackfuse._export.kit.for_formats import check_format
from stackfuse._export.written_manifest import golden_rows

__all__ = [
    "ExportReport",
    "check_converter",
    "check_format",
    "check_parity",
    "compiled",
    "convert",
    "converter_for",
    "converters",
    "export",
    "formats",
    "golden_rows",
    "to_keras",
]
