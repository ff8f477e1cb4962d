"""The descent: the nodes of all trees in tables, walked through level by level.

The first levels are computed as complete trees: all their comparisons at once, then for each level
the choice among its nodes by the decisions before. It ends at one of ``2**levels`` rows of a table,
from which the walk goes on. A row is [feature, threshold, left child] of a frozen Embedding; the
right child is the next row. A leaf points to itself with an infinite threshold.

Missing values need no step of their own: there are two copies of each feature. In one NaN is minus
infinity (always left), in the other plus infinity (always right). Every node reads the copy that
suits it.

Each step of the walk reads one row of the table and one number of x. Separate tables for the three
numbers of a node made XLA compile for minutes. The deepest trees come first, so that finished trees
can leave the walk: the trees of histogram gradient boosting have very different depths.

A gather takes TensorFlow 6 to 10 ns per number, a comparison or a choice 1 ns. Three levels as
complete trees take two fifths of the time of three steps; a fourth gains a tenth, and doubles the
memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from stackfuse._core import NotConvertible
from stackfuse._export.converters.shared.before_scaling import note_rounded
from stackfuse._export.graph.arithmetic import (
    constant,
    exact_constants,
)
from stackfuse._export.graph.build import current_build
from stackfuse._export.graph.masks import pass_refusals_on
from stackfuse._export.graph.traced import rows_of, take
from stackfuse._export.graph.trees import Tree, thresholds_in

#: The most levels that are computed as complete trees.
_MAX_LEVELS = 3

#: Up to here float32 holds the numbers of nodes exactly.
_MAX_NODES_IN_FLOAT32 = 2**24


def leaf_values(x, trees: Sequence[Tree], dtype: str):
    """Return the value of the leaf that each row reaches in each tree.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
        The walk is done in its dtype: with large forests float32 takes two thirds of the time.
    trees : sequence of Tree
    dtype : str
        That of the values.

    Returns
    -------
    values : KerasTensor of shape (batch, n_trees, n_values)
    """
    if sum(len(tree.left) for tree in trees) > _MAX_NODES_IN_FLOAT32:
        x = ops.cast(x, current_build().precision)
    packed = _pack(trees, x.shape[1], np.dtype(x.dtype))
    numbers = _both_copies(x)
    ones = ops.cast(ops.ones_like(numbers[:1, :]), "int64")
    n_rows = ops.sum(ones, axis=1, keepdims=True)
    node = _below_first_levels(numbers, n_rows, packed)
    if packed.walking:
        node = _walk(numbers, ops.cumsum(ones, axis=1) - np.array([1]), n_rows, node, packed)
    if not np.array_equal(packed.places, np.arange(len(trees))):
        node = ops.take(node, packed.places, axis=0)
    return rows_of(packed.values, dtype)(ops.transpose(node))


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
        pass_refusals_on(x, rounded)
        note_rounded(x, rounded)
        return rounded
    step = float(limits.smallest_subnormal)
    small = ops.round(x * constant(1 / step, x)) * constant(step, x)
    is_small = ops.less(ops.abs(x), constant(float(limits.tiny), x))
    return ops.where(is_small, small, ops.cast(rounded, x.dtype))


def cost(trees: Sequence[Tree]) -> float:
    """Return about how many nanoseconds a row takes in each tree."""
    step = 12 if current_build().traced else 17
    return 21 + step * float(np.mean([max(tree.depth - _MAX_LEVELS, 0) for tree in trees]))


def _both_copies(x):
    """Return both copies of the features, shape (2 * n_features, batch)."""
    x = ops.transpose(x)
    missing = ops.isnan(x)
    # A threshold of infinity separates the missing values only: infinite x must stay below it.
    finite = ops.minimum(x, constant(_most(np.dtype(x.dtype)), x))
    left = ops.where(missing, constant(-np.inf, x), finite)
    right = ops.where(missing, constant(np.inf, x), finite)
    return ops.concatenate([left, right], axis=0)


def _below_first_levels(numbers, n_rows, packed: "_PackedTrees"):
    """Return where the complete trees end: rows of the table, shape (n_trees, batch)."""
    one = ops.cast(n_rows, numbers.dtype)
    feature, threshold = exact_constants(one, packed.feature.ravel(), packed.threshold.ravel())
    value = ops.take(numbers, ops.cast(feature[0], "int32"), axis=0)
    is_right = ops.greater(value, ops.reshape(threshold, (-1, 1)))
    is_right = ops.reshape(is_right, (*packed.feature.shape, -1))
    decisions = []
    slot = None
    for first in (2**level - 1 for level in range(packed.n_levels)):
        nodes = is_right[first : 2 * first + 1, :]
        for goes_right in decisions:
            half = nodes.shape[0] // 2
            nodes = ops.where(goes_right, nodes[half:, :], nodes[:half, :])
        decisions.append(nodes[0])
        bit = ops.cast(nodes[0], "int32")
        slot = bit if slot is None else slot + slot + bit
    # The order matters to Keras here and below: see ``refuse_taken_for_bias``.
    return ops.add(packed.first_rows, slot)


def _walk(numbers, place, n_rows, node, packed: "_PackedTrees"):
    """Return the rows of the leaves, from the rows at which the walk begins.

    `place` holds the numbers of the rows of x, shape (1, batch). They are int64: x may hold more
    than 2**31 numbers.
    """
    rows = rows_of(packed.rows, numbers.dtype)
    numbers = ops.reshape(numbers, (-1,))
    finished = []
    for n_walking in packed.walking:
        if n_walking < node.shape[0]:
            finished.append(node[n_walking:, :])
            node = node[:n_walking, :]
        row = rows(node)
        value = take(numbers, place + n_rows * ops.cast(row[:, :, 0], "int64"))
        step = ops.cast(ops.greater(value, row[:, :, 1]), numbers.dtype)
        node = ops.cast(row[:, :, 2] + step, "int32")
    return ops.concatenate([node, *reversed(finished)], axis=0) if finished else node


@dataclass(frozen=True)
class _PackedTrees:
    """The tables of a descent; the deepest tree comes first.

    Attributes
    ----------
    feature, threshold : ndarray of shape (2**n_levels - 1, n_trees)
        The splits of the first levels, with all nodes of each tree.
    first_rows : ndarray of shape (n_trees, 1)
        The first of the ``2**n_levels`` rows at which each tree's first levels end.
    rows : ndarray of shape (n_rows, 3)
        Feature, threshold and left child of the nodes below, and of leaves.
    values : ndarray of shape (n_rows, n_values)
    walking : list of int
        For each step below the first levels the number of trees that take it.
    places : ndarray of shape (n_trees,)
        Where each tree stands.
    """

    feature: np.ndarray
    threshold: np.ndarray
    first_rows: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    walking: list[int]
    places: np.ndarray

    @property
    def n_levels(self) -> int:
        return int(np.log2(len(self.feature) + 1))


def _pack(trees: Sequence[Tree], n_features: int, dtype: np.dtype) -> _PackedTrees:
    depths = np.array([tree.depth for tree in trees])
    n_levels = int(np.clip(depths.max(), 1, _MAX_LEVELS))
    order = np.argsort(-depths, kind="stable")
    tops, rows, values, first_rows = [], [], [], []
    offset = 0
    for tree in (trees[k] for k in order):
        splits = _splits(tree, n_features, dtype)
        *levels, bottom = tree.first_levels(n_levels)
        nodes, child = _rows_below(tree, bottom)
        tops.append(splits[np.concatenate(levels)])
        rows.append(np.column_stack([splits[nodes], child + offset]))
        values.append(tree.value[nodes])
        first_rows.append([offset])
        offset += len(nodes)
    if dtype == np.float32 and offset > _MAX_NODES_IN_FLOAT32:
        raise NotConvertible(
            f"float32 cannot number the {offset} nodes of all trees. Use precision='float64', "
            "fewer trees, or a smaller max_depth."
        )
    by_level = np.stack(tops, axis=1)
    return _PackedTrees(
        by_level[:, :, 0],
        by_level[:, :, 1],
        np.array(first_rows, np.int32),
        np.vstack(rows),
        np.vstack(values),
        [int(np.sum(depths > step)) for step in range(n_levels, depths.max())],
        np.argsort(order).astype(np.int32),
    )


def _splits(tree: Tree, n_features: int, dtype: np.dtype) -> np.ndarray:
    """Return the feature, in the copy that suits it, and the threshold of each node."""
    is_leaf = tree.left < 0
    copy = np.where(is_leaf | tree.missing_left, 0, n_features)
    feature = np.where(is_leaf, 0, tree.feature) + copy
    threshold = np.where(is_leaf, np.inf, _finite_thresholds(dtype, tree.threshold))
    return np.column_stack([feature, threshold])


def _rows_below(tree: Tree, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes from a level on, siblings side by side, and the places of left children."""
    nodes, places = [], []
    offset = 0
    while True:
        place = offset + np.arange(len(level))
        offset += len(level)
        is_inner = tree.left[level] >= 0
        place[is_inner] = offset + 2 * np.arange(np.sum(is_inner))
        nodes.append(level)
        places.append(place)
        if not np.any(is_inner):
            return np.concatenate(nodes), np.concatenate(places)
        inner = level[is_inner]
        level = np.column_stack([tree.left[inner], tree.right[inner]]).ravel()


def _most(dtype: np.dtype) -> np.floating:
    """Return the number for an infinite threshold: LiteRT takes the largest number as infinity."""
    return np.nextafter(np.finfo(dtype).max, dtype.type(0))


def _finite_thresholds(dtype: np.dtype, threshold: np.ndarray) -> np.ndarray:
    """Return finite thresholds that split the numbers of a dtype as those in float64 do."""
    return thresholds_in(dtype, np.clip(threshold, np.finfo(dtype).min, _most(dtype)))
