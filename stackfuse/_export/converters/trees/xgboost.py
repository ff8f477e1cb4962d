"""XGBoost, which adds up in float32. Imported when an estimator of it is converted."""

import json

import numpy as np
from keras import ops
from xgboost import XGBClassifier, XGBModel, XGBRegressor, XGBRFClassifier, XGBRFRegressor

from stackfuse._core import NotConvertible
from stackfuse._export.converters.shared.descent import as_float32
from stackfuse._export.converters.shared.tree_sums import tree_sums
from stackfuse._export.graph.arithmetic import (
    constant,
    first_largest,
    two_columns,
)
from stackfuse._export.graph.convert import (
    converter_for,
    once,
    unsupported,
)
from stackfuse._export.graph.trees import Tree

#: Regressors' predictions are the sum of the trees, or a function of it.
_IDENTITY = (
    "reg:squarederror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:quantileerror",
    "reg:squaredlogerror",
)
_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie")

#: Classifiers' objectives of two classes.
_BINARY = ("binary:logistic", "reg:logistic", "binary:hinge")


@converter_for(XGBRegressor, XGBRFRegressor)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    objective, margin = _raw_margins(estimator, x)
    if objective in _EXPONENTIAL:
        margin = ops.exp(margin)
    elif objective == "reg:logistic":
        margin = _sigmoid(margin)
    y = ops.cast(margin, x.dtype)
    return y if y.shape[1] > 1 else y[:, 0]


@converter_for(XGBClassifier, XGBRFClassifier)
def _classifier(estimator, x, method):
    if method not in ("predict_proba", "label"):
        raise unsupported(estimator, method)
    objective, margin = _raw_margins(estimator, x)
    if objective in _BINARY and margin.shape[1] == 1:
        if objective == "binary:hinge":  # it gives labels for probabilities
            proba = ops.cast(ops.greater(margin, constant(0.0, margin)), margin.dtype)
        else:
            proba = _sigmoid(margin)
        if method == "label":
            return ops.cast(ops.greater(proba[:, 0], constant(0.5, proba)), "int64")
        return ops.cast(two_columns(proba), x.dtype)
    if objective == "multi:softmax" and method == "label":
        return first_largest(margin)
    proba = ops.softmax(margin)
    return first_largest(proba) if method == "label" else ops.cast(proba, x.dtype)


def _read_model(estimator: XGBModel) -> dict:
    """Return the model as XGBoost writes it, if its predictions are sums over trees."""
    learner = json.loads(estimator.get_booster().save_raw("json"))["learner"]
    objective, booster = learner["objective"]["name"], learner["gradient_booster"]["name"]
    name = type(estimator).__name__
    if booster != "gbtree":
        raise NotConvertible(
            f"{name}(booster={booster!r}) cannot be converted to a Keras graph. Use 'gbtree'."
        )
    if learner["gradient_booster"]["model"].get("weight_drop"):  # DART, from XGBoost 3.4 on
        raise NotConvertible(
            f"{name} that drops trees cannot be converted to a Keras graph. Leave out rate_drop "
            "and one_drop."
        )
    is_classifier = isinstance(estimator, XGBClassifier)
    known = (*_IDENTITY, *_EXPONENTIAL, "reg:logistic")
    if is_classifier:
        known = (*_BINARY, "multi:softprob", "multi:softmax")
    several = is_classifier and int(learner["learner_model_param"]["num_target"]) > 1
    if objective not in known or several:
        what = "several targets" if several else f"objective={objective!r}"
        raise NotConvertible(
            f"{name} with {what} cannot be converted to a Keras graph. Use one of "
            f"{', '.join(known)}."
        )
    return learner


@once
def _raw_margins(estimator: XGBModel, x):
    """Return the objective, and the sums of the trees, float32 of shape (batch, n_groups)."""
    model = _read_model(estimator)
    booster = model["gradient_booster"]["model"]
    last = _last_iteration(estimator) or len(booster["iteration_indptr"]) - 1
    n_trees = booster["iteration_indptr"][last]
    groups = np.array(booster["tree_info"][:n_trees])
    trees = [_tree_of(estimator, tree) for tree in booster["trees"][:n_trees]]
    members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    by_stage = [trees[k] for k in np.column_stack(members).ravel()]
    x = as_float32(x, by_stage)
    if not np.isnan(estimator.missing):
        is_missing = ops.equal(x, constant(np.float32(estimator.missing), x))
        x = ops.where(is_missing, constant(np.nan, x), x)
    margins = np.broadcast_to(_initial_margin(model), len(members))
    start = [Tree.of_one_leaf(float(margin)) for margin in margins]
    sums = tree_sums(x, [*start, *by_stage], len(start), sums_in="float32")
    return model["objective"]["name"], sums


def _last_iteration(estimator: XGBModel) -> int:
    """Return the number of iterations that predict after early stopping; 0 stands for all."""
    try:
        return estimator.best_iteration + 1
    except AttributeError:  # fitted without early stopping
        return 0


def _initial_margin(model: dict) -> np.ndarray:
    """Return the margin from which the sums start: the link of the base score, in float32."""
    text = model["learner_model_param"]["base_score"]
    score = np.atleast_1d(np.asarray(json.loads(text), np.float32))
    objective = model["objective"]["name"]
    if objective in ("binary:logistic", "reg:logistic"):
        return -np.log(np.float32(1) / score - np.float32(1))
    return np.log(score) if objective in _EXPONENTIAL else score


def _tree_of(estimator: XGBModel, tree: dict) -> Tree:
    """Read a tree; rows go left where they are less than the threshold, as float32 numbers."""
    if any(tree["split_type"]):
        raise NotConvertible(
            f"{type(estimator).__name__} splits on categories, which cannot be converted to a "
            "Keras graph yet. Encode them first, for example with a OneHotEncoder."
        )
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise NotConvertible(
            f"{type(estimator).__name__}(multi_strategy='multi_output_tree') cannot be converted "
            "to a Keras graph. Use multi_strategy='one_output_per_tree'."
        )
    numbers = np.array(tree["split_conditions"], np.float32)
    below = np.nextafter(numbers, np.float32(-np.inf)).astype(np.float64)
    return Tree(
        np.array(tree["split_indices"]),
        below,
        np.array(tree["left_children"]),
        np.array(tree["right_children"]),
        np.array(tree["default_left"], bool),
        numbers.astype(np.float64)[:, None],
    )


def _sigmoid(margin):
    """Return 1 / (1 + exp(-margin)), rounded as XGBoost rounds it: 0.5 also for tiny margins."""
    one = constant(1.0, margin)
    return ops.ones_like(margin) / (ops.exp(-margin) + one)
