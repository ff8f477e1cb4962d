"""The descent: all nodes of all trees in one table, walked through level by level.

A node is a row [feature, threshold, left child] of a frozen Embedding; its right child is the next
row. A leaf points to itself with an infinite threshold. Missing values need no step of their own:
there are two copies of each feature. In one NaN is minus infinity (always left), in the other plus
infinity (always right). Every node reads the copy that suits it.

Each step reads one row of the table and one number of x. Separate tables for the three numbers of a
node made XLA compile for minutes, and tables of perfect trees were faster only for complete trees.
The deepest trees come first, so that finished trees can leave the walk: the trees of histogram
gradient boosting have very different depths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from stackfuse._core import NotConvertible
from stackfuse._export.graph.arithmetic import (
    constant,
    table,
)
from stackfuse._export.graph.build import current_build
from stackfuse._export.graph.trees import Tree

#: Up to here float32 holds the numbers of nodes exactly.
_MAX_NODES_IN_FLOAT32 = 2**24


def leaf_values(x, trees: Sequence[Tree]):
    """Return the value of the leaf that each row reaches in each tree.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
        The walk is done in its dtype: with large forests float32 takes two thirds of the time.
    trees : sequence of Tree

    Returns
    -------
    values : KerasTensor of shape (batch, n_trees, n_values)
        In the graph's precision.
    """
    dtype = current_build().precision
    if sum(len(tree.left) for tree in trees) > _MAX_NODES_IN_FLOAT32:
        x = ops.cast(x, dtype)
    packed = _pack(trees, x.shape[1], np.dtype(x.dtype))
    nodes = table(packed.rows, x.dtype)
    numbers, first = _flat_numbers(x)
    node = ops.cast(ops.zeros_like(first), "int32") + packed.roots
    finished = []
    for n_walking in packed.walking:
        if n_walking < node.shape[1]:
            finished.append(node[:, n_walking:])
            node = node[:, :n_walking]
        row = nodes(node)
        # The order matters to Keras: see ``refuse_taken_for_bias``.
        value = ops.take(numbers, first + ops.cast(row[:, :, 0], "int64"))
        step = ops.cast(ops.greater(value, row[:, :, 1]), x.dtype)
        node = ops.cast(row[:, :, 2] + step, "int32")
    if finished:
        node = ops.concatenate([node, *reversed(finished)], axis=1)
    if not np.array_equal(packed.places, np.arange(len(trees))):
        node = ops.take(node, packed.places, axis=1)
    return table(packed.values, dtype)(node)


def as_float32(x, trees: Sequence[Tree]):
    """Round x to float32, as some trees do before they compare.

    TensorFlow treats float32's denormal numbers as 0. If a threshold is one of them, which happens
    to trees on probabilities, the rounded numbers are returned in float64.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
    trees : sequence of Tree
        The trees that will read x.

    Returns
    -------
    rounded : KerasTensor of shape (batch, n_features)
    """
    limits = np.finfo(np.float32)
    rounded = ops.cast(x, "float32")
    thresholds = np.concatenate([tree.threshold[tree.left >= 0] for tree in trees])
    if x.dtype == "float32" or not np.any(np.abs(thresholds) < limits.tiny):
        return rounded
    step = float(limits.smallest_subnormal)
    small = ops.round(x * constant(1 / step, x)) * constant(step, x)
    is_small = ops.less(ops.abs(x), constant(float(limits.tiny), x))
    return ops.where(is_small, small, ops.cast(rounded, x.dtype))


def _flat_numbers(x):
    """Return all numbers of x in both copies as one vector, and each row's first place in it.

    The places have the shape (batch, 1). They are int64: x may hold more than 2**31 numbers.
    """
    missing = ops.isnan(x)
    # A threshold of infinity separates the missing values only: infinite x must stay below it.
    finite = ops.minimum(x, constant(np.finfo(x.dtype).max, x))
    left = ops.where(missing, constant(-np.inf, x), finite)
    right = ops.where(missing, constant(np.inf, x), finite)
    width = 2 * x.shape[1]
    ones = ops.cast(ops.ones_like(x[:, :1]), "int64")
    first = ops.cumsum(ones * np.array([width], np.int64), axis=0) - np.array([width], np.int64)
    return ops.reshape(ops.concatenate([left, right], axis=1), (-1,)), first


@dataclass(frozen=True)
class _PackedTrees:
    """The tables of a descent.

    Attributes
    ----------
    rows : ndarray of shape (n_nodes, 3)
        Feature, threshold and left child of each node.
    values : ndarray of shape (n_nodes, n_values)
    roots : ndarray of shape (n_trees,)
        The trees' first rows, the deepest tree first.
    walking : list of int
        For each step the number of trees that take it.
    places : ndarray of shape (n_trees,)
        Where each tree stands in `roots`.
    """

    rows: np.ndarray
    values: np.ndarray
    roots: np.ndarray
    walking: list[int]
    places: np.ndarray


def _pack(trees: Sequence[Tree], n_features: int, dtype: np.dtype) -> _PackedTrees:
    rows, values, roots, depths = [], [], [], []
    offset = 0
    for tree in trees:
        order, depth = _breadth_first(tree)
        place = np.empty(len(tree.left), np.int64)
        place[order] = np.arange(len(order))
        left = tree.left[order]
        is_leaf = left < 0
        feature = np.where(is_leaf, 0, tree.feature[order])
        feature = feature + np.where(is_leaf | tree.missing_left[order], 0, n_features)
        threshold = np.where(is_leaf, np.inf, _threshold_in(dtype, tree.threshold[order]))
        child = np.where(is_leaf, np.arange(len(order)), place[left]) + offset
        rows.append(np.column_stack([feature, threshold, child]))
        values.append(tree.value[order])
        roots.append(offset)
        depths.append(depth)
        offset += len(order)
    if dtype == np.float32 and offset > _MAX_NODES_IN_FLOAT32:
        raise NotConvertible(
            f"Trees of {offset} nodes in all cannot be counted in float32. Use "
            "precision='float64', fewer trees, or a smaller max_depth."
        )
    by_depth = np.argsort(-np.array(depths), kind="stable")
    return _PackedTrees(
        np.vstack(rows),
        np.vstack(values),
        np.array(roots, np.int32)[by_depth],
        [int(np.sum(np.array(depths) > step)) for step in range(max(depths))],
        np.argsort(by_depth).astype(np.int32),
    )


def _threshold_in(dtype: np.dtype, threshold: np.ndarray) -> np.ndarray:
    """Return thresholds that split the numbers of a dtype exactly as those in float64 do.

    The largest number of the dtype that is not above the threshold splits it in the same place.
    """
    limits = np.finfo(dtype)
    rounded = np.clip(threshold, limits.min, limits.max).astype(dtype)
    above = rounded > threshold
    rounded[above] = np.nextafter(rounded[above], np.array(-np.inf, dtype))
    # TensorFlow treats denormal numbers as 0, and 0 must stay above a negative threshold.
    return np.where((rounded < 0) & (rounded > -limits.tiny), -limits.tiny, rounded)


def _breadth_first(tree: Tree) -> tuple[np.ndarray, int]:
    """Return the nodes level by level, siblings side by side, and the number of steps down."""
    levels = [np.array([0])]
    while True:
        inner = levels[-1][tree.left[levels[-1]] >= 0]
        if not inner.size:
            return np.concatenate(levels), len(levels) - 1
        levels.append(np.column_stack([tree.left[inner], tree.right[inner]]).ravel())
