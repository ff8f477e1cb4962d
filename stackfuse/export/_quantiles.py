"""Quantile transforms: the share of training rows below a number, or the normal quantile of it."""

import numpy as np
from sklearn.preprocessing import QuantileTransformer
from sklearn.preprocessing._data import BOUNDS_THRESHOLD

from stackfuse.export._arithmetic import constant, held
from stackfuse.export._convert import convert_transformer
from stackfuse.export._functions import normal_quantile
from stackfuse.export._intervals import interpolated


@convert_transformer(QuantileTransformer)
def _quantile(estimator, x):
    from keras import ops

    knots = np.asarray(estimator.quantiles_, np.float64).T
    shares = np.tile(np.asarray(estimator.references_, np.float64), (len(knots), 1))
    # From below and from above: of repeated quantiles one finds the last, the other the first.
    up = interpolated(x, knots, shares)
    down = interpolated(-x, -knots[:, ::-1], -shares[:, ::-1])
    y = (up - down) * constant(0.5, x)
    low, high, margin = held(x, knots[:, 0], knots[:, -1], np.full(len(knots), BOUNDS_THRESHOLD))
    zero, one = constant(0, x), constant(1, x)
    if estimator.output_distribution == "uniform":
        y = ops.where(ops.equal(x, high), one, y)
        return ops.where(ops.equal(x, low), zero, y)
    margin_of_share = BOUNDS_THRESHOLD - np.spacing(1)
    first, last = constant(margin_of_share, x), constant(1 - margin_of_share, x)
    y = ops.where(ops.greater(x + margin, high), one, y)
    y = ops.where(ops.less(x - margin, low), zero, y)
    z = normal_quantile(ops.minimum(ops.maximum(y, first), last))
    return ops.where(ops.isnan(x), x, z)
