"""The nearest of the rows that an estimator keeps.

The distances to many rows are those of a product of matrices, which keeps few digits of small
ones. So a few more rows than are wanted are looked at a second time: by their differences, as
scikit-learn's trees do. Formats may sort in float32; rows that differ in float64 only are put in
order by comparisons.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from stackfuse._export.converters.shared.pairwise import (
    are_multiplied,
    kept_rows,
    middle_of,
    reduced_distances,
)
from stackfuse._export.graph.arithmetic import constant, table

#: How many rows more than are wanted are looked at a second time.
MORE = 8


@dataclass(frozen=True)
class Distances:
    """Distances to all rows, to a power.

    Attributes
    ----------
    reduced : KerasTensor of shape (batch, n_rows)
    power : float
        The distances are ``reduced ** (1 / power)``.
    x : KerasTensor of shape (batch, n_features)
    rows : ndarray of shape (n_rows, n_features)
    """

    reduced: Any
    power: float
    x: Any
    rows: np.ndarray

    @property
    def are_multiplied(self) -> bool:
        """Whether they come from a product of matrices."""
        return self.power == 2 and are_multiplied(self.rows)


def distances_of(estimator, x) -> Distances:
    """Return the distances to the training rows of an estimator with ``kneighbors``."""
    rows = kept_rows(estimator, estimator._fit_X)
    metric, parameters = estimator.effective_metric_, estimator.effective_metric_params_
    reduced, power = reduced_distances(estimator, x, rows, metric, parameters)
    return Distances(reduced, power, x, rows)


def rounding_of(distances: Distances) -> float:
    """Return by how much squared distances from a product of matrices may be wrong."""
    rows = distances.rows - middle_of(distances.rows)
    longest = float(np.max(np.sum(rows**2, axis=1)))
    return 4.0 * rows.shape[1] * float(np.finfo(distances.x.dtype).eps) * longest


def nearest(distances: Distances, n_wanted: int) -> tuple[Any, Any]:
    """Return the nearest rows, of equally far ones the first; in no particular order.

    Parameters
    ----------
    distances : Distances
    n_wanted : int

    Returns
    -------
    reduced, places : KerasTensor of shape (batch, n_wanted)
        The distances to the power, and the numbers of the rows as int32.
    """
    if not distances.are_multiplied:
        return smallest(distances.reduced, n_wanted)
    x, rows = distances.x, distances.rows
    places = _candidates(distances.reduced, n_wanted)
    difference = table(rows, x.dtype)(places) - ops.expand_dims(x, 1)
    return _chosen(ops.sum(ops.square(difference), axis=2), places, n_wanted)


def smallest(numbers, n_wanted: int) -> tuple[Any, Any]:
    """Return the smallest of some columns, and their numbers; in no particular order.

    Parameters
    ----------
    numbers : KerasTensor of shape (batch, n_columns)
        They may be infinite.
    n_wanted : int

    Returns
    -------
    chosen, places : KerasTensor of shape (batch, n_wanted)
    """
    places = _candidates(numbers, n_wanted)
    return _chosen(ops.take_along_axis(numbers, places, axis=1), places, n_wanted)


def _candidates(numbers, n_wanted: int):
    """Return the places of the smallest numbers, and of a few more, sorted as float32 can tell."""
    n_candidates = min(numbers.shape[1], n_wanted + MORE)
    least = ops.min(numbers, axis=1, keepdims=True)
    most = constant(np.finfo(numbers.dtype).max, numbers)
    least = ops.where(ops.less(most, least), constant(0, numbers), least)
    # Differences from the least number keep more digits in float32.
    _, places = ops.top_k(ops.negative(numbers - least), n_candidates)
    return ops.cast(places, "int32")


def _chosen(numbers, places, n_wanted: int) -> tuple[Any, Any]:
    """Return the smallest of sorted candidates; the last ones are compared, each with each."""
    n_sure = max(0, n_wanted - MORE)
    last, last_places = _in_order(numbers[:, n_sure:], places[:, n_sure:], n_wanted - n_sure)
    if not n_sure:
        return last, last_places
    chosen = ops.concatenate([numbers[:, :n_sure], last], axis=1)
    return chosen, ops.concatenate([places[:, :n_sure], last_places], axis=1)


def _in_order(reduced, places, n_wanted: int):
    """Return the smallest numbers, and what stands beside them, in order."""
    # Rows that hold NaN are refused, but they must not lead to places that do not exist.
    most = constant(np.finfo(reduced.dtype).max, reduced)
    reduced = ops.where(ops.isnan(reduced), most, reduced)
    numbers = np.arange(reduced.shape[1], dtype=np.int32)
    mine, other = ops.expand_dims(reduced, 2), ops.expand_dims(reduced, 1)
    equal_first = ops.logical_and(ops.equal(other, mine), numbers[None, :] < numbers[:, None])
    before = ops.logical_or(ops.less(other, mine), equal_first)
    rank = ops.sum(ops.cast(before, "int32"), axis=2)
    is_at = ops.equal(ops.expand_dims(rank, 1), np.arange(n_wanted, dtype=np.int32)[:, None])
    chosen = ops.where(is_at, other, constant(0, reduced))
    chosen_places = ops.where(is_at, ops.expand_dims(places, 1), np.zeros(1, np.int32))
    return ops.sum(chosen, axis=2), ops.sum(chosen_places, axis=2)
