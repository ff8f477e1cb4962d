"""Trees as tables of numbers, and their sums as one operation."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Tree:
    """One tree: arrays with an entry per node; a leaf has no left child (-1).

    Rows go left where their feature is at most the threshold.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray  # (n_nodes, n_values)

    @classmethod
    def of_one_leaf(cls, value: float) -> "Tree":
        """Return the tree that gives all rows one value."""
        none = np.array([-1])
        return cls(none, np.zeros(1), none, none, np.zeros(1, bool), np.array([[value]]))

    @cached_property
    def preorder(self) -> np.ndarray:
        """All nodes, each before those below it, the left ones before the right ones."""
        order, waiting = [], [0]
        while waiting:
            node = waiting.pop()
            order.append(node)
            if self.left[node] >= 0:
                waiting += [self.right[node], self.left[node]]
        return np.array(order)

    @property
    def leaves(self) -> np.ndarray:
        """The leaves from the left to the right."""
        return self.preorder[self.left[self.preorder] < 0]

    @property
    def n_leaves(self) -> int:
        """The number of leaves."""
        return len(self.leaves)

    @cached_property
    def depth(self) -> int:
        """The number of steps to the deepest leaf."""
        level, depth = np.array([0]), 0
        while True:
            inner = level[self.left[level] >= 0]
            if not inner.size:
                return depth
            level, depth = np.concatenate([self.left[inner], self.right[inner]]), depth + 1

    def first_levels(self, n_levels: int) -> list[np.ndarray]:
        """Return the nodes of the first levels and of the one below, as if the tree were complete.

        The children of a leaf are the leaf itself.
        """
        itself = np.arange(len(self.left))
        children = np.column_stack([self.left, self.right])
        children = np.where(children < 0, itself[:, None], children)
        levels = [np.array([0])]
        for _ in range(n_levels):
            levels.append(children[levels[-1]].ravel())
        return levels

    def leaves_of(self, x: np.ndarray) -> np.ndarray:
        """Return the number of the node at which each row of x ends, shape (n_samples,)."""
        node = np.zeros(len(x), np.int64)
        rows = np.arange(len(x))
        while len(rows):
            rows = rows[self.left[node[rows]] >= 0]
            at = node[rows]
            number = x[rows, self.feature[at]]
            is_left = (number <= self.threshold[at]) | (np.isnan(number) & self.missing_left[at])
            node[rows] = np.where(is_left, self.left[at], self.right[at])
        return node


def rounded_down(thresholds: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the largest numbers of a dtype that are not above the thresholds.

    They split the numbers of the dtype in the same places.
    """
    with np.errstate(over="ignore"):
        rounded = thresholds.astype(dtype)
    above = rounded > thresholds
    rounded[above] = np.nextafter(rounded[above], np.array(-np.inf, dtype))
    return rounded


def thresholds_in(dtype: np.dtype, thresholds: np.ndarray) -> np.ndarray:
    """Return thresholds that TensorFlow splits the numbers of a dtype by as they do in float64."""
    rounded = rounded_down(thresholds, dtype)
    # TensorFlow treats denormal numbers as 0, and 0 must stay above a negative threshold.
    tiny = np.finfo(dtype).tiny
    return np.where((rounded < 0) & (rounded > -tiny), -tiny, rounded)


class TreeSums(keras.layers.Layer):
    """The sums over the values of trees as one operation.

    For formats that have an operator for trees. Their writer puts it in the place of this layer's
    TensorFlow operation, which it knows by its `number`. Until then the layer computes in numpy, so
    that the graph can be checked. No Keras file can hold it.

    Parameters
    ----------
    trees : sequence of Tree
    n_outputs : int
        The values of ``n_outputs / n_values`` trees stand side by side as one stage; the stages
        are added up, the first one first.
    sums_in : {"float64", "float32"}
        The dtype of the sums.
    average : bool
        Whether to divide the sums by the number of stages.
    """

    #: The name of its TensorFlow operation; the number of the layer is the second input.
    OPERATION = "PyFuncStateless"

    _numbers = itertools.count()

    def __init__(self, trees: Sequence[Tree], n_outputs: int, sums_in: str, average: bool):
        super().__init__(trainable=False, dtype=sums_in, autocast=False)
        self.trees = tuple(trees)
        self.n_outputs = n_outputs
        self.sums_in = sums_in
        self.average = average
        self.number = next(self._numbers)

    @property
    def n_values(self) -> int:
        """The number of values of a leaf."""
        return self.trees[0].value.shape[1]

    @property
    def n_stages(self) -> int:
        """The number of terms of each sum."""
        return len(self.trees) * self.n_values // self.n_outputs

    def call(self, x, start=None):
        """Return the sums, shape (batch, n_outputs); `start`, of that shape, is the first term."""
        inputs = [x, tf.constant(self.number, "int64"), *([] if start is None else [start])]
        sums = tf.numpy_function(self._compute, inputs, self.sums_in, stateful=False)
        return tf.ensure_shape(sums, (None, self.n_outputs))

    def get_config(self):
        """Return the configuration that a check of the graph's layers reads: the name alone."""
        return {"name": self.name}

    def _compute(self, x: np.ndarray, number: int, *start: np.ndarray) -> np.ndarray:
        values = np.stack([tree.value[tree.leaves_of(x)] for tree in self.trees], axis=1)
        stages = values.astype(self.sums_in).reshape(len(x), self.n_stages, self.n_outputs)
        terms = [*start, *stages.transpose(1, 0, 2)]
        sums = np.add.reduce(np.array(terms), axis=0)
        return sums / np.array(self.n_stages, self.sums_in) if self.average else sums
