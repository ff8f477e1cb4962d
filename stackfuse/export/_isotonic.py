"""Isotonic regression: a line between each two knots."""

import numpy as np
from sklearn.isotonic import IsotonicRegression

from stackfuse.export._arithmetic import as_column, constant, held, table
from stackfuse.export._convert import convert_type, unsupported
from stackfuse.export._pairwise import rows_as_tensor


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
    y = as_column(_interpolated(x, knots, values))
    if estimator.out_of_bounds == "clip":
        return y
    low, high, nothing = held(x, knots[0], knots[-1], np.nan)
    outside = ops.logical_or(ops.less(x, low), ops.greater(x, high))
    # Where scikit-learn raises, with out_of_bounds="raise", there is no number either.
    return ops.where(as_column(outside), as_column(nothing), y)


def _interpolated(x, knots: np.ndarray, values: np.ndarray):
    """Return ``numpy.interp(x, knots, values)`` by its own formula, shape (batch, 1)."""
    from keras import ops

    slopes = np.append(np.diff(values) / np.diff(knots), 0.0)
    x = ops.minimum(ops.maximum(x, constant(knots[0], x)), constant(knots[-1], x))
    passed = ops.greater_equal(x, rows_as_tensor(x, knots[None])[:, 0])
    place = ops.sum(ops.cast(passed, "int32"), axis=1) - np.ones(1, np.int32)
    row = table(np.column_stack([slopes, knots, values]), x.dtype)(place)
    return row[:, :1] * (x - row[:, 1:2]) + row[:, 2:]
