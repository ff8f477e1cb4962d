"""The fitted stack as ONE Keras graph, and the graph as a file that needs no stackfuse."""

from stackfuse._export import converters
from stackfuse._export.compiled import compiled
from stackfuse._export.export import ExportReport, export
from stackfuse._export.graph.convert import convert, converter_for
from stackfuse._export.graph.graph import to_keras

__all__ = [
    "ExportReport",
    "compiled",
    "convert",
    "converter_for",
    "converters",
    "export",
    "to_keras",
]
