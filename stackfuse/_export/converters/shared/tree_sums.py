"""Sums over trees: one operation where the format has an operator for trees, else a descent."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from keras import ops

from stackfuse._export.converters.shared import descent, exit_leaves, leaf_keys
from stackfuse._export.converters.shared.before_scaling import before_scaling
from stackfuse._export.graph.arithmetic import exact_constants, sum_over_trees
from stackfuse._export.graph.build import current_build
from stackfuse._export.graph.trees import Tree, TreeSums


def tree_sums(x, trees: Sequence[Tree], n_outputs: int, *, start=None, sums_in: str | None = None):
    """Return the sums over the values of the leaves that each row reaches.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
    trees : sequence of Tree
        All have the same number of values.
    n_outputs : int
        The values of ``n_outputs / n_values`` trees stand side by side as one stage; the stages
        are added up, the first one first. With one value, and as many outputs as trees, these are
        the values of the single trees.
    start : KerasTensor of shape (batch, n_outputs), default=None
        The start of the sums. A constant start is better a first stage of single leaves.
    sums_in : {"float64", "float32"}, default=None
        The dtype of the sums; by default the graph's precision.

    Returns
    -------
    sums : KerasTensor of shape (batch, n_outputs)
    """
    return _sums(x, trees, n_outputs, sums_in or current_build().precision, start=start)


def tree_means(x, trees: Sequence[Tree], n_outputs: int):
    """Return the sums as of :func:`tree_sums`, divided by the number of stages."""
    return _sums(x, trees, n_outputs, current_build().precision, average=True)


def _sums(x, trees: Sequence[Tree], n_outputs: int, dtype: str, *, start=None, average=False):
    build = current_build()
    build.n_trees.append(len(trees))
    x, trees = before_scaling(x, trees)
    if build.native_trees:
        return TreeSums(trees, n_outputs, dtype, average)(x, start)
    if start is None and not average:
        trees = _with_first_added(trees, n_outputs // trees[0].value.shape[1], dtype)
    is_single = n_outputs == 1
    if is_single:
        # TensorFlow adds up several numbers per row, in order, in a quarter of the time of one.
        n_outputs = 2
        trees = [replace(tree, value=np.repeat(tree.value, 2, axis=1)) for tree in trees]
        start = None if start is None else ops.concatenate([start, start], axis=1)
    values = _leaf_values(x, trees, dtype)
    n_stages = values.shape[1] * values.shape[2] // n_outputs
    terms = values
    if values.shape[2] != n_outputs:
        terms = ops.reshape(values, (-1, n_stages, n_outputs))
    if start is not None:
        terms = ops.concatenate([ops.expand_dims(start, 1), terms], axis=1)
    sums = sum_over_trees(terms) if terms.shape[1] > 1 else terms[:, 0]
    if average and n_stages > 1:
        sums = sums / exact_constants(sums, np.full(n_outputs, float(n_stages)))[0]
    return sums[:, :1] if is_single else sums


def _with_first_added(trees: Sequence[Tree], n: int, dtype: str) -> Sequence[Tree]:
    """Add the first n trees to the n behind them if each is a single leaf, as the sums would."""
    first, second = trees[:n], trees[n : 2 * n]
    if not second or any(len(tree.left) > 1 for tree in first):
        return trees
    added = [
        replace(tree, value=np.add(one.value, tree.value, dtype=dtype, casting="same_kind"))
        for one, tree in zip(first, second)
    ]
    return [*added, *trees[2 * n :]]


def _leaf_values(x, trees: Sequence[Tree], dtype: str):
    """Return the values of the leaves that each row reaches, in the way that takes less time."""
    build = current_build()
    ways = [
        descent,
        *([exit_leaves] if build.bitwise else []),
        *([leaf_keys] if build.traced else []),
    ]
    return min(ways, key=lambda way: way.cost(trees)).leaf_values(x, trees, dtype)
