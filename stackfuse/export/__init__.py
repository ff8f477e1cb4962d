"""The fitted stack as ONE Keras graph, and the graph as a file that needs no stackfuse."""

from stackfuse.export import (  # noqa: F401
    _bayes,
    _calibration,
    _columns,
    _combiners,
    _compose,
    _discriminant,
    _dummy,
    _encoding,
    _ensembles,
    _gaussian_process,
    _histogram,
    _isotonic,
    _kernels,
    _linear,
    _mlp,
    _multi,
    _neighbors,
    _neural,
    _preprocessing,
    _projection,
    _stacks,
    _trees,
)
from stackfuse.export._convert import convert, convert_type
from stackfuse.export._formats import ExportReport, export
from stackfuse.export._graph import to_keras

__all__ = ["ExportReport", "convert", "convert_type", "export", "to_keras"]
