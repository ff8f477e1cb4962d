"""Isotonic regression: a line between each two knots."""

import numpy as np
from sklearn.isotonic import IsotonicRegression

from stackfuse._export.converters.shared.intervals import interpolated
from stackfuse._export.graph.arithmetic import (
    as_column,
    held,
)
from stackfuse._export.graph.convert import (
    convert_type,
    unsupported,
)


@convert_type(IsotonicRegression)
def _isotonic(estimator, x, method):
    from keras import ops

    if method not in ("predict", "transform"):
        raise unsupported(estimator, method)
    x = ops.reshape(x, (-1, 1))
    knots = np.asarray(estimator.X_thresholds_, np.float64)
    values = np.asarray(estimator.y_thresholds_, np.float64)
    if len(knots) == 1:  # the same everywhere
        return as_column(held(x, values)[0])
    y = as_column(interpolated(x, knots[None], values[None]))
    if estimator.out_of_bounds == "clip":
        return y
    low, high, nothing = held(x, knots[0], knots[-1], np.nan)
    outside = ops.logical_or(ops.less(x, low), ops.greater(x, high))
    # Where scikit-learn raises, with out_of_bounds="raise", there is no number either.
    return ops.where(as_column(outside), as_column(nothing), y)
