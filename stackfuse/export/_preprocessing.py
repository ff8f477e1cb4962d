"""Scalers: the same operations in the same order as in scikit-learn."""

import numpy as np
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from stackfuse.export._arithmetic import constant, held
from stackfuse.export._convert import convert_type, unsupported


@convert_type(StandardScaler)
def _standard(estimator, x, method):
    _check_transform(estimator, method)
    center = estimator.mean_ if estimator.with_mean else None
    return _scaled(x, center, estimator.scale_ if estimator.with_std else None)


@convert_type(RobustScaler)
def _robust(estimator, x, method):
    _check_transform(estimator, method)
    center = estimator.center_ if estimator.with_centering else None
    return _scaled(x, center, estimator.scale_ if estimator.with_scaling else None)


@convert_type(MaxAbsScaler)
def _max_abs(estimator, x, method):
    _check_transform(estimator, method)
    x = _scaled(x, None, estimator.scale_)
    return _clipped(x, -1.0, 1.0) if getattr(estimator, "clip", False) else x


@convert_type(MinMaxScaler)
def _min_max(estimator, x, method):
    _check_transform(estimator, method)
    scale, offset = held(x, estimator.scale_, estimator.min_)
    x = x * scale + offset
    return _clipped(x, *estimator.feature_range) if estimator.clip else x


def _check_transform(estimator, method: str) -> None:
    if method != "transform":
        raise unsupported(estimator, method)


def _scaled(x, center: np.ndarray | None, scale: np.ndarray | None):
    if center is not None:
        x = x - held(x, center)[0]
    if scale is not None:
        x = x / held(x, scale)[0]
    return x


def _clipped(x, low: float, high: float):
    from keras import ops

    return ops.minimum(ops.maximum(x, constant(low, x)), constant(high, x))
