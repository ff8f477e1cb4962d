"""The inverses of transformers: they turn predictions back into what was asked for."""

import numpy as np
from keras import ops
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from stackfuse._core import NotConvertible, sklearn_private
from stackfuse._export.converters.shared import numpy_functions
from stackfuse._export.converters.shared.functions import erf, expm1, log1p
from stackfuse._export.converters.shared.intervals import interpolated
from stackfuse._export.graph.arithmetic import constant, exact_constants


def inverse_of(transformer, y):
    """Return y after a transformer's ``inverse_transform``.

    Parameters
    ----------
    transformer : fitted transformer
        That of a ``TransformedTargetRegressor``.
    y : KerasTensor of shape (batch, n_outputs)

    Raises
    ------
    NotConvertible
        If the inverse has no exact counterpart.
    """
    if isinstance(transformer, Pipeline):
        for _, step in reversed(transformer.steps):
            y = y if step in (None, "passthrough") else inverse_of(step, y)
        return y
    inverse = _INVERSES.get(type(transformer))
    if inverse is None:
        raise NotConvertible(
            f"The inverse of {type(transformer).__name__} cannot be converted to a Keras graph. "
            "Use a scaler, a power or quantile transform or numpy functions as transformer of "
            "TransformedTargetRegressor."
        )
    return inverse(transformer, y)


def _inverse_of_function(transformer, y):
    if transformer.inverse_func is None:
        return y
    used_by = "TransformedTargetRegressor, which turns predictions back,"
    settings = transformer.inv_kw_args
    return numpy_functions.apply(transformer.inverse_func, y, settings, used_by=used_by)


def _inverse_of_standard(scaler, y):
    y = y * exact_constants(y, scaler.scale_)[0] if scaler.with_std else y
    return y + exact_constants(y, scaler.mean_)[0] if scaler.with_mean else y


def _inverse_of_robust(scaler, y):
    y = y * exact_constants(y, scaler.scale_)[0] if scaler.with_scaling else y
    return y + exact_constants(y, scaler.center_)[0] if scaler.with_centering else y


def _inverse_of_min_max(scaler, y):
    return (y - exact_constants(y, scaler.min_)[0]) / exact_constants(y, scaler.scale_)[0]


def _inverse_of_max_abs(scaler, y):
    return y * exact_constants(y, scaler.scale_)[0]


def _inverse_of_power(transformer, y):
    if transformer.standardize:
        y = _inverse_of_standard(transformer._scaler, y)
    powers, zero = np.asarray(transformer.lambdas_, np.float64), constant(0, y)
    if transformer.method == "box-cox":
        return ops.exp(_inverse_box_cox(y, powers, smallest=np.finfo(np.float64).tiny))
    eps = float(np.spacing(1.0))
    is_above = ops.greater_equal(y, zero)
    above = expm1(_inverse_box_cox(ops.where(is_above, y, zero), powers, eps))
    below = expm1(_inverse_box_cox(ops.where(is_above, zero, -y), 2 - powers, eps))  # of NaN, too
    return ops.where(is_above, above, -below)


def _inverse_box_cox(y, powers: np.ndarray, smallest: float):
    """Return ``log(1 + powers * y) / powers``, for powers of zero y itself: the logarithm."""
    is_zero = np.abs(powers) < smallest
    divisor = np.where(is_zero, 1.0, powers)
    factor, below = exact_constants(y, divisor, divisor)
    logs = log1p(y * factor) / below
    return ops.where(is_zero, y, logs) if is_zero.any() else logs


def _inverse_of_quantile(transformer, y):
    knots = np.asarray(transformer.quantiles_, np.float64).T
    shares = np.tile(np.asarray(transformer.references_, np.float64), (len(knots), 1))
    if transformer.output_distribution == "uniform":
        return interpolated(y, shares, knots)
    half, margin = constant(0.5, y), constant(sklearn_private.BOUNDS_THRESHOLD, y)
    share = erf(y * constant(np.sqrt(0.5), y)) * half + half
    low, high = exact_constants(y, knots[:, 0], knots[:, -1])
    inside = interpolated(share, shares, knots)
    is_last = ops.greater(share + margin, constant(1, y))
    y = ops.where(is_last, high, inside)
    return ops.where(ops.less(share, margin), low, y)


#: The inverses of transformers of targets.
_INVERSES = {
    FunctionTransformer: _inverse_of_function,
    StandardScaler: _inverse_of_standard,
    RobustScaler: _inverse_of_robust,
    MinMaxScaler: _inverse_of_min_max,
    MaxAbsScaler: _inverse_of_max_abs,
    PowerTransformer: _inverse_of_power,
    QuantileTransformer: _inverse_of_quantile,
}
