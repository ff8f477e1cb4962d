"""The fitted stack as ONE Keras graph, and the graph as a file that needs no stackfuse."""

from stackfuse._export import converters, formats
from stackfuse._export.checking.parity import check_parity
from stackfuse._export.compiled_stack import compiled
from stackfuse._export.exporting import ExportReport, compare, export
from stackfuse._export.formats import format_of
from stackfuse._export.graph.convert import convert, converter_for
from stackfuse._export.graph.graph import to_keras
from stackfuse._export.written_manifest import golden_rows

__all__ = [
    "ExportReport",
    "check_parity",
    "compare",
    "compiled",
    "convert",
    "converter_for",
    "converters",
    "export",
    "format_of",
    "formats",
    "golden_rows",
    "to_keras",
]
