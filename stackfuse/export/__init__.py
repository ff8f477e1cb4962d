"""The fitted stack as ONE Keras graph, and the graph as a file that needs no stackfuse."""

from stackfuse.export import _combiners, _compose, _linear, _neural, _preprocessing, _trees  # noqa: F401
from stackfuse.export._convert import convert, convert_type
from stackfuse.export._formats import ExportReport, export
from stackfuse.export._graph import to_keras

__all__ = ["ExportReport", "convert", "convert_type", "export", "to_keras"]
