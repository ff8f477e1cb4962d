"""The fitted stack as ONE Keras graph, and the graph as a file that needs no stackfuse."""

from stackfuse.export import (  # noqa: F401
    _bayes,
    _binning,
    _calibration,
    _clusters,
    _columns,
    _combiners,
    _compose,
    _discriminant,
    _dummy,
    _encoding,
    _ensembles,
    _gaussian_process,
    _histogram,
    _imputing,
    _isotonic,
    _iterative_imputing,
    _kernel_maps,
    _kernels,
    _linear,
    _manifolds,
    _mlp,
    _multi,
    _neighbor_imputing,
    _neighbors,
    _neural,
    _polynomial,
    _powers,
    _preprocessing,
    _projection,
    _quantiles,
    _sparse_coding,
    _splines,
    _stacks,
    _trees,
)
from stackfuse.export._convert import convert, convert_type
from stackfuse.export._export import ExportReport, export
from stackfuse.export._graph import to_keras

__all__ = ["ExportReport", "convert", "convert_type", "export", "to_keras"]
