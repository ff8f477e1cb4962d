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
from stackfuse._export.graph.traced import Bits, CountsBelow, take
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
    borders : list of ndarray
        The borders between the intervals of each feature, in order; in graphs that are traced, as
        :class:`Bits`.
    tables : list of ndarray of shape (n_rows, n_trees)
        For each feature a row for each interval. In graphs that are not traced, a last row is for
        missing values.
    """

    features: np.ndarray
    borders: list[np.ndarray]
    tables: list[np.ndarray]

    @classmethod
    def of(cls, trees: Sequence[Tree], bits: Sequence[np.ndarray], x) -> "SplitTable":
        """Make the table of trees from the bits of each tree's nodes, for the features of x."""
        inner = [np.flatnonzero(tree.left >= 0) for tree in trees]

        def of_inner(arrays) -> np.ndarray:
            return np.concatenate([array[nodes] for array, nodes in zip(arrays, inner)])

        feature = of_inner([tree.feature for tree in trees])
        threshold = thresholds_in(np.dtype(x.dtype), of_inner([tree.threshold for tree in trees]))
        missing_left = of_inner([tree.missing_left for tree in trees])
        own_bits = of_inner(bits)
        of_tree = np.repeat(np.arange(len(trees)), [len(nodes) for nodes in inner])

        traced, never_missing = current_build().traced, "missing" in refused_numbers(x)
        features, borders, tables = np.unique(feature), [], []
        for number in features:
            asks = np.flatnonzero(feature == number)
            own = np.unique(threshold[asks])
            samples = np.array([*own, np.inf, np.nan])
            if traced:
                own, samples = _intervals_of_bits(own, never_missing)
            is_missing = np.isnan(samples)
            table = np.zeros((len(samples), len(trees)), own_bits.dtype)
            for node in asks:
                is_right = samples > threshold[node]
                if not missing_left[node]:
                    is_right |= is_missing
                table[is_right, of_tree[node]] |= own_bits[node]
            borders.append(own)
            tables.append(table)
        return cls(features.astype(np.int32), borders, tables)

    def with_unused(self, n: int) -> "SplitTable":
        """Return a table with n more features, for whose numbers it has rows of zeros."""
        return SplitTable(
            np.append(self.features, np.resize(self.features, n)),
            [*self.borders, *[self.borders[0][:0]] * n],
            [*self.tables, *[np.zeros_like(self.tables[0][:1])] * n],
        )

    @property
    def bits(self) -> np.ndarray:
        """The rows of all features."""
        return np.vstack(self.tables)

    def rows(self, x):
        """Return the numbers of the rows for x, int32 of shape (n_features, batch).

        Parameters
        ----------
        x : KerasTensor of shape (batch, n_columns)
            Where its missing values are refused, some row of the table stands for them.
        """
        n_rows = np.array([[len(table)] for table in self.tables], np.int32)
        first = np.cumsum(n_rows, axis=0, dtype=np.int32) - n_rows
        if current_build().traced:
            x = self._columns(Bits(dtype=self.borders[0].dtype.name, autocast=False)(x))
            return ops.add(first, CountsBelow(self.borders)(x))
        never_missing = "missing" in refused_numbers(x)
        x = self._columns(x)
        borders = _as_tensors(x, self.borders)
        columns = ops.unstack(x, len(self.features), axis=0)
        counts = [ops.searchsorted(own, column) for own, column in zip(borders, columns)]
        rows = ops.add(first, ops.stack(counts, axis=0))
        return rows if never_missing else ops.where(ops.isnan(x), first + n_rows - 1, rows)

    def _columns(self, x):
        """Return the features of x, shape (n_features, batch)."""
        n_columns, x = x.shape[1], ops.transpose(x)
        in_place = np.array_equal(self.features, np.arange(n_columns))
        return x if in_place else take(x, self.features)


def _intervals_of_bits(thresholds: np.ndarray, never_missing: bool):
    """Return the borders between intervals of :class:`Bits`, and a number in each interval.

    No threshold lies between two numbers of an interval. The bits of negative numbers, as whole
    numbers, are below the others, but in the opposite order: -0.0 is the first, minus infinity and
    NaN with a sign are the last. So an interval around zero is in two pieces.

    Parameters
    ----------
    thresholds : ndarray of shape (n,)
        In order, each once.
    never_missing : bool
        Whether NaN needs no interval of its own.

    Returns
    -------
    borders : ndarray of int32 or int64, shape (m,)
        An interval ends with its border.
    samples : ndarray of shape (m + 1,)
        In the dtype of the thresholds.
    """
    kind = np.dtype(f"int{8 * thresholds.dtype.itemsize}")
    thresholds = thresholds + 0.0  # never -0.0
    borders = [thresholds.view(kind) - (thresholds < 0), np.array([-1], kind)]
    if not never_missing:
        borders.append(np.array([-np.inf, np.inf], thresholds.dtype).view(kind))
    borders = np.unique(np.concatenate(borders))
    # The last interval ends with NaN.
    samples = np.append(borders, np.array(np.iinfo(kind).max, kind)).view(thresholds.dtype)
    if never_missing:
        samples = np.where(np.isnan(samples), np.copysign(np.inf, samples), samples)
    return borders, samples


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
