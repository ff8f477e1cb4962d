"""Arithmetic that a file reproduces exactly: typed constants, tables, exact decisions.

Keras writes a 0-d array or a numpy scalar to the file as a Python number, which comes back as
float32. So :func:`constant` gives numbers at least one axis, and the dtype of the tensor that they
meet. TensorFlow rewrites arithmetic with constants when it compiles. So :func:`exact_constants`
reads numbers that must stay exact to the last bit from the weights of frozen layers.
"""

import keras
import numpy as np
from keras import ops

from stackfuse._export.graph.build import Refusal, current_build


def refuse_lost(numbers) -> None:
    """Refuse rows whose numbers are too large for a float32 graph, or NaN; the stack has float64.

    The square of 1e20 is infinite in float32, and infinity less infinity is NaN. LiteRT and
    OpenVINO may have the largest number instead. Comparisons, and trees that take NaN, would make
    an answer of these.

    Parameters
    ----------
    numbers : tensor, shape (batch, ...)
    """
    build = current_build()
    if build.precision == "float32":
        axes = tuple(range(1, len(numbers.shape)))
        most = constant(np.finfo(numbers.dtype).max, numbers)
        # Not "greater": in OpenVINO that is true of NaN.
        lost = ops.logical_or(ops.isnan(numbers), ops.less_equal(most, ops.abs(numbers)))
        build.refused.append(Refusal(numbers, ops.any(lost, axis=axes) if axes else lost))


def sigmoid(x):
    """Return ``1 / (1 + exp(-x))``; LiteRT has NaN for 1e26, in place of 1."""
    if current_build().traced:
        return ops.sigmoid(x)
    most = constant(1e9, x)
    return ops.sigmoid(ops.minimum(ops.maximum(x, -most), most))


def constant(values, x) -> np.ndarray:
    """Return numbers in the dtype of a tensor, with at least one axis.

    Parameters
    ----------
    values : array-like
    x : KerasTensor
        The tensor that they are combined with.
    """
    return np.atleast_1d(np.asarray(values, x.dtype))


def table(values: np.ndarray, dtype: str):
    """Return a frozen layer that holds the rows of a table: int32 tensors in, rows out.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
    dtype : str
    """
    layer = keras.layers.Embedding(
        *values.shape, embeddings_initializer="zeros", trainable=False, dtype=dtype
    )
    layer.build((None, None))
    layer.set_weights([values])
    return layer


def exact_constants(x, *rows):
    """Return rows of numbers as tensors of shape (batch, n), read from a frozen layer's weights.

    TensorFlow rewrites arithmetic with constants when it compiles a graph: a division becomes a
    product with the reciprocal, sums are reordered. The last bit moves, and a value that lies on a
    tree's threshold falls to its other side. Weights are left as they are.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
        Sets the number of rows and the dtype.
    *rows : array-like of shape (n,)
    """
    values = np.vstack([np.atleast_1d(np.asarray(row, np.float64)) for row in rows])
    layer = table(values, x.dtype)
    first = ops.cast(ops.zeros_like(x[:, :1]), "int32")
    return [ops.reshape(layer(first + k), (-1, values.shape[1])) for k in range(len(rows))]


def affine(x, coef, intercept, *, trainable: bool = False):
    """Return ``x @ coef.T + intercept`` as a Dense layer, usually frozen, in the dtype of x.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
    coef : array-like of shape (n_outputs, n_features) or (n_features,)
    intercept : array-like of shape (n_outputs,) or float
    trainable : bool, default=False

    Returns
    -------
    y : KerasTensor of shape (batch, n_outputs)
    """
    kernel = np.atleast_2d(np.asarray(coef, np.float64)).T
    bias = np.broadcast_to(np.asarray(intercept, np.float64), kernel.shape[1:])
    layer = keras.layers.Dense(kernel.shape[1], trainable=trainable, dtype=x.dtype)
    y = layer(x)
    layer.set_weights([kernel, bias])
    return y


def as_vector(y):
    """Return a tensor of shape (batch, 1) as one of shape (batch,)."""
    return ops.reshape(y, (-1,))


def lengths_of(x):
    """Return the Euclidean lengths of rows, shape (batch, 1).

    In float32 the square of 1e20 is infinite, so numbers are divided by the largest first.
    """
    if x.dtype != "float32":
        return ops.sqrt(ops.sum(ops.square(x), axis=1, keepdims=True))
    largest = ops.max(ops.abs(x), axis=1, keepdims=True)
    divisor = ops.where(ops.equal(largest, constant(0, x)), constant(1, x), largest)
    return ops.sqrt(ops.sum(ops.square(x / divisor), axis=1, keepdims=True)) * divisor


def first_largest(scores):
    """Return the number of the largest column, the first of equal ones, as int64 of shape (batch,).

    This is ``numpy.argmax``, written with comparisons: not every runtime loads the graph of
    ``keras.ops.argmax``.
    """
    largest = ops.max(scores, axis=1, keepdims=True)
    refuse_lost(largest)
    n_columns = scores.shape[1]
    numbers = np.arange(n_columns, dtype=scores.dtype)
    is_largest = ops.equal(scores, largest)
    candidates = ops.where(is_largest, numbers, np.full(n_columns, n_columns, scores.dtype))
    # Rows of NaN have no largest column; they keep a number that a class has.
    candidates = ops.minimum(ops.min(candidates, axis=1), constant(n_columns - 1, scores))
    return ops.cast(candidates, "int64")


def is_positive(scores):
    """Return 1 where the one column of scores is above 0, as int64 of shape (batch,)."""
    refuse_lost(scores)
    return ops.cast(as_vector(ops.greater(scores, constant(0.0, scores))), "int64")


def two_columns(positive):
    """Return the probabilities of both classes from that of the second, of shape (batch, 1)."""
    return ops.concatenate([1 - positive, positive], axis=1)


def divided_by_sum(positive):
    """Return each row divided by its sum; equal shares for a row of zeros.

    Parameters
    ----------
    positive : KerasTensor of shape (batch, n_classes)
        None is negative.
    """
    total = ops.sum(positive, axis=1, keepdims=True)
    none = ops.equal(total, constant(0, positive))
    equal = constant(1 / positive.shape[1], positive)
    return ops.where(none, equal, positive / ops.where(none, constant(1, positive), total))


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
