"""Distances and kernels between each row of x and each row that an estimator keeps.

The kept rows are weights of frozen layers. Sums over the features are taken in their order, a few
features at a time: differences of all rows in all features at once would not fit into memory.

Squared Euclidean distances of many rows are ``|a|^2 - 2ab + |b|^2``, one product of matrices: a
graph that is called eagerly keeps all its tensors until the end. This loses the digits in which
near rows differ; see ``nearest.py``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from keras import ops
from scipy.sparse import issparse

from stackfuse._core import NotConvertible, messages
from stackfuse._export.graph.arithmetic import (
    affine,
    constant,
    exact_constants,
    first_largest,
    lengths_of,
    refuse_lost,
    table,
)
from stackfuse._export.graph.masks import refuse_rows
from stackfuse._export.tied_neighbors import exponent_of

#: The most numbers that the graph holds at a time for one row of x.
_MAX_WIDTH = 50_000

#: The most numbers of kept rows whose differences from a row are computed.
_MAX_DIFFERENCES = 2**13

#: The most steps in which features are summed.
_MAX_STEPS = 64


def kept_rows(estimator, rows) -> np.ndarray:
    """Return the rows that an estimator keeps as a dense array, if a graph can hold them.

    Raises
    ------
    NotConvertible
        If there are too many rows.
    """
    rows = np.asarray(rows.toarray() if issparse(rows) else rows, np.float64)
    if len(rows) > _MAX_WIDTH:
        raise NotConvertible(
            f"{type(estimator).__name__} compares each row with {len(rows)} training rows, and a "
            f"graph can hold up to {_MAX_WIDTH}. Fit it on fewer rows."
        )
    return rows


def are_multiplied(rows: np.ndarray) -> bool:
    """Whether squared distances to some rows are computed by a product of matrices."""
    return rows.size > _MAX_DIFFERENCES


def rows_as_tensor(x, rows: np.ndarray):
    """Return rows as one tensor of shape (1, n_rows, n_columns), from a frozen layer's weights.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
        Tells the dtype.
    rows : ndarray of shape (n_rows, n_columns)
    """
    return _read_rows(x, table(np.asarray(rows, np.float64), x.dtype), range(len(rows)))


def _read_rows(x, layer, places: range):
    first = ops.cast(ops.zeros_like(x[:1, :1]), "int32")
    return layer(first + np.array(places, np.int32)[None])


def _features_per_step(n_features: int) -> int:
    return -(-n_features // _MAX_STEPS)


def sum_over_features(x, rows: np.ndarray, term: Callable, reduce: str = "sum"):
    """Return the sum, or the maximum, over the features of a function of two numbers.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
    rows : ndarray of shape (n_rows, n_features)
    term : callable
        Element-wise; is given the features of x and of the rows, as tensors that broadcast.
    reduce : {"sum", "max"}

    Returns
    -------
    y : KerasTensor of shape (batch, n_rows)
    """
    width = len(rows) * _features_per_step(rows.shape[1])
    if width > _MAX_WIDTH:
        raise NotConvertible(
            f"Differences from {len(rows)} rows of {rows.shape[1]} features take {width} numbers "
            f"for each row, and a graph can hold up to {_MAX_WIDTH}. Fit on fewer rows."
        )
    combine, over = {"sum": (ops.add, ops.sum), "max": (ops.maximum, ops.max)}[reduce]
    features = table(np.ascontiguousarray(rows.T), x.dtype)
    n_features, step = rows.shape[1], _features_per_step(rows.shape[1])
    total: Any = None
    for start in range(0, n_features, step):
        stop = min(start + step, n_features)
        part = ops.expand_dims(x[:, start:stop], 2)
        part = term(part, _read_rows(x, features, range(start, stop)))
        part = over(part, axis=1) if step > 1 else ops.reshape(part, (-1, len(rows)))
        total = part if total is None else combine(total, part)
    return total


def squared_distances(x, rows: np.ndarray):
    """Return squared Euclidean distances, shape (batch, n_rows)."""
    if not are_multiplied(rows):
        return sum_over_features(x, rows, lambda a, b: ops.square(a - b))
    middle = middle_of(rows)
    x = x - exact_constants(x, middle)[0]
    rows = rows - middle
    lengths = ops.sum(ops.square(x), axis=1, keepdims=True)
    squares = lengths + affine(x, -2.0 * rows, np.sum(rows**2, axis=1))
    return ops.maximum(squares, constant(0, x))


def nearest_center(x, centers: np.ndarray, *, whole_squares: bool):
    """Return the number of the nearest center as scikit-learn compares, int64 of shape (batch,).

    It expands the squares. Far out, the squares lose all digits in which centers differ, and the
    label depends on the lost digits. In float32, differences come nearer to its float64.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
    centers : ndarray of shape (n_centers, n_features)
    whole_squares : bool
        Whether ``|x|**2`` is part of the compared numbers, as in ``pairwise_distances_argmin``;
        k-means leaves it out.
    """
    if x.dtype == "float32":
        return first_largest(nearness_in_float32(x, centers))
    squares = np.sum(centers**2, axis=1)
    if not whole_squares:
        return first_largest(affine(x, 2.0 * centers, -squares))
    lengths = ops.sum(ops.square(x), axis=1, keepdims=True)
    partial = lengths - affine(x, 2.0 * centers, 0.0)
    return first_largest(ops.negative(partial + exact_constants(x, squares)[0]))


def nearness_in_float32(x, centers: np.ndarray):
    """Return numbers that are larger for nearer centers, shape (batch, n_centers).

    They are squared distances from a number that rows have for themselves. Far out, float32 has no
    digits for the differences of squares; products keep more.
    """
    middle = middle_of(centers)
    squares = np.sum((centers - middle) ** 2, axis=1)
    moved = x - exact_constants(x, middle)[0]
    products = affine(moved, 2.0 * (centers - middle), -squares)
    lengths = ops.sum(ops.square(moved), axis=1, keepdims=True)
    is_far = ops.less(constant(100.0 * np.max(squares), x), lengths)
    return ops.where(is_far, products, -squared_distances(x, centers))


def middle_of(rows: np.ndarray) -> np.ndarray:
    """Return numbers of few digits near the medians of the columns.

    Whole numbers and short decimals less these are exact, and so are their products.
    """
    middle = np.median(rows, axis=0)
    widest = np.max(np.abs(rows - middle), initial=0.0)
    grain = 2.0 ** np.ceil(np.log2(widest)) if widest > 0 else 1.0
    return np.round(middle / grain) * grain


def _manhattan(x, rows):
    return sum_over_features(x, rows, lambda a, b: ops.abs(a - b))


def _scale_to_length_one(values, scale):
    """Divide rows by their lengths; rows of zeros stay."""
    return values / ops.where(ops.equal(scale, constant(0, scale)), constant(1, scale), scale)


def _cosine(x, rows):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths == 0, 1.0, lengths)
    scale = lengths_of(x)
    return affine(_scale_to_length_one(x, scale), unit, 0.0)


def _chi2(x, rows):
    refuse_rows(ops.less(x, constant(0, x)))

    def term(a, b):
        both = a + b
        none = ops.equal(both, constant(0, x))
        return ops.where(
            none, constant(0, x), ops.square(a - b) / ops.where(none, constant(1, x), both)
        )

    return sum_over_features(x, rows, term)


def reduced_distances(estimator, x, rows: np.ndarray, metric: str, parameters: Mapping[str, Any]):
    """Return a power of the distances, which a search for neighbours compares, and the exponent.

    Parameters
    ----------
    estimator : estimator
        Named in errors.
    x : KerasTensor of shape (batch, n_features)
    rows : ndarray of shape (n_rows, n_features)
    metric : str
        As scikit-learn names it.
    parameters : mapping of str to object
        The parameters of the metric: p, w.

    Returns
    -------
    reduced : KerasTensor of shape (batch, n_rows)
    power : float
        The distances are ``reduced ** (1 / power)``.
    """
    power = exponent_of(metric, parameters)
    if parameters.get("w") is not None:
        raise NotConvertible(
            f"{type(estimator).__name__} weighs features by metric_params['w']. Leave it out, "
            "and scale the features instead."
        )
    if power is None:
        known = ["euclidean", "manhattan", "chebyshev", "minkowski", "sqeuclidean"]
        raise NotConvertible(
            f"{type(estimator).__name__} measures by {metric!r} with the parameters "
            f"{dict(parameters)}. A graph can measure by {messages.listed(known)}. In place of "
            "'cosine' scale rows to length 1, with Normalizer, and use 'euclidean'."
        )
    if power == np.inf:
        return sum_over_features(x, rows, lambda a, b: ops.abs(a - b), "max"), 1.0
    if power == 1:
        return _manhattan(x, rows), 1.0
    if power == 2:
        return squared_distances(x, rows), 1.0 if metric == "sqeuclidean" else 2.0
    exponent = constant(power, x)
    return sum_over_features(x, rows, lambda a, b: ops.power(ops.abs(a - b), exponent)), power


def pairwise_kernel(estimator, name: Any, x, rows: np.ndarray, gamma=None, degree=3, coef0=1):
    """Return a kernel of ``sklearn.metrics.pairwise`` between x and rows, shape (batch, n_rows).

    Raises
    ------
    NotConvertible
        If the kernel is a function of the user's, or is computed beforehand.
    """
    if gamma is None:
        gamma = 1.0 if name == "chi2" else 1.0 / rows.shape[1]
    if name == "linear":
        return affine(x, rows, 0.0)
    if name in ("poly", "polynomial"):
        # All in one layer: TensorFlow fails to compile a sum of a layer and a vector of length 1.
        kernel = ops.power(affine(x, gamma * rows, coef0), constant(degree, x))
        refuse_lost(kernel)
        return kernel
    if name == "sigmoid":
        return ops.tanh(affine(x, gamma * rows, coef0))
    if name == "rbf":
        return ops.exp(squared_distances(x, rows) * constant(-gamma, x))
    if name == "laplacian":
        return ops.exp(_manhattan(x, rows) * constant(-gamma, x))
    if name == "cosine":
        return _cosine(x, rows)
    if name == "additive_chi2":
        return ops.negative(_chi2(x, rows))
    if name == "chi2":
        return ops.exp(_chi2(x, rows) * constant(-gamma, x))
    raise NotConvertible(
        f"{type(estimator).__name__} with the kernel {name!r} cannot be converted to a Keras "
        "graph. Use a kernel of scikit-learn by its name, but not 'precomputed'."
    )
