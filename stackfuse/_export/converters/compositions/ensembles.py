"""Voting, bagging and AdaBoost; sums are in the order of scikit-learn."""

from collections.abc import Sequence

import numpy as np
from keras import ops
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)
from sklearn.utils import get_tags

from stackfuse._core import NotConvertible
from stackfuse._export.converters.shared.descent import as_float32
from stackfuse._export.converters.shared.tree_sums import tree_means, tree_sums
from stackfuse._export.converters.trees.trees import tree_of
from stackfuse._export.graph.arithmetic import (
    constant,
    exact_constants,
    first_largest,
    is_positive,
    mean_over_trees,
    sum_over_trees,
)
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    current_build,
    once,
    unsupported,
)
from stackfuse._export.graph.frame import Frame, take_columns
from stackfuse._export.graph.masks import refuse_where_raising
from stackfuse._export.graph.trees import Tree

_TREES = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)


@converter_for(VotingClassifier, frames=True)
def _voting_classifier(estimator, x, method):
    bases, weights = estimator.estimators_, estimator._weights_not_none
    if estimator.voting == "soft":
        tables = [convert(base, x, "predict_proba") for base in bases]
        if method == "transform" and estimator.flatten_transform:
            return ops.concatenate(tables, axis=1)
        if method in ("predict_proba", "label"):
            proba = _average(ops.stack(tables, axis=1), weights)
            return proba if method == "predict_proba" else first_largest(proba)
        raise unsupported(estimator, method)
    if method == "transform":
        return ops.stack([convert(base, x, "predict") for base in bases], axis=1)
    if method != "label":
        raise unsupported(estimator, method)
    if weights is not None and min(weights) < 0:
        raise NotConvertible(
            "VotingClassifier with negative weights cannot be converted to a Keras graph. Use "
            "weights of at least 0."
        )
    votes = ops.stack([_indicators(b, x, np.arange(len(estimator.classes_))) for b in bases], 1)
    return first_largest(sum_over_trees(_times_weights(votes, weights)))


@converter_for(VotingRegressor, frames=True)
def _voting_regressor(estimator, x, method):
    values = [convert(base, x, "predict") for base in estimator.estimators_]
    if method == "transform":
        return ops.stack(values, axis=1)
    if method != "predict":
        raise unsupported(estimator, method)
    table = ops.expand_dims(ops.stack(values, axis=1), 2)
    return _average(table, estimator._weights_not_none)[:, 0]


@converter_for(BaggingClassifier, frames=True)
def _bagging_classifier(estimator, x, method):
    x = _refused_by_bases(estimator, x)
    views = list(zip(estimator.estimators_, estimator.estimators_features_))
    n_classes = len(estimator.classes_)
    if method == "decision_function":
        decisions = [convert(b, take_columns(x, f), method) for b, f in views]
        table = ops.stack(decisions, axis=1)
        single = len(table.shape) == 2
        mean = mean_over_trees(ops.expand_dims(table, 2) if single else table)
        return mean[:, 0] if single else mean
    if method not in ("predict_proba", "label"):
        raise unsupported(estimator, method)
    if _are_all_trees(estimator.estimators_):
        trees = [
            _with_features(_with_values(tree_of(b.tree_), _values_of_all_classes(b, n_classes)), f)
            for b, f in views
        ]
        proba = tree_means(as_float32(x, trees), trees, n_classes)
    else:
        parts = [_base_probabilities(b, take_columns(x, f), n_classes) for b, f in views]
        proba = mean_over_trees(ops.stack(parts, axis=1))
    return proba if method == "predict_proba" else first_largest(proba)


@converter_for(BaggingRegressor, frames=True)
def _bagging_regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    x = _refused_by_bases(estimator, x)
    views = list(zip(estimator.estimators_, estimator.estimators_features_))
    if _are_all_trees(estimator.estimators_):
        trees = [_with_features(tree_of(base.tree_), features) for base, features in views]
        mean = tree_means(as_float32(x, trees), trees, trees[0].value.shape[1])
    else:
        table = ops.stack([convert(b, take_columns(x, f), "predict") for b, f in views], axis=1)
        mean = mean_over_trees(ops.expand_dims(table, 2) if len(table.shape) == 2 else table)
    return mean[:, 0] if mean.shape[1] == 1 else mean


@once
def _refused_by_bases(estimator, x):
    """Return x as numbers; rows are refused for the columns alone that some base looks at."""
    x = x.numbers(wanted_by=type(estimator).__name__) if isinstance(x, Frame) else x
    used = np.unique(np.concatenate(estimator.estimators_features_)).tolist()

    def answer(rows):
        every = np.zeros((len(rows), x.shape[1]))
        every[:, used] = rows
        estimator.predict(every)

    allows = get_tags(estimator).input_tags.allow_nan
    refuse_where_raising(answer, take_columns(x, used), takes_missing=allows)
    return x


@converter_for(AdaBoostClassifier)
def _ada_classifier(estimator, x, method):
    """Add up the votes of the bases, each for one class and against all others (SAMME).

    Zhu, J., Zou, H., Rosset, S., Hastie, T. "Multi-class AdaBoost." Statistics and its Interface
    2.3 (2009): 349-360.
    """
    classes, weights = estimator.classes_, estimator.estimator_weights_
    n_classes, bases = len(classes), estimator.estimators_
    if n_classes == 1:
        raise NotConvertible(
            "AdaBoostClassifier was fitted on one class, so there is nothing to export. Fit it "
            "on two classes or more."
        )
    if method not in ("decision_function", "predict_proba", "label"):
        raise unsupported(estimator, method)
    if _are_all_trees(bases):
        trees = []
        for base, weight in zip(bases, weights):
            tree = tree_of(base.tree_)
            chosen = base.classes_[np.argmax(tree.value, axis=1)]
            for_it = chosen[:, None] == classes
            against = -1 / (n_classes - 1) * weight
            trees.append(_with_values(tree, np.where(for_it, weight, against)))
        total = tree_sums(as_float32(x, trees), trees, n_classes)
    else:
        hits = ops.stack([_indicators(base, x, classes) for base in bases], axis=1)
        used = weights[: len(bases), None]
        against = -1 / (n_classes - 1) * used
        votes = ops.where(
            ops.greater(hits, constant(0.5, hits)), constant(used, hits), constant(against, hits)
        )
        total = sum_over_trees(votes)
    decision = total / exact_constants(total, np.full(n_classes, weights.sum()))[0]
    if n_classes == 2:
        decision = decision[:, 1:] - decision[:, :1]
    if method == "label":
        return is_positive(decision) if n_classes == 2 else first_largest(decision)
    if method == "decision_function":
        return decision[:, 0] if n_classes == 2 else decision
    if n_classes == 2:
        return ops.softmax(ops.concatenate([-decision, decision], axis=1) / constant(2.0, total))
    return ops.softmax(decision / constant(n_classes - 1, total))


@converter_for(AdaBoostRegressor)
def _ada_regressor(estimator, x, method):
    """Return the weighted median of the bases' predictions (AdaBoost.R2).

    Drucker, H. "Improving regressors using boosting techniques." ICML (1997): 107-115.
    """
    if method != "predict":
        raise unsupported(estimator, method)
    bases = estimator.estimators_
    if _are_all_trees(bases):
        trees = [tree_of(base.tree_) for base in bases]
        values = tree_sums(as_float32(x, trees), trees, len(trees))
    else:
        values = ops.stack([convert(base, x, "predict") for base in bases], axis=1)
    order = ops.argsort(values, axis=1)
    weights = exact_constants(values, estimator.estimator_weights_[: len(bases)])[0]
    reached = ops.cumsum(ops.take_along_axis(weights, order, axis=1), axis=1)
    enough = ops.greater_equal(reached, reached[:, -1:] * constant(0.5, values))
    ascending = ops.take_along_axis(values, order, axis=1)
    infinite = constant(np.full(len(bases), np.inf), values)
    return ops.min(ops.where(enough, ascending, infinite), axis=1)


def _times_weights(table, weights: Sequence[float] | None):
    """Return a table of shape (batch, n_bases, n_columns) times the weights of the bases."""
    return table if weights is None else table * constant(np.reshape(weights, (-1, 1)), table)


def _average(table, weights: Sequence[float] | None):
    """Return ``numpy.average`` over the bases, shape (batch, n_columns)."""
    if weights is None:
        return mean_over_trees(table)
    total = sum_over_trees(_times_weights(table, weights))
    return total / exact_constants(total, np.full(table.shape[2], float(np.sum(weights))))[0]


def _indicators(base, x, classes: np.ndarray):
    """Return 1 in the column of the class that a base predicts, shape (batch, n_classes)."""
    label = ops.reshape(convert(base, x, "label"), (-1, 1))
    places = np.array([np.flatnonzero(classes == known)[0] for known in base.classes_], np.int64)
    own = np.full(len(classes), -1, np.int64)
    own[places] = np.arange(len(places))
    return ops.cast(ops.equal(label, own), current_build().precision)


def _base_probabilities(base, x, n_classes: int):
    """Return a bagged base's probabilities of all classes; its vote if it has no probabilities."""
    if not hasattr(base, "predict_proba"):
        return _indicators(base, x, np.arange(n_classes))
    proba = convert(base, x, "predict_proba")
    if len(base.classes_) == n_classes:
        return proba
    return ops.matmul(proba, constant(np.eye(n_classes)[base.classes_], proba))


def _are_all_trees(bases: Sequence) -> bool:
    """Whether all bases are plain trees, which are walked through together."""
    return all(type(base) in _TREES for base in bases)


def _with_values(tree: Tree, value: np.ndarray) -> Tree:
    return Tree(**{**vars(tree), "value": value})


def _with_features(tree: Tree, features: np.ndarray) -> Tree:
    """Return a tree that was fitted on some columns as a tree of all columns."""
    inner = np.maximum(tree.feature, 0)  # that of a leaf is negative, and never read
    return Tree(**{**vars(tree), "feature": np.asarray(features)[inner]})


def _values_of_all_classes(base, n_classes: int) -> np.ndarray:
    """Return a tree's values with a column for every class, also for classes it has not seen."""
    value = tree_of(base.tree_).value
    full = np.zeros((len(value), n_classes))
    full[:, base.classes_] = value
    return full
