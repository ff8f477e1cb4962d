"""The leaves that rows reach, from bitmasks: one for each tree and each interval of a feature.

Each bit of a mask is a leaf. A node that sends a row to the right rules out the leaves on its left;
the row's leaf is the first that no node rules out. This is QuickScorer [1]_, with the masks of all
nodes that ask for one feature in one :class:`SplitTable`. A row takes one row of the table for each
feature, whatever the depth of the trees.

References
----------
.. [1] Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of
   regression trees", SIGIR 2015.
"""

from collections.abc import Sequence

import numpy as np
from keras import ops

from stackfuse._export.converters.shared.split_table import SplitTable, by_tables
from stackfuse._export.graph.traced import rows_of
from stackfuse._export.graph.trees import Tree

#: The most leaves of a tree: bits of a mask.
MOST_LEAVES = 64

#: Features whose masks are read at once.
_AT_ONCE = 8


def leaf_values(x, trees: Sequence[Tree], dtype: str):
    """Return the value of the leaf that each row reaches in each tree.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
        Compared in its dtype.
    trees : sequence of Tree
        Trees of at most ``MOST_LEAVES`` leaves.
    dtype : str
        That of the values.

    Returns
    -------
    values : KerasTensor of shape (batch, n_trees, n_values)
    """
    n_bits = 32 if max(tree.n_leaves for tree in trees) <= 32 else 64
    leaf = by_tables(lambda some: _first_leaves(x, some, n_bits), trees, n_bits // 8)
    n_leaves = [tree.n_leaves for tree in trees]
    leaf = leaf + np.cumsum([0, *n_leaves[:-1]], dtype=np.int32)
    values = np.vstack([tree.value[tree.leaves] for tree in trees])
    return rows_of(values, dtype)(leaf)


def cost(trees: Sequence[Tree]) -> float:
    """Return about how many nanoseconds a row takes in each tree; infinite if it cannot be done."""
    n_leaves = max(np.sum(tree.left < 0) for tree in trees)
    if n_leaves > MOST_LEAVES or n_leaves == 1:
        return np.inf
    n_features = len(np.unique(np.concatenate([t.feature[t.left >= 0] for t in trees])))
    return 20 + n_features * (0.9 if n_leaves <= 32 else 1.8)


def _first_leaves(x, trees: Sequence[Tree], n_bits: int):
    """Return the numbers of the leaves, from the left, as int32 of shape (batch, n_trees)."""
    splits = SplitTable.of(trees, [_ruled_out(tree, n_bits) for tree in trees], x)
    masks = (~splits.bits).view(f"int{n_bits}")
    row, read = splits.rows(x), rows_of(masks, masks.dtype.name)
    left = None
    for k in range(0, len(splits.features), _AT_ONCE):
        some = _all_and(read(row[k : k + _AT_ONCE, :]))
        left = some if left is None else ops.bitwise_and(left, some)
    return _lowest_bit(left)


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


def _ruled_out(tree: Tree, n_bits: int) -> np.ndarray:
    """Return for each node the leaves that it rules out where it sends a row to the right."""
    below = np.zeros(len(tree.left), np.uint64)
    below[tree.leaves] = np.uint64(1) << np.arange(tree.n_leaves, dtype=np.uint64)
    for node in reversed(tree.preorder):  # children come before their parents
        if tree.left[node] >= 0:
            below[node] = below[tree.left[node]] | below[tree.right[node]]
    return np.where(tree.left >= 0, below[tree.left], np.uint64(0)).astype(f"uint{n_bits}")
