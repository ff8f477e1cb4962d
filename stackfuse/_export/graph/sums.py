"""Sums over trees, in the order in which scikit-learn adds."""

import numpy as np
from keras import ops

from stackfuse._export.graph.arithmetic import exact_constants


def sum_over_trees(values):
    """Return the sum over the middle axis, added up from first to last.

    TensorFlow adds in this order only if another axis follows whose length is not 1. The order
    makes sums equal to scikit-learn's to the last bit, so that thresholds and ties after them are
    decided in the same way.

    Parameters
    ----------
    values : KerasTensor of shape (batch, n_trees, n_values)

    Returns
    -------
    sums : KerasTensor of shape (batch, n_values)
    """
    if values.shape[2] > 1:
        return ops.sum(values, axis=1)
    return ops.sum(ops.concatenate([values, values], axis=2), axis=1)[:, :1]


def mean_over_trees(values):
    """Return the mean over the middle axis, shape (batch, n_values)."""
    total = sum_over_trees(values)
    return total / exact_constants(total, np.full(values.shape[2], float(values.shape[1])))[0]
