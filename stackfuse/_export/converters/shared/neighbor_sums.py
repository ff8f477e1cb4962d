"""Sums over neighbours: how each of them is weighed, and shares of equally far ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from stackfuse._core import NotConvertible
from stackfuse._export.graph.arithmetic import affine, constant, exact_constants
from stackfuse._export.tied_neighbors import RELATIVE, Slack


@dataclass(frozen=True)
class SumOverNeighbors:
    """Sums over the neighbours of each row.

    Attributes
    ----------
    total : KerasTensor of shape (batch, n_columns)
        The sum of their values times their weights.
    weight : KerasTensor of shape (batch, 1)
        The sum of their weights.
    """

    total: Any
    weight: Any


def weights_of(estimator, reduced, power: float):
    """Return the neighbours' weights, of the shape of their distances to a power."""
    if _counts(estimator):
        return ops.ones_like(reduced)
    zero, one = constant(0, reduced), constant(1, reduced)
    same = ops.equal(reduced, zero)
    inverse = 1 / _root(ops.where(same, one, reduced), power)
    # Where x is a training row, only rows equal to it count.
    return ops.where(ops.any(same, axis=1, keepdims=True), ops.where(same, one, zero), inverse)


def _counts(estimator) -> bool:
    """Whether all neighbours weigh the same."""
    kind = getattr(estimator, "weights", "uniform")
    if callable(kind):
        raise NotConvertible(
            f"{type(estimator).__name__} weighs neighbours by your own function: use "
            "weights='uniform' or weights='distance'."
        )
    return kind in (None, "uniform")


def _root(reduced, power: float):
    if power == 1:
        return reduced
    return ops.sqrt(reduced) if power == 2 else ops.power(reduced, constant(1 / power, reduced))


def floor_of(slack: Slack, x, *, multiplied: bool):
    """Return how much rounding may part equal distances, shape (batch, 1).

    Parameters
    ----------
    slack : Slack
    x : KerasTensor of shape (batch, n_features)
    multiplied : bool
        Whether distances come from a product of matrices.
    """
    is_narrow = multiplied and x.dtype == "float32"
    per_square = slack.per_square * (2.0**29 if is_narrow else 1.0)
    squares = ops.sum(ops.square(x - exact_constants(x, slack.origin)[0]), axis=1, keepdims=True)
    return (squares + constant(slack.longest, x)) * constant(per_square, x)


@dataclass(frozen=True)
class Shares:
    """How much each training row counts for each row; ``tied_neighbors.py`` has the definition.

    Attributes
    ----------
    inside, tied : KerasTensor of shape (batch, n_rows)
        The weights of nearer rows, and 1 for rows that are equally far as the last wanted one.
    of_tied : KerasTensor of shape (batch, 1)
        The weight of each of the latter.
    """

    inside: Any
    tied: Any
    of_tied: Any

    @classmethod
    def of(cls, estimator, reduced, last, floor, n_wanted: int, power: float) -> "Shares":
        """Return the shares.

        Parameters
        ----------
        estimator : fitted estimator
            Its ``weights`` weigh the neighbours.
        reduced : KerasTensor of shape (batch, n_rows)
            Distances to a power; infinite ones count nothing.
        last, floor : KerasTensor of shape (batch, 1)
            That of the last wanted row, and the slack that rounding makes necessary.
        n_wanted : int
        power : float
        """
        zero, one = constant(0, reduced), constant(1, reduced)
        most = constant(np.finfo(reduced.dtype).max, reduced)
        is_far = ops.less(most, last)
        last = ops.where(is_far, zero, last)
        slack = last * constant(RELATIVE[reduced.dtype], reduced) + floor
        is_inside = ops.less(reduced, ops.where(is_far, most, last - slack))
        is_tied = ops.less_equal(ops.abs(reduced - last), slack)
        is_tied = ops.logical_and(is_tied, ops.logical_not(is_far))
        inside, tied = ops.where(is_inside, one, zero), ops.where(is_tied, one, zero)
        n_inside = ops.sum(inside, axis=1, keepdims=True)
        n_tied = ops.maximum(ops.sum(tied, axis=1, keepdims=True), one)
        of_tied = ops.negative(n_inside - constant(n_wanted, reduced)) / n_tied
        if not _counts(estimator):
            inside, of_last = _by_distance(is_inside, reduced, last, floor, power)
            of_tied = of_tied * of_last
        return cls(inside, tied, ops.where(is_far, zero, of_tied))

    def sums(self, values: np.ndarray) -> SumOverNeighbors:
        """Return the sums of the training rows' values, of shape (n_rows, n_columns)."""
        total = affine(self.inside, values.T, 0.0) + self.of_tied * affine(self.tied, values.T, 0.0)
        of_tied = self.of_tied * ops.sum(self.tied, axis=1, keepdims=True)
        return SumOverNeighbors(total, ops.sum(self.inside, axis=1, keepdims=True) + of_tied)


def _by_distance(is_inside, reduced, last, floor, power: float) -> tuple[Any, Any]:
    """Return the weights of the nearer rows, and of the last wanted one."""
    zero, one = constant(0, reduced), constant(1, reduced)
    is_same, last_is_same = ops.less_equal(reduced, floor), ops.less_equal(last, floor)
    is_same = ops.logical_and(is_same, is_inside)
    any_same = ops.logical_or(ops.any(is_same, axis=1, keepdims=True), last_is_same)
    some = ops.logical_and(is_inside, ops.logical_not(is_same))
    inverse = ops.where(some, 1 / _root(ops.where(some, reduced, one), power), zero)
    inside = ops.where(any_same, ops.where(is_same, one, zero), inverse)
    of_last = 1 / _root(ops.where(last_is_same, one, last), power)
    return inside, ops.where(any_same, ops.where(last_is_same, one, zero), of_last)
