"""Tables of the nodes that send rows to the right: a row for each interval of a feature.

All nodes that ask for one feature depend only on the interval between their thresholds in which the
feature lies. So a table has a row for each interval, and one for missing values. A row holds, for
each tree, the bits of those of its nodes that send such rows to the right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from stackfuse._export.graph.arithmetic import exact_constants
from stackfuse._export.graph.build import current_build
from stackfuse._export.graph.masks import refused_numbers
from stackfuse._export.graph.traced import CountsBelow, InOrder, in_order, take
from stackfuse._export.graph.trees import Tree, thresholds_in

#: The bytes of one row of a table. Larger tables leave the processor's cache.
ROW_BYTES = 512


@dataclass(frozen=True)
class SplitTable:
    """The table of some trees.

    Attributes
    ----------
    features : ndarray of shape (n_features,)
        Those that some node asks for.
    thresholds : list of ndarray
        The thresholds of each feature, in order.
    bits : ndarray of shape (n_rows, n_trees)
        For each feature a row where it is missing, rows by how many of its thresholds are below
        it, and again the one where it is missing.
    """

    features: np.ndarray
    thresholds: list[np.ndarray]
    bits: np.ndarray

    @classmethod
    def of(cls, trees: Sequence[Tree], bits: Sequence[np.ndarray], dtype) -> "SplitTable":
        """Make the table of trees from the bits of each tree's nodes, for features of a dtype."""
        inner = [np.flatnonzero(tree.left >= 0) for tree in trees]

        def of_inner(arrays) -> np.ndarray:
            return np.concatenate([array[nodes] for array, nodes in zip(arrays, inner)])

        feature = of_inner([tree.feature for tree in trees])
        threshold = thresholds_in(np.dtype(dtype), of_inner([tree.threshold for tree in trees]))
        missing_left = of_inner([tree.missing_left for tree in trees])
        own_bits = of_inner(bits)
        of_tree = np.repeat(np.arange(len(trees)), [len(nodes) for nodes in inner])

        features, thresholds, tables = np.unique(feature), [], []
        for number in features:
            asks = np.flatnonzero(feature == number)
            own = np.unique(threshold[asks])
            table = np.zeros((len(own) + 3, len(trees)), own_bits.dtype)
            for node in asks:
                first = np.searchsorted(own, threshold[node]) + 2
                table[first:-1, of_tree[node]] |= own_bits[node]
                if not missing_left[node]:
                    table[[0, -1], of_tree[node]] |= own_bits[node]
            thresholds.append(own)
            tables.append(table)
        return cls(features.astype(np.int32), thresholds, np.vstack(tables))

    def with_unused(self, n: int) -> "SplitTable":
        """Return a table with n more features, for whose numbers no node sends a row anywhere."""
        return SplitTable(
            np.append(self.features, np.resize(self.features, n)),
            [*self.thresholds, *[self.thresholds[0][:0]] * n],
            np.pad(self.bits, ((0, 3 * n), (0, 0))),
        )

    def rows(self, x):
        """Return the numbers of the rows for x, int32 of shape (n_features, batch).

        Parameters
        ----------
        x : KerasTensor of shape (batch, n_columns)
            Where its missing values are refused, some row of the table stands for them.
        """
        if current_build().traced:
            return self._rows_in_order(x)
        never_missing = "missing" in refused_numbers(x)
        x = self._columns(x)
        thresholds = _as_tensors(x, self.thresholds)
        columns = ops.unstack(x, len(self.features), axis=0)
        counts = [ops.searchsorted(t, c) for t, c in zip(thresholds, columns)]
        rows = ops.add(self._first + 1, ops.stack(counts, axis=0))
        return rows if never_missing else ops.where(ops.isnan(x), self._first, rows)

    def _rows_in_order(self, x):
        thresholds = [in_order(own + 0.0) for own in self.thresholds]  # never -0.0
        first = self._first + 1
        if "missing" not in refused_numbers(x):
            least, most = in_order(np.array([-np.inf, np.inf], x.dtype))
            thresholds = [np.array([least - 1, *own, most]) for own in thresholds]
            first = self._first
        x = self._columns(InOrder(dtype=thresholds[0].dtype.name, autocast=False)(x))
        return ops.add(first, CountsBelow(thresholds)(x))

    def _columns(self, x):
        """Return the features of x, shape (n_features, batch)."""
        n_columns, x = x.shape[1], ops.transpose(x)
        in_place = np.array_equal(self.features, np.arange(n_columns))
        return x if in_place else take(x, self.features)

    @property
    def _first(self) -> np.ndarray:
        """The first row of each feature, shape (n_features, 1)."""
        n_rows = np.array([[len(own) + 3] for own in self.thresholds], np.int32)
        return np.cumsum(n_rows, axis=0, dtype=np.int32) - n_rows


def by_tables(read: Callable, trees: Sequence[Tree], n_bytes: int):
    """Return what is read of trees, of shape (batch, n_trees), each table of `ROW_BYTES` at most.

    Parameters
    ----------
    read : callable
        Returns it for those trees of which it gets the list.
    trees : sequence of Tree
    n_bytes : int
        The bytes of one tree in a row.
    """
    n_trees = ROW_BYTES // n_bytes
    parts = [read(trees[k : k + n_trees]) for k in range(0, len(trees), n_trees)]
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)


def _as_tensors(x, rows: Sequence[np.ndarray]) -> list:
    """Return rows of numbers of different lengths as tensors in the dtype of x, each a vector."""
    one = ops.sum(ops.ones_like(x[:1, :1]), axis=1, keepdims=True)
    (flat,) = exact_constants(one, np.concatenate(rows))
    flat = ops.reshape(flat, (sum(map(len, rows)),))
    if len(rows) == 1:
        return [flat]
    return ops.split(flat, np.cumsum([len(row) for row in rows[:-1]]).tolist())
