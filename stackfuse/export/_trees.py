"""Trees and their ensembles: all nodes of all trees in one table, descended level by level.

A node is a row [feature, threshold, left child] of a frozen Embedding; its right child is the next
row. A leaf points to itself with an infinite threshold, so that every row of X can take as many
steps as the deepest tree has levels. Missing values need no step of their own: the table sees two
copies of each feature, one in which NaN is minus infinity (always left) and one in which it is
plus infinity (always right), and every node reads the copy that suits it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from stackfuse._checks import NotConvertible
from stackfuse.export._arithmetic import (
    constant,
    first_largest,
    held,
    is_positive,
    table,
    two_columns,
)
from stackfuse.export._convert import convert_type, unsupported


@dataclass(frozen=True)
class _Tree:
    """One tree: arrays with an entry per node; a leaf has no left child (-1)."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray  # (n_nodes, n_values)


def _from_tree(tree) -> _Tree:
    """Read scikit-learn's tree structure."""
    if tree.n_outputs != 1:
        raise NotConvertible(f"A tree with {tree.n_outputs} outputs has no counterpart yet.")
    return _Tree(
        tree.feature,
        tree.threshold,
        tree.children_left,
        tree.children_right,
        tree.missing_go_to_left.astype(bool),
        tree.value[:, 0, :],
    )


def _from_predictor(predictor) -> _Tree:
    """Read a tree of scikit-learn's histogram gradient boosting."""
    nodes = predictor.nodes
    if nodes["is_categorical"].any():
        raise NotConvertible("Splits on categorical features have no counterpart yet.")
    is_leaf = nodes["is_leaf"].astype(bool)
    return _Tree(
        nodes["feature_idx"].astype(np.int64),
        nodes["num_threshold"],
        np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
        np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
        nodes["missing_go_to_left"].astype(bool),
        nodes["value"][:, None],
    )


# ---------------------------------------------------------------------------- estimators


@convert_type(DecisionTreeClassifier, ExtraTreeClassifier)
def _tree_classifier(estimator, x, method):
    proba = _leaf_values(_as_float32(x), [_from_tree(estimator.tree_)])[:, 0]
    return _from_proba(estimator, proba, method)


@convert_type(RandomForestClassifier, ExtraTreesClassifier)
def _forest_classifier(estimator, x, method):
    trees = [_from_tree(tree.tree_) for tree in estimator.estimators_]
    return _from_proba(estimator, _mean_over_trees(_leaf_values(_as_float32(x), trees)), method)


@convert_type(DecisionTreeRegressor, ExtraTreeRegressor)
def _tree_regressor(estimator, x, method):
    _check_predict(estimator, method)
    return _leaf_values(_as_float32(x), [_from_tree(estimator.tree_)])[:, 0, 0]


@convert_type(RandomForestRegressor, ExtraTreesRegressor)
def _forest_regressor(estimator, x, method):
    _check_predict(estimator, method)
    trees = [_from_tree(tree.tree_) for tree in estimator.estimators_]
    return _mean_over_trees(_leaf_values(_as_float32(x), trees))[:, 0]


@convert_type(GradientBoostingRegressor)
def _boosting_regressor(estimator, x, method):
    _check_predict(estimator, method)
    return _boosted(estimator, x)[:, 0]


@convert_type(GradientBoostingClassifier)
def _boosting_classifier(estimator, x, method):
    from keras import ops

    raw = _boosted(estimator, x)
    if method == "label" and raw.shape[1] == 1:
        # Other than everywhere else in scikit-learn, a decision of exactly 0 is the second class.
        return ops.cast(ops.greater_equal(raw[:, 0], constant(0.0, raw)), "int64")
    # Half the log-odds is what the exponential loss estimates.
    return _from_raw(estimator, raw, method, slope=2.0 if estimator.loss == "exponential" else 1.0)


@convert_type(HistGradientBoostingRegressor)
def _histogram_regressor(estimator, x, method):
    from keras import ops

    _check_predict(estimator, method)
    raw = _histogram_boosted(estimator, x)[:, 0]
    return ops.exp(raw) if estimator.loss in ("poisson", "gamma") else raw


@convert_type(HistGradientBoostingClassifier)
def _histogram_classifier(estimator, x, method):
    return _from_raw(estimator, _histogram_boosted(estimator, x), method)


# ---------------------------------------------------------------------------- ensembles


def _mean_over_trees(values):
    from keras import ops

    total = ops.sum(values, axis=1)
    return total / held(total, np.full(values.shape[2], float(values.shape[1])))[0]


def _boosted(estimator, x):
    """Return the raw predictions of gradient boosting, shape (batch, n_trees_per_iteration_)."""
    from keras import ops

    if not (
        estimator.init_ == "zero" or isinstance(estimator.init_, DummyClassifier | DummyRegressor)
    ):
        raise NotConvertible(
            f"{type(estimator).__name__} with init={estimator.init_!r} has no counterpart yet."
        )
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))[0]
    trees = [_from_tree(tree.tree_) for tree in estimator.estimators_.ravel()]
    values = _leaf_values(_as_float32(x), trees) * constant(estimator.learning_rate, x)
    return _sum_by_output(values, start, len(start)) if trees else ops.zeros_like(x[:, :1]) + start


def _histogram_boosted(estimator, x):
    if estimator.is_categorical_ is not None and np.any(estimator.is_categorical_):
        raise NotConvertible("Splits on categorical features have no counterpart yet.")
    trees = [_from_predictor(tree) for stage in estimator._predictors for tree in stage]
    start = np.ravel(estimator._baseline_prediction)
    return _sum_by_output(_leaf_values(x, trees), start, len(start))


def _sum_by_output(values, start: np.ndarray, n_outputs: int):
    """Add up each output's trees; they come stage by stage, one per output."""
    from keras import ops

    n_trees = values.shape[1]
    by_stage = ops.reshape(values, (-1, n_trees // n_outputs, n_outputs))
    return ops.sum(by_stage, axis=1) + constant(start, values)


def _from_proba(estimator, proba, method: str):
    if method == "predict_proba":
        return proba
    if method == "label":
        return first_largest(proba)
    raise unsupported(estimator, method)


def _from_raw(estimator, raw, method: str, slope: float = 1.0):
    from keras import ops

    binary = raw.shape[1] == 1
    if method == "decision_function":
        return raw[:, 0] if binary else raw
    if method == "label":
        return is_positive(raw) if binary else first_largest(raw)
    if method != "predict_proba":
        raise unsupported(estimator, method)
    if not binary:
        return ops.softmax(raw)
    return two_columns(ops.sigmoid(raw * constant(slope, raw)))


def _check_predict(estimator, method: str) -> None:
    if method != "predict":
        raise unsupported(estimator, method)


def _as_float32(x):
    """Round to float32, as these trees do before they compare with float64 thresholds."""
    from keras import ops

    return ops.cast(ops.cast(x, "float32"), x.dtype)


# ---------------------------------------------------------------------------- the descent


def _leaf_values(x, trees: Sequence[_Tree]):
    """Return the value of the leaf that each row reaches in each tree.

    Parameters
    ----------
    x : KerasTensor of shape (batch, n_features)
    trees : sequence of _Tree

    Returns
    -------
    values : KerasTensor of shape (batch, n_trees, n_values)
    """
    from keras import ops

    n_features = x.shape[1]
    rows, values, roots, depth = _pack(trees, n_features, np.dtype(x.dtype))
    nodes = table(rows, x.dtype)
    missing = ops.isnan(x)
    # A threshold of infinity separates the missing values only: infinite x must stay below it.
    finite = ops.minimum(x, constant(np.finfo(x.dtype).max, x))
    x = ops.concatenate(
        [
            ops.where(missing, constant(-np.inf, x), finite),
            ops.where(missing, constant(np.inf, x), finite),
        ],
        axis=1,
    )
    node = ops.cast(ops.zeros_like(x[:, :1]), "int32") + roots
    for _ in range(depth):
        row = nodes(node)
        value = ops.take_along_axis(x, ops.cast(row[:, :, 0], "int32"), axis=1)
        step = ops.cast(ops.greater(value, row[:, :, 1]), x.dtype)
        node = ops.cast(row[:, :, 2] + step, "int32")
    return table(values, x.dtype)(node)


def _pack(trees: Sequence[_Tree], n_features: int, dtype: np.dtype):
    """Return the table of nodes, their values, the roots' rows and the greatest depth."""
    tables, values, roots, depths = [], [], [], []
    offset = 0
    for tree in trees:
        order, depth = _breadth_first(tree)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        left = tree.left[order]
        is_leaf = left < 0
        feature = np.where(is_leaf, 0, tree.feature[order])
        feature = feature + np.where(is_leaf | tree.missing_left[order], 0, n_features)
        threshold = np.where(is_leaf, np.inf, _threshold_in(dtype, tree.threshold[order]))
        child = np.where(is_leaf, np.arange(len(order)), place[left]) + offset
        tables.append(np.column_stack([feature, threshold, child]))
        values.append(tree.value[order])
        roots.append(offset)
        depths.append(depth)
        offset += len(order)
    return (
        np.vstack(tables),
        np.vstack(values),
        np.array(roots, np.int32),
        max(depths),
    )


def _threshold_in(dtype: np.dtype, threshold: np.ndarray) -> np.ndarray:
    """Return thresholds that split the numbers of a dtype exactly as those in float64 do.

    The largest number of the dtype that is not above the threshold splits it in the same place.
    """
    limits = np.finfo(dtype)
    rounded = np.clip(threshold, limits.min, limits.max).astype(dtype)
    below = np.nextafter(rounded, np.array(-np.inf, dtype))
    rounded = np.where(rounded > threshold, below, rounded)
    # TensorFlow takes denormal numbers for 0, and 0 must stay above a negative threshold.
    return np.where((rounded < 0) & (rounded > -limits.tiny), -limits.tiny, rounded)


def _breadth_first(tree: _Tree) -> tuple[np.ndarray, int]:
    """Return the nodes level by level, siblings side by side, and the number of steps down."""
    levels = [np.array([0])]
    while True:
        inner = levels[-1][tree.left[levels[-1]] >= 0]
        if not inner.size:
            return np.concatenate(levels), len(levels) - 1
        levels.append(np.column_stack([tree.left[inner], tree.right[inner]]).ravel())
