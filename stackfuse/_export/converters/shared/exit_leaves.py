"""The leaves that rows reach, from bitmasks: one for each tree and each interval of a feature.

Each bit of a mask is a leaf. A node that sends a row to the right rules out the leaves on its left;
the row's leaf is the first that no node rules out. This is QuickScorer [1]_. All nodes of a tree
that ask for one feature are asked at once: they depend only on the interval between thresholds in
which the feature lies, so a table holds the mask of each interval, and that of a missing value. A
row takes one row of the table for each feature, whatever the depth of the trees.

References
----------
.. [1] Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of
   regression trees", SIGIR 2015.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from stackfuse._export.graph.arithmetic import exact_constants, table
from stackfuse._export.graph.build import current_build
from stackfuse._export.graph.trees import Tree, thresholds_in

#: The most leaves of a tree: bits of a mask.
MOST_LEAVES = 64

#: The bytes of the masks of one row of a table. Larger tables leave the processor's cache.
_ROW_BYTES = 512

#: Features whose masks are read at once.
_AT_ONCE = 8


def leaf_values(x, trees: Sequence[Tree]):
    """Return the value of the leaf that each row reaches in each tree.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
        Compared in its dtype.
    trees : sequence of Tree
        Trees of at most ``MOST_LEAVES`` leaves.

    Returns
    -------
    values : KerasTensor of shape (batch, n_trees, n_values)
        In the graph's precision.
    """
    n_bits = 32 if max(tree.n_leaves for tree in trees) <= 32 else 64
    n_trees = _ROW_BYTES * 8 // n_bits
    parts = [
        _first_leaves(x, _Masks.of(trees[k : k + n_trees], n_bits, np.dtype(x.dtype)))
        for k in range(0, len(trees), n_trees)
    ]
    leaf = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
    n_leaves = [tree.n_leaves for tree in trees]
    leaf = leaf + np.cumsum([0, *n_leaves[:-1]], dtype=np.int32)
    values = np.vstack([tree.value[tree.leaves] for tree in trees])
    return table(values, current_build().precision)(leaf)


def cost(trees: Sequence[Tree]) -> float:
    """Return about how many nanoseconds a row takes in each tree; infinite if it cannot be done."""
    n_leaves = max(np.sum(tree.left < 0) for tree in trees)
    if n_leaves > MOST_LEAVES or n_leaves == 1:
        return np.inf
    n_features = len(np.unique(np.concatenate([t.feature[t.left >= 0] for t in trees])))
    return 20 + n_features * (0.9 if n_leaves <= 32 else 1.8)


def _first_leaves(x, masks: "_Masks"):
    """Return the numbers of the leaves, from the left, as int32 of shape (batch, n_trees)."""
    x = ops.transpose(x)
    if len(masks.features) < x.shape[0]:
        x = ops.take(x, masks.features, axis=0)
    thresholds = _as_tensors(x, masks.thresholds)
    columns = ops.unstack(x, len(masks.features), axis=0)
    row = ops.stack(
        [ops.searchsorted(own, column) for own, column in zip(thresholds, columns)], axis=0
    )
    n_rows = np.array([[len(own) + 2] for own in masks.thresholds], np.int32)
    first = np.cumsum(n_rows, axis=0, dtype=np.int32) - n_rows
    row = ops.where(ops.isnan(x), first + n_rows - 1, ops.add(first, row))
    read = table(masks.masks, masks.masks.dtype.name)
    left = None
    for k in range(0, len(masks.features), _AT_ONCE):
        some = _all_and(read(row[k : k + _AT_ONCE, :]))
        left = some if left is None else ops.bitwise_and(left, some)
    return _lowest_bit(left)


def _as_tensors(x, rows: Sequence[np.ndarray]) -> list:
    """Return rows of numbers of different lengths as tensors in the dtype of x, each a vector."""
    one = ops.sum(ops.ones_like(x[:1, :1]), axis=1, keepdims=True)
    (flat,) = exact_constants(one, np.concatenate(rows))
    flat = ops.reshape(flat, (sum(map(len, rows)),))
    if len(rows) == 1:
        return [flat]
    return ops.split(flat, np.cumsum([len(row) for row in rows[:-1]]).tolist())


def _all_and(masks):
    """Return masks of shape (n, batch, n_trees) that stand in all n."""
    while masks.shape[0] > 1:
        half = masks.shape[0] // 2
        both = ops.bitwise_and(masks[:half, :, :], masks[half : 2 * half, :, :])
        odd = masks.shape[0] % 2
        masks = ops.concatenate([both, masks[2 * half :, :, :]], axis=0) if odd else both
    return masks[0]


def _lowest_bit(masks):
    """Return the place of the lowest bit, which is the exponent of that bit as a float."""
    lowest = ops.bitwise_and(masks, ops.negative(masks))
    as_float, n_fraction, bias = (
        ("float32", 23, 127) if masks.dtype == "int32" else ("float64", 52, 1023)
    )

    def number(n):
        return np.array([n], masks.dtype)

    bits = ops.right_shift(ops.view(ops.cast(lowest, as_float), masks.dtype), number(n_fraction))
    exponent = ops.bitwise_and(bits, number(2 * bias + 1))  # the highest leaf's bit is a sign
    return ops.cast(ops.subtract(exponent, number(bias)), "int32")


@dataclass(frozen=True)
class _Masks:
    """The tables of some trees.

    Attributes
    ----------
    features : ndarray of shape (n_features,)
        Those that some node asks for.
    thresholds : list of ndarray
        The thresholds of each feature, in order.
    masks : ndarray of shape (n_rows, n_trees)
        The leaves that no node of a feature rules out: for each feature a row by how many of its
        thresholds are below it, and one where it is missing.
    """

    features: np.ndarray
    thresholds: list[np.ndarray]
    masks: np.ndarray

    @classmethod
    def of(cls, trees: Sequence[Tree], n_bits: int, dtype: np.dtype) -> "_Masks":
        """Make the tables of trees for features of a dtype."""
        nodes = [np.flatnonzero(tree.left >= 0) for tree in trees]
        feature = np.concatenate([tree.feature[n] for tree, n in zip(trees, nodes)])
        threshold = np.concatenate([tree.threshold[n] for tree, n in zip(trees, nodes)])
        missing_left = np.concatenate([tree.missing_left[n] for tree, n in zip(trees, nodes)])
        ruled_out = np.concatenate([_ruled_out(tree, n_bits)[n] for tree, n in zip(trees, nodes)])
        of_tree = np.repeat(np.arange(len(trees)), [len(n) for n in nodes])
        threshold = thresholds_in(dtype, threshold)

        features, thresholds, masks = np.unique(feature), [], []
        for number in features:
            asks = np.flatnonzero(feature == number)
            own = np.unique(threshold[asks])
            thresholds.append(own)
            masks.append(np.full((len(own) + 2, len(trees)), ~ruled_out.dtype.type(0)))
            for node in asks:
                first = np.searchsorted(own, threshold[node]) + 1
                masks[-1][first:-1, of_tree[node]] &= ~ruled_out[node]
                if not missing_left[node]:
                    masks[-1][-1, of_tree[node]] &= ~ruled_out[node]
        return cls(features.astype(np.int32), thresholds, np.vstack(masks).view(f"int{n_bits}"))


def _ruled_out(tree: Tree, n_bits: int) -> np.ndarray:
    """Return for each node the leaves that it rules out where it sends a row to the right."""
    below = np.zeros(len(tree.left), np.uint64)
    below[tree.leaves] = np.uint64(1) << np.arange(tree.n_leaves, dtype=np.uint64)
    for node in reversed(tree.preorder):  # children come before their parents
        if tree.left[node] >= 0:
            below[node] = below[tree.left[node]] | below[tree.right[node]]
    return np.where(tree.left >= 0, below[tree.left], np.uint64(0)).astype(f"uint{n_bits}")
