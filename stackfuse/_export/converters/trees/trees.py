"""Decision trees, forests, and gradient boosting over them."""

from dataclasses import replace

import numpy as np
from keras import ops
from scipy.special import logit
from scipy.stats import gmean
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from stackfuse._export.converters.shared.descent import as_float32
from stackfuse._export.converters.shared.tree_sums import tree_means, tree_sums
from stackfuse._export.graph.arithmetic import (
    constant,
    first_largest,
    is_positive,
    sigmoid,
    two_columns,
)
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    once,
    unsupported,
)
from stackfuse._export.graph.trees import Tree


def _edges(estimator) -> np.ndarray:
    """Return the thresholds of a tree."""
    tree = estimator.tree_
    return np.column_stack([tree.feature, tree.threshold])[tree.feature >= 0]


@converter_for(DecisionTreeClassifier, ExtraTreeClassifier, edges=_edges)
def _tree_classifier(estimator, x, method):
    return _from_probabilities(estimator, _tree_values(estimator, x), method)


@once
def _tree_values(estimator, x):
    """Return the values of the leaves, shape (batch, n_values)."""
    return _mean_values(x, [tree_of(estimator.tree_)])


@converter_for(RandomForestClassifier, ExtraTreesClassifier)
def _forest_classifier(estimator, x, method):
    return _from_probabilities(estimator, _forest_values(estimator, x), method)


@once
def _forest_values(estimator, x):
    """Return the mean over the trees of the leaves' values, shape (batch, n_values)."""
    return _mean_values(x, _trees_of(estimator))


def _mean_values(x, trees: list[Tree]):
    return tree_means(as_float32(x, trees), trees, trees[0].value.shape[1])


@converter_for(DecisionTreeRegressor, ExtraTreeRegressor, edges=_edges)
def _tree_regressor(estimator, x, method):
    _check_predict(estimator, method)
    y = _tree_values(estimator, x)
    return y if estimator.n_outputs_ > 1 else y[:, 0]


@converter_for(RandomForestRegressor, ExtraTreesRegressor)
def _forest_regressor(estimator, x, method):
    _check_predict(estimator, method)
    y = _forest_values(estimator, x)
    return y if estimator.n_outputs_ > 1 else y[:, 0]


@converter_for(RandomTreesEmbedding)
def _embedding(estimator, x, method):
    if method != "transform":
        raise unsupported(estimator, method)
    leaves = []
    for tree in _trees_of(estimator):
        number = np.arange(len(tree.left), dtype=float)[:, None]
        leaves.append(replace(tree, value=number))
    reached = tree_sums(as_float32(x, leaves), leaves, len(leaves))
    columns = [
        ops.equal(reached[:, k : k + 1], constant(leaves_seen, x))
        for k, leaves_seen in enumerate(estimator.one_hot_encoder_.categories_)
    ]
    return ops.cast(ops.concatenate(columns, axis=1), x.dtype)


@converter_for(GradientBoostingRegressor)
def _boosting_regressor(estimator, x, method):
    _check_predict(estimator, method)
    return _raw_predictions(estimator, x)[:, 0]


@converter_for(GradientBoostingClassifier)
def _boosting_classifier(estimator, x, method):
    raw = _raw_predictions(estimator, x)
    if method == "label" and raw.shape[1] == 1:
        # Other than everywhere else in scikit-learn, a decision of exactly 0 is the second class.
        return ops.cast(ops.greater_equal(raw[:, 0], constant(0.0, raw)), "int64")
    # Half the log-odds is what the exponential loss estimates.
    return from_raw_predictions(
        estimator, raw, method, slope=2.0 if estimator.loss == "exponential" else 1.0
    )


def tree_of(tree) -> Tree:
    """Read scikit-learn's tree structure; the values of several outputs stand side by side."""
    return Tree(
        tree.feature,
        tree.threshold,
        tree.children_left,
        tree.children_right,
        tree.missing_go_to_left.astype(bool),
        tree.value.reshape(tree.node_count, -1),
    )


def _trees_of(forest) -> list[Tree]:
    return [tree_of(tree.tree_) for tree in forest.estimators_]


def _from_probabilities(estimator, values, method: str):
    """Return the result of a method from the probabilities of all outputs side by side."""
    if method not in ("predict_proba", "label"):
        raise unsupported(estimator, method)
    if estimator.n_outputs_ == 1:
        return values if method == "predict_proba" else first_largest(values)
    width = max(estimator.n_classes_)
    tables = [values[:, k * width : k * width + n] for k, n in enumerate(estimator.n_classes_)]
    if method == "predict_proba":
        return tables
    return ops.stack([first_largest(table) for table in tables], axis=1)


@once
def _raw_predictions(estimator, x):
    """Return the raw predictions of gradient boosting, shape (batch, n_trees_per_iteration_)."""
    trees = [tree_of(tree.tree_) for tree in estimator.estimators_.ravel()]
    trees = [replace(tree, value=estimator.learning_rate * tree.value) for tree in trees]
    n_outputs, row = estimator.n_trees_per_iteration_, np.zeros((1, estimator.n_features_in_))
    if estimator.init_ == "zero":
        return tree_sums(as_float32(x, trees), trees, n_outputs)
    drawn = getattr(estimator.init_, "strategy", None) in ("stratified", "uniform")
    if isinstance(estimator.init_, DummyClassifier | DummyRegressor) and not drawn:
        # The same for every row, whatever it holds: a first stage of single leaves.
        start = _constant_start(estimator, row)
        trees = [*(Tree.of_one_leaf(value) for value in start), *trees]
        return tree_sums(as_float32(x, trees), trees, n_outputs)
    narrow = as_float32(x, trees)
    start = _initial_prediction(estimator, ops.cast(narrow, x.dtype))
    return tree_sums(narrow, trees, n_outputs, start=start)


def _constant_start(estimator, row: np.ndarray) -> np.ndarray:
    """Return the start of gradient boosting that scikit-learn computes for any row."""
    if isinstance(estimator, GradientBoostingRegressor):
        return np.ravel(estimator.init_.predict(row))
    tiny = np.finfo(np.float64).eps
    proba = np.clip(estimator.init_.predict_proba(row), tiny, 1 - tiny)[0]
    if len(proba) > 2:
        return np.log(proba / gmean(proba))
    odds = logit(proba[1:])
    return odds * 0.5 if estimator.loss == "exponential" else odds


def _initial_prediction(estimator, x):
    """Return the start of gradient boosting: the link of the initial estimator's prediction."""
    if isinstance(estimator, GradientBoostingRegressor):
        return ops.reshape(convert(estimator.init_, x, "predict"), (-1, 1))
    n_outputs = estimator.n_trees_per_iteration_
    proba = convert(estimator.init_, x, "predict_proba")
    proba = proba if n_outputs > 1 else proba[:, 1:]
    tiny = np.finfo(np.float64).eps
    proba = ops.minimum(ops.maximum(proba, constant(tiny, x)), constant(1 - tiny, x))
    log = ops.log(proba)
    if n_outputs > 1:
        return log - ops.mean(log, axis=1, keepdims=True)
    odds = log - ops.log(1 - proba)
    return odds * constant(0.5, x) if estimator.loss == "exponential" else odds


def from_raw_predictions(estimator, raw, method: str, slope: float = 1.0):
    """Return the result of a method from a boosted classifier's raw predictions.

    Parameters
    ----------
    estimator : classifier
    raw : KerasTensor of shape (batch, n_classes), or (batch, 1) for two classes
    method : {"predict_proba", "decision_function", "label"}
    slope : float, default=1.0
        Log-odds per unit of a binary decision.
    """
    binary = raw.shape[1] == 1
    if method == "decision_function":
        return raw[:, 0] if binary else raw
    if method == "label":
        return is_positive(raw) if binary else first_largest(raw)
    if method != "predict_proba":
        raise unsupported(estimator, method)
    if not binary:
        return ops.softmax(raw)
    return two_columns(sigmoid(raw if slope == 1 else raw * constant(slope, raw)))


def _check_predict(estimator, method: str) -> None:
    if method != "predict":
        raise unsupported(estimator, method)
