"""Transformers of each column's distribution: quantile and power transforms."""

import numpy as np
from keras import ops
from scipy.stats import norm
from sklearn.preprocessing import PowerTransformer, QuantileTransformer

from stackfuse._core import sklearn_private
from stackfuse._export.converters.preprocessing import quantile_shares
from stackfuse._export.converters.shared.functions import (
    expm1,
    log1p,
    normal_quantile,
)
from stackfuse._export.converters.shared.intervals import interpolated
from stackfuse._export.converters.shared.knot_trees import has_trees_for
from stackfuse._export.converters.shared.normal_pieces import normal_quantile_of_pieces
from stackfuse._export.graph.arithmetic import (
    constant,
    exact_constants,
)
from stackfuse._export.graph.convert import (
    convert,
    convert_transformer,
)
from stackfuse._export.graph.masks import refuse_rows


@convert_transformer(QuantileTransformer)
def _quantile(estimator, x):
    is_normal = estimator.output_distribution == "normal"
    # scikit-learn cuts where the share is as near to 0 or 1 as this.
    share = sklearn_private.BOUNDS_THRESHOLD - np.spacing(1)
    if x.dtype == "float64" and has_trees_for(quantile_shares.knots_of(estimator)):
        y = quantile_shares.shares_by_trees(estimator, x)
        return normal_quantile_of_pieces(y, share) if is_normal else y
    knots = np.asarray(estimator.quantiles_, np.float64).T
    shares = np.tile(np.asarray(estimator.references_, np.float64), (len(knots), 1))
    # From below and from above: of repeated quantiles one finds the last, the other the first.
    up = interpolated(x, knots, shares)
    down = interpolated(-x, -knots[:, ::-1], -shares[:, ::-1])
    y = (up - down) * constant(0.5, x)
    low, high, margin = exact_constants(
        x, knots[:, 0], knots[:, -1], np.full(len(knots), sklearn_private.BOUNDS_THRESHOLD)
    )
    zero, one = constant(0, x), constant(1, x)
    if not is_normal:
        y = ops.where(ops.equal(x, high), one, y)
        return ops.where(ops.equal(x, low), zero, y)
    first, last = constant(share, x), constant(1 - share, x)
    z = normal_quantile(ops.minimum(ops.maximum(y, first), last))
    z = ops.where(ops.isnan(x), x, z)
    is_last, is_first = ops.greater(x + margin, high), ops.less(x - margin, low)
    if x.dtype == "float32":  # the margin may be less than the next number is away
        is_last = ops.logical_or(ops.greater_equal(x, high), is_last)
        is_first = ops.logical_or(ops.less_equal(x, low), is_first)
    z = ops.where(is_last, constant(norm.ppf(1 - share), x), z)
    return ops.where(is_first, constant(norm.ppf(share), x), z)


# Power transforms: Box-Cox and Yeo-Johnson.


@convert_transformer(PowerTransformer)
def _power(estimator, x):
    powers = np.asarray(estimator.lambdas_, np.float64)
    zero = constant(0, x)
    if estimator.method == "box-cox":
        refuse_rows(ops.less_equal(x, zero))
        y = _box_cox(ops.log(x), powers, smallest=1e-19)
    else:
        eps = np.finfo(np.float64).eps
        is_above = ops.greater_equal(x, zero)
        above = _box_cox(log1p(ops.where(is_above, x, zero)), powers, eps)
        below = _box_cox(log1p(ops.where(is_above, zero, -x)), 2 - powers, eps)  # of NaN, too
        y = ops.where(is_above, above, -below)
    return convert(estimator._scaler, y, "transform") if estimator.standardize else y


def _box_cox(logs, powers: np.ndarray, smallest: float):
    """Return ``(exp(logs) ** powers - 1) / powers``, the logarithm itself for powers of zero."""
    is_zero = np.abs(powers) < smallest
    divisor = np.where(is_zero, 1.0, powers)
    y = expm1(logs * constant(divisor, logs)) / exact_constants(logs, divisor)[0]
    return ops.where(is_zero, logs, y) if is_zero.any() else y
