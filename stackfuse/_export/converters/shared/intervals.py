"""Find the interval between two knots in which a number lies, and look up its row of a table."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from stackfuse._export.converters.shared.knot_trees import has_trees_for, reached_by_trees
from stackfuse._export.graph.arithmetic import (
    constant,
    table,
)


def count_reached(x, knots: Sequence[np.ndarray]):
    """Return how many knots of its column each number has reached; int32 (batch, n_features).

    This is a binary search: comparing with all knots at once would take memory for each of them.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
    knots : sequence of n_features ndarrays
        In ascending order. A number has reached a knot that it is equal to.
    """
    if has_trees_for(knots):
        return ops.cast(reached_by_trees(x, knots, np.zeros(len(knots), int)), "int32")
    n_steps = max(len(k) for k in knots).bit_length()
    width = 2**n_steps
    # No number reaches the padding. It is not NaN, which OpenVINO takes for less than any number.
    padded = np.full((len(knots), width), np.finfo(x.dtype).max, np.float64)
    x = ops.minimum(x, constant(np.nextafter(np.finfo(x.dtype).max, 0, dtype=x.dtype), x))
    for row, ascending in zip(padded, knots, strict=True):
        row[: len(ascending)] = _knots_in_dtype(np.asarray(ascending, np.float64), x.dtype)
    layer = table(padded.reshape(-1, 1), x.dtype)
    first = np.arange(len(knots), dtype=np.int32) * np.int32(width)
    count = ops.cast(ops.zeros_like(x), "int32")
    for step in 2 ** np.arange(n_steps)[::-1]:
        further = _add_integers(count, np.array([step], np.int32))
        knot = ops.reshape(layer(_add_integers(further, first - np.int32(1))), (-1, len(knots)))
        count = ops.where(ops.greater_equal(x, knot), further, count)
    return count


def _knots_in_dtype(knots: np.ndarray, dtype: str) -> np.ndarray:
    """Round knots to a dtype so that its numbers reach the same knots as in float64."""
    with np.errstate(over="ignore"):
        rounded = knots.astype(dtype)
    rounded = np.where(rounded < knots, np.nextafter(rounded, np.array(np.inf, dtype)), rounded)
    # TensorFlow treats denormal numbers as 0.
    tiny = np.finfo(dtype).tiny
    return np.where(np.abs(rounded) < tiny, np.where(knots > 0, tiny, 0), rounded)


def rows_at(place, tables: Sequence[np.ndarray], x):
    """Return for each number the row at its place in its column's table.

    Parameters
    ----------
    place : KerasTensor of shape (batch, n_features)
        int32.
    tables : sequence of n_features ndarrays of shape (n_rows, width)
    x : KerasTensor
        Tells the dtype.

    Returns
    -------
    rows : KerasTensor of shape (batch, n_features, width)
    """
    first = np.cumsum([0, *(len(t) for t in tables[:-1])]).astype(np.int32)
    return table(np.vstack(tables), x.dtype)(_add_integers(place, first))


def rows_reached(x, knots: Sequence[np.ndarray], tables: Sequence[np.ndarray]):
    """Return for each number the row of its column's table after all knots that it has reached.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
    knots : sequence of n_features ndarrays
        In ascending order.
    tables : sequence of n_features ndarrays of shape (n_knots + 1, width)

    Returns
    -------
    rows : KerasTensor of shape (batch, n_features, width)
    """
    if not has_trees_for(knots):
        return rows_at(count_reached(x, knots), tables, x)
    first = np.cumsum([0, *(len(t) for t in tables[:-1])])
    place = ops.cast(reached_by_trees(x, knots, first), "int32")
    return table(np.vstack(tables), x.dtype)(place)


def _add_integers(place, numbers: np.ndarray):
    """Add integers by a subtraction.

    Keras turns a sum with a vector into an operation that LiteRT has for floats only.
    """
    return place - (-numbers)


def interpolated(x, knots: np.ndarray, values: np.ndarray):
    """Return ``numpy.interp`` of each column by its own knots, shape (batch, n_features).

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
        NaN stays NaN.
    knots, values : ndarray of shape (n_features, n_knots)
    """
    tables = []
    for at, value in zip(knots, values, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):  # between equal knots lies nothing
            slope = np.diff(value) / np.diff(at)
        # Below the first knot and from the last on it is level.
        slope = np.r_[0.0, np.where(np.diff(at) > 0, slope, 0.0), 0.0]
        tables.append(np.column_stack([slope, np.r_[at[0], at], np.r_[value[0], value]]))
    row = rows_reached(x, list(knots), tables)
    slope, at, value = row[:, :, 0], row[:, :, 1], row[:, :, 2]
    largest = constant(np.finfo(x.dtype).max, x)
    y = slope * (ops.minimum(ops.maximum(x, -largest), largest) - at) + value
    return ops.where(ops.isnan(x), x, y)
