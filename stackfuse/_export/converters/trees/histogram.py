"""Histogram gradient boosting, with splits on categories.

A split on categories is a set of those that go left. Every distinct pair of a feature and a set
becomes a column of its own: 0 for the categories in the set, 1 for the others, NaN for those that
were not seen in training, which count as missing. Then it is a split like any other, at 0.5.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from keras import ops
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from stackfuse._export.converters.shared.tree_sums import tree_sums
from stackfuse._export.converters.trees.trees import from_raw_predictions
from stackfuse._export.graph.arithmetic import (
    constant,
    table,
)
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    once,
    unsupported,
)
from stackfuse._export.graph.frame import (
    Frame,
    take_columns,
)
from stackfuse._export.graph.trees import Tree


def _edges(estimator) -> np.ndarray:
    """Return the thresholds of all trees; categories have none."""
    found = [np.empty((0, 2))]
    for predictor in (tree for stage in estimator._predictors for tree in stage):
        nodes = predictor.nodes
        inner = ~nodes["is_leaf"].astype(bool) & ~nodes["is_categorical"].astype(bool)
        found.append(np.column_stack([nodes["feature_idx"], nodes["num_threshold"]])[inner])
    return np.vstack(found)


@converter_for(HistGradientBoostingRegressor, frames=True, edges=_edges)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    raw = _raw_predictions(estimator, x)[:, 0]
    return ops.exp(raw) if estimator.loss in ("poisson", "gamma") else raw


@converter_for(HistGradientBoostingClassifier, frames=True, edges=_edges)
def _classifier(estimator, x, method):
    return from_raw_predictions(estimator, _raw_predictions(estimator, x), method)


@once
def _raw_predictions(estimator, x):
    """Return the raw predictions, shape (batch, n_trees_per_iteration_)."""
    predictors = [tree for stage in estimator._predictors for tree in stage]
    if estimator.is_categorical_ is None:
        splits = _Splits(0)
        trees = [splits.tree_of(predictor) for predictor in predictors]
        x = _as_numbers(estimator, x)
    else:
        splits = _Splits(int(np.sum(estimator.is_categorical_)))
        trees = [splits.tree_of(predictor) for predictor in predictors]
        trees = [splits.with_split_columns(tree) for tree in trees]
        x = _split_columns(estimator, x, splits)
    start = [Tree.of_one_leaf(value) for value in np.ravel(estimator._baseline_prediction)]
    return tree_sums(x, [*start, *trees], len(start))


def _split_columns(estimator, x, splits: "_Splits"):
    """Return the columns of all sets of categories, followed by the numeric columns."""
    is_categorical = estimator.is_categorical_
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    codes = convert(encoder, take_columns(x, np.flatnonzero(is_categorical).tolist()), "transform")
    parts = []
    for k, sets in enumerate(splits.left_of):
        if sets:
            sides = 1.0 - np.column_stack(list(sets.values()))
            sides = np.vstack([np.full(len(sets), np.nan), sides])
            code = codes[:, k]
            row = ops.where(ops.isnan(code), constant(0.0, code), code + constant(1.0, code))
            parts.append(table(sides, codes.dtype)(ops.cast(row, "int32")))
    if not np.all(is_categorical):
        numeric = take_columns(x, np.flatnonzero(~is_categorical).tolist())
        parts.append(_as_numbers(estimator, numeric))
    # Without any part the trees are single leaves, which read no feature: any column will do.
    return ops.concatenate(parts, axis=1) if parts else codes


def _as_numbers(estimator, x):
    return x.numbers(wanted_by=type(estimator).__name__) if isinstance(x, Frame) else x


@dataclass
class _Splits:
    """The sets of categories that some split sends left.

    The encoder has put the categorical features first.
    """

    n_categorical: int
    left_of: list[dict[bytes, np.ndarray]] = field(init=False)

    def __post_init__(self):
        self.left_of = [{} for _ in range(self.n_categorical)]

    def tree_of(self, predictor) -> Tree:
        """Read a tree; a split on categories counts its feature's sets down from -1."""
        nodes = predictor.nodes
        is_leaf = nodes["is_leaf"].astype(bool)
        feature = nodes["feature_idx"].astype(np.int64)
        threshold = nodes["num_threshold"].copy()
        for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~is_leaf):
            known = self.left_of[feature[node]]
            bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
            known.setdefault(bits.tobytes(), _set_from_bits(bits))
            number = list(known).index(bits.tobytes())
            feature[node] = -1 - (number * self.n_categorical + feature[node])
            threshold[node] = 0.5
        return Tree(
            feature,
            threshold,
            np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
            np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
            nodes["missing_go_to_left"].astype(bool),
            nodes["value"][:, None],
        )

    def with_split_columns(self, tree: Tree) -> Tree:
        """Return a tree whose features are the columns of all sets, then the numeric ones."""
        widths = [len(sets) for sets in self.left_of]
        first = np.cumsum([0, *widths])
        number, feature = np.divmod(-1 - tree.feature, self.n_categorical)
        of_numbers = tree.feature - self.n_categorical + first[-1]
        place = np.where(tree.feature < 0, first[feature] + number, of_numbers)
        return replace(tree, feature=place)


def _set_from_bits(bits: np.ndarray) -> np.ndarray:
    """Return a bitset of eight 32-bit numbers as 256 booleans."""
    return np.unpackbits(bits.view(np.uint8), bitorder="little").astype(bool)
