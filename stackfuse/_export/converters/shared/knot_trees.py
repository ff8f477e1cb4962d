"""Knots that numbers have reached, found by trees: one operation where a format has trees."""

from collections.abc import Sequence

import numpy as np

from stackfuse._export.graph.build import current_build
from stackfuse._export.graph.trees import Tree, TreeSums

#: The most knots in all: with more, tables of a binary search take less room in a file.
_MAX_KNOTS = 5000


def has_trees_for(knots: Sequence[np.ndarray]) -> bool:
    """Whether knots are found by trees in the graph that is being built."""
    is_small = sum(map(len, knots)) <= _MAX_KNOTS
    return current_build().native_trees and is_small and all(np.isfinite(k).all() for k in knots)


def reached_by_trees(x, knots: Sequence[np.ndarray], first: np.ndarray):
    """Return how many knots of its column each number has reached, from a first number on.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
        NaN has reached none.
    knots : sequence of n_features ndarrays of float64
        In ascending order.
    first : ndarray of shape (n_features,)
        The numbers of those that have reached no knot of a column.

    Returns
    -------
    numbers : KerasTensor of shape (batch, n_features)
        In the dtype of x.
    """
    trees = [_tree(k, ascending, first[k]) for k, ascending in enumerate(knots)]
    current_build().n_trees.append(len(trees))
    return TreeSums(trees, len(trees), x.dtype, average=False)(x)


def _tree(column: int, knots: np.ndarray, first: int) -> Tree:
    """Return the balanced tree whose leaves are the numbers of knots that are reached.

    Each node splits the leaves from one number up to another one in the middle.
    """
    below = np.nextafter(np.asarray(knots, np.float64), -np.inf)
    thresholds, lefts, rights, values = [], [], [], []
    waiting = [(0, len(below) + 1, -1, False)]  # the first leaf, the one behind the last
    while waiting:
        start, stop, parent, is_left = waiting.pop()
        place = len(thresholds)
        if parent >= 0:
            (lefts if is_left else rights)[parent] = place
        middle, is_leaf = (start + stop) // 2, stop - start == 1
        thresholds.append(0.0 if is_leaf else below[middle - 1])
        values.append(float(first + start) if is_leaf else 0.0)
        lefts.append(-1)
        rights.append(-1)
        if not is_leaf:
            waiting += [(middle, stop, place, False), (start, middle, place, True)]
    threshold, left, right, value = map(np.array, (thresholds, lefts, rights, values))
    is_inner = left >= 0
    feature = np.where(is_inner, column, -1)
    return Tree(feature, threshold, left, right, is_inner, value[:, None])
