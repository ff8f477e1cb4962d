"""Knots that numbers have reached, found by trees: one operation where a format has trees."""

from collections.abc import Sequence

import numpy as np

from stackfuse._export.graph.build import current_build
from stackfuse._export.graph.trees import Tree, TreeSums

#: Of more knots in all, trees take more room in a file than tables of a binary search.
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
    nodes: list[tuple[float, int, int, float]] = []  # threshold, left, right, value
    waiting = [(0, len(below) + 1, -1)]
    while waiting:
        start, stop, parent = waiting.pop()
        if parent >= 0:
            threshold, left, _, value = nodes[parent]
            is_left = left < 0
            ends = (len(nodes), -1) if is_left else (left, len(nodes))
            nodes[parent] = threshold, *ends, value
        if stop - start == 1:
            nodes.append((0.0, -1, -1, float(first + start)))
            continue
        middle = (start + stop) // 2
        place = len(nodes)
        nodes.append((float(below[middle - 1]), -1, -1, 0.0))
        waiting += [(middle, stop, place), (start, middle, place)]  # the left side comes first
    threshold, left, right, value = map(np.array, zip(*nodes))
    is_inner = left >= 0
    feature = np.where(is_inner, column, -1)
    return Tree(feature, threshold, left, right, is_inner, value[:, None])
