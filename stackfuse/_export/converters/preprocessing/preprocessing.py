"""Scalers: the same operations in the same order as in scikit-learn."""

import numpy as np
from keras import ops
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

from stackfuse._export.converters.shared.before_scaling import note_scaled
from stackfuse._export.graph.arithmetic import (
    constant,
    exact_constants,
    lengths_of,
)
from stackfuse._export.graph.convert import convert_transformer


@convert_transformer(StandardScaler)
def _standard(estimator, x):
    center = estimator.mean_ if estimator.with_mean else None
    return _scaled(x, center, estimator.scale_ if estimator.with_std else None)


@convert_transformer(RobustScaler)
def _robust(estimator, x):
    center = estimator.center_ if estimator.with_centering else None
    return _scaled(x, center, estimator.scale_ if estimator.with_scaling else None)


@convert_transformer(MaxAbsScaler)
def _max_abs(estimator, x):
    x = _scaled(x, None, estimator.scale_)
    return _clipped(x, -1.0, 1.0) if getattr(estimator, "clip", False) else x


@convert_transformer(MinMaxScaler)
def _min_max(estimator, x):
    scale, offset = exact_constants(x, estimator.scale_, estimator.min_)
    y = x * scale + offset
    if estimator.clip:
        return _clipped(y, *estimator.feature_range)
    note_scaled(x, y, lambda v, k: v * estimator.scale_[k] + estimator.min_[k])
    return y


@convert_transformer(Normalizer)
def _normalizer(estimator, x):
    return _normalized(x, estimator.norm, smallest=10 * np.finfo(np.float64).eps)


@convert_transformer(TfidfTransformer)
def _tf_idf(estimator, x):
    if estimator.sublinear_tf:
        zero, one = constant(0, x), constant(1, x)
        is_zero = ops.equal(x, zero)
        x = ops.where(is_zero, zero, ops.log(ops.where(is_zero, one, x)) + one)
    if estimator.use_idf:
        x = x * exact_constants(x, estimator.idf_)[0]
    return x if estimator.norm is None else _normalized(x, estimator.norm, np.finfo(x.dtype).tiny)


def _normalized(x, norm: str, smallest):
    """Divide rows by their norms; rows with a norm below `smallest` stay."""
    if norm == "l2":
        size = lengths_of(x)
    else:
        add_up = {"l1": ops.sum, "max": ops.max}[norm]
        size = add_up(ops.abs(x), axis=1, keepdims=True)
    return x / ops.where(ops.less(size, constant(smallest, x)), constant(1, x), size)


def _scaled(x, center: np.ndarray | None, scale: np.ndarray | None):
    y = x if center is None else x - exact_constants(x, center)[0]
    y = y if scale is None else y / exact_constants(x, scale)[0]

    def scaled(numbers: np.ndarray, columns: np.ndarray) -> np.ndarray:
        numbers = numbers if center is None else numbers - center[columns]
        return numbers if scale is None else numbers / scale[columns]

    if y is not x:
        note_scaled(x, y, scaled)
    return y


def _clipped(x, low: float, high: float):
    return ops.minimum(ops.maximum(x, constant(low, x)), constant(high, x))
