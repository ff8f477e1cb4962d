"""LightGBM. Imported when an estimator of it is converted."""

from typing import Any

import numpy as np
from keras import ops
from lightgbm import LGBMClassifier, LGBMModel, LGBMRegressor

from stackfuse._core import NotConvertible
from stackfuse._export.converters.shared.tree_sums import tree_sums
from stackfuse._export.graph.arithmetic import (
    constant,
    exact_constants,
    first_largest,
    sigmoid,
    two_columns,
)
from stackfuse._export.graph.convert import (
    converter_for,
    once,
    unsupported,
)
from stackfuse._export.graph.trees import Tree

#: Regressors' predictions are the sum of the trees, or a function of it.
_IDENTITY = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
_EXPONENTIAL = ("poisson", "gamma", "tweedie")

#: Classifiers' objectives.
_OF_CLASSES = ("binary", "multiclass", "multiclassova")

#: Is written for infinity, a threshold that separates the missing values only.
_INFINITY = 1e300

#: LightGBM takes numbers of at most this size for 0. It splits there.
_ZERO = float(np.float32(1e-35))


@converter_for(LGBMRegressor)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    name, settings, raw = _raw_predictions(estimator, x)
    raw = raw[:, 0]
    if name in _EXPONENTIAL:
        return ops.exp(raw)
    return ops.sign(raw) * raw * raw if "sqrt" in settings else raw


@converter_for(LGBMClassifier)
def _classifier(estimator, x, method):
    if method not in ("predict_proba", "decision_function", "label"):
        raise unsupported(estimator, method)
    name, settings, raw = _raw_predictions(estimator, x)
    if method == "decision_function":
        return raw if raw.shape[1] > 1 else raw[:, 0]
    if name == "multiclass":
        proba = ops.softmax(raw)
    else:
        proba = sigmoid(raw * constant(float(settings["sigmoid"]), raw))
        proba = two_columns(proba) if name == "binary" else proba
    return proba if method == "predict_proba" else first_largest(proba)


def _objective(estimator: LGBMModel, model: dict) -> tuple[str, dict[str, str]]:
    """Return the name of the objective, and its settings."""
    is_classifier = isinstance(estimator, LGBMClassifier)
    known = _OF_CLASSES if is_classifier else (*_IDENTITY, *_EXPONENTIAL)
    name, *settings = model.get("objective", "a function").split(" ")
    if name not in known:
        raise NotConvertible(
            f"{type(estimator).__name__} with the objective {name!r} cannot be converted to a "
            f"Keras graph. Use one of {', '.join(known)}."
        )
    return name, dict(setting.partition(":")[::2] for setting in settings)


@once
def _raw_predictions(estimator: LGBMModel, x):
    """Return the objective, its settings, and the sums, shape (batch, num_tree_per_iteration)."""
    model = estimator.booster_.dump_model()
    name, settings = _objective(estimator, model)
    trees = [_tree_of(estimator, tree["tree_structure"]) for tree in model["tree_info"]]
    n_outputs = model["num_tree_per_iteration"]
    total = tree_sums(x, trees, n_outputs)
    if model["average_output"]:
        n_stages = np.full(n_outputs, float(len(trees) // n_outputs))
        total = total / exact_constants(total, n_stages)[0]
    return name, settings, total


def _tree_of(estimator: LGBMModel, root: dict[str, Any]) -> Tree:
    """Read a tree."""
    nodes = [root]
    left, right, missing_left = [], [], []
    for node in nodes:  # grows while it is read
        if "leaf_value" in node:
            _check_leaf(estimator, node)
            left.append(-1)
            right.append(-1)
            missing_left.append(True)
            continue
        _check_split(estimator, node)
        left.append(len(nodes))
        right.append(len(nodes) + 1)
        nodes += [node["left_child"], node["right_child"]]
        # Where training saw no missing value, LightGBM takes one for 0.
        as_zero = node["missing_type"] == "None"
        missing_left.append(0.0 <= node["threshold"] if as_zero else node["default_left"])
    threshold = np.array([node.get("threshold", np.inf) for node in nodes], float)
    threshold[threshold == -_ZERO] = np.nextafter(-_ZERO, -np.inf)
    return Tree(
        np.array([node.get("split_feature", 0) for node in nodes]),
        np.where(threshold >= _INFINITY, np.inf, threshold),
        np.array(left),
        np.array(right),
        np.array(missing_left, bool),
        np.array([[node.get("leaf_value", 0.0)] for node in nodes]),
    )


def _check_split(estimator: LGBMModel, node: dict) -> None:
    name = type(estimator).__name__
    if node["decision_type"] != "<=":
        raise NotConvertible(
            f"{name} splits on categories, which cannot be converted to a Keras graph yet. Encode "
            "them first, for example with a OneHotEncoder."
        )
    if node["missing_type"] == "Zero":
        raise NotConvertible(
            f"{name}(zero_as_missing=True) cannot be converted to a Keras graph. Make the "
            "zeros NaN."
        )


def _check_leaf(estimator: LGBMModel, leaf: dict) -> None:
    if "leaf_coeff" in leaf:
        raise NotConvertible(
            f"{type(estimator).__name__}(linear_tree=True) cannot be converted to a Keras "
            "graph. Use linear_tree=False."
        )
