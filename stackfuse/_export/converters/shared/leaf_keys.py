"""The leaves that rows reach, from keys: the decisions of all nodes of a shallow tree, as bits.

A tree of three levels has seven nodes, so its decisions are one of 128 keys, and a table holds the
leaf's value for each. A deeper tree has a byte for each subtree of three levels. Bit 3 of each byte
serves the nodes above. In the first of two bytes it is 8 if the second is to be read: by how much
to shift. In the second it is always 8 then, so that it still tells which was read. Where there are
four bytes, the root chooses two by bit 3 of the last. A tree with one split for each level, as
CatBoost's, needs one bit for each level.

All bits come from a :class:`SplitTable`, which gives a row of bits for each feature. No two nodes
share a bit, so the sum of these rows has all of them: one operation, however many features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from stackfuse._export.converters.shared.split_table import ROW_BYTES, SplitTable, by_tables
from stackfuse._export.graph.traced import BitsOfRows, rows_of
from stackfuse._export.graph.trees import Tree

#: The levels below a byte.
_LEVELS = 3

#: The most levels of a tree: its bytes must fit into four.
_MOST_LEVELS = 5

#: The bit of a byte that chooses between this byte and the next.
_CHOICE = 3

#: The bit by which the root chooses between the halves of four bytes.
_ROOT_OF_FOUR = 3 * 8 + _CHOICE

#: The most levels of a tree with one split for each: the bits of a byte.
_MOST_SPLITS = 8

#: The most numbers that a tree's table of values holds.
_MOST_VALUES = 2048


def leaf_values(x, trees: Sequence[Tree], dtype: str):
    """Return the value of the leaf that each row reaches in each tree.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
        Compared in its dtype.
    trees : sequence of Tree
        Trees for which :func:`cost` is finite.
    dtype : str
        That of the values.

    Returns
    -------
    values : KerasTensor of shape (batch, n_trees, n_values)
    """
    layout = _Layout.of(trees)
    key = by_tables(lambda some: _keys(x, some, layout), trees, layout.n_bytes)
    leaves = layout.leaves_by_key()
    values = np.vstack([tree.value[tree.first_levels(layout.depth)[-1][leaves]] for tree in trees])
    return rows_of(values, dtype)(key + len(leaves) * np.arange(len(trees), dtype=np.int32))


def cost(trees: Sequence[Tree]) -> float:
    """Return about how many nanoseconds a row takes in each tree; infinite if it cannot be done."""
    layout = _Layout.of(trees)
    too_deep = layout.depth > (_MOST_SPLITS if layout.one_split else _MOST_LEVELS)
    if too_deep or layout.depth == 0:
        return np.inf
    if len(layout.leaves_by_key()) * trees[0].value.shape[1] > _MOST_VALUES:
        return np.inf
    n_features = len(np.unique(np.concatenate([t.feature[t.left >= 0] for t in trees])))
    n_trees = min(len(trees), ROW_BYTES // layout.n_bytes)
    return 6 + 2 * layout.n_bytes + n_features * (20 / n_trees + 0.06 * layout.n_bytes)


def _keys(x, trees: Sequence[Tree], layout: "_Layout"):
    """Return the key of each row in each tree, as int32 of shape (batch, n_trees)."""
    splits = SplitTable.of(trees, [layout.bits_of(tree) for tree in trees], x)
    splits = splits.with_unused(BitsOfRows.n_more(len(splits.features)))
    bits = BitsOfRows(splits.bits)(ops.transpose(splits.rows(x)))
    if layout.n_bytes == 1:
        return bits
    if layout.n_bytes == 4:
        second_half = _and(_right(bits, _ROOT_OF_FOUR - 4), 16)
        bits = ops.right_shift(bits, second_half)
    bits = ops.right_shift(bits, _and(bits, 1 << _CHOICE))
    key = _and(bits, 255)
    if layout.n_bytes == 2:
        return key
    # Not a sum: Keras takes one of two tensors of no rows for a bias.
    return ops.subtract(key, second_half * np.array([-16], np.int32))


def _and(bits, number: int):
    return ops.bitwise_and(bits, np.array([number], np.int32))


def _right(bits, number: int):
    return ops.right_shift(bits, np.array([number], np.int32))


@dataclass(frozen=True)
class _Layout:
    """Which bit stands for which node.

    Attributes
    ----------
    depth : int
        The number of levels.
    one_split : bool
        Whether all nodes of a level ask the same.
    """

    depth: int
    one_split: bool

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> "_Layout":
        """Return the layout that suits all trees."""
        depth = max(tree.depth for tree in trees)
        return cls(depth, depth <= _MOST_SPLITS and all(map(_has_one_split_a_level, trees)))

    @property
    def n_bytes(self) -> int:
        """The bytes of a tree."""
        return 1 if self.one_split else 2 ** max(self.depth - _LEVELS, 0)

    def bits_of(self, tree: Tree) -> np.ndarray:
        """Return the bit of each node, with bits of 0 for nodes that need none."""
        bits = np.zeros(len(tree.left), f"uint{8 * self.n_bytes}")
        for level, nodes in enumerate(tree.first_levels(self.depth)[:-1]):
            for k, node in enumerate(nodes[:1] if self.one_split else nodes):
                if tree.left[node] >= 0:
                    bits[node] = sum(1 << place for place in self._places(level, k))
        return bits

    def _places(self, level: int, k: int) -> list[int]:
        """Return the places of the bits of node k of a level."""
        if self.one_split:
            return [self.depth - 1 - level]
        n_above = self.n_bytes.bit_length() - 1
        if level >= n_above:
            byte, rest = divmod(k, 2 ** (level - n_above))
            place = 2 ** (level - n_above) - 1 + rest
            return [8 * byte + place + (n_above > 0 and place >= _CHOICE)]
        if level < n_above - 1:
            return [_ROOT_OF_FOUR]
        first = 16 * k + _CHOICE
        return [first] if first + 8 == _ROOT_OF_FOUR else [first, first + 8]

    def leaves_by_key(self) -> np.ndarray:
        """Return the leaf that each key of a complete tree leads to."""
        if self.one_split:
            return np.arange(2**self.depth)
        n_levels = min(self.depth, _LEVELS)
        key, byte = np.arange(2 ** (2**n_levels - 1)), 0
        if self.n_bytes > 1:
            half, value = np.divmod(np.arange(128 * self.n_bytes), 256)
            byte = 2 * half + (value >> _CHOICE & 1)
            low = value & (1 << _CHOICE) - 1
            key = low | (value >> _CHOICE + 1) << _CHOICE
        leaf = np.zeros_like(key)
        for level in range(n_levels):
            leaf = 2 * leaf + (key >> (2**level - 1 + leaf) & 1)
        return leaf + 2**n_levels * byte


def _has_one_split_a_level(tree: Tree) -> bool:
    for nodes in tree.first_levels(tree.depth)[:-1]:
        splits = {(tree.feature[k], tree.threshold[k], tree.missing_left[k]) for k in nodes}
        if len(splits) > 1 or np.any(tree.left[nodes] < 0):
            return False
    return True
