"""CatBoost. Imported when an estimator of it is converted."""

import json
import os
import tempfile
from collections.abc import Iterable

import numpy as np
from catboost import CatBoostClassifier, CatBoostRegressor
from keras import ops

from stackfuse._core import NotConvertible, messages
from stackfuse._export.converters.shared.descent import as_float32
from stackfuse._export.converters.shared.tree_sums import tree_sums
from stackfuse._export.graph.arithmetic import (
    constant,
    exact_constants,
    first_largest,
    is_positive,
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
_IDENTITY = ("RMSE", "MAE", "Quantile", "Expectile", "LogCosh", "Huber", "MAPE", "MultiRMSE", "Lq")
_EXPONENTIAL = ("Poisson", "Tweedie")

#: Classifiers' losses.
_OF_CLASSES = ("Logloss", "CrossEntropy", "MultiClass")


@converter_for(CatBoostRegressor)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    loss, raw = _raw_predictions(estimator, x)
    y = ops.exp(raw) if loss in _EXPONENTIAL else raw
    return y if y.shape[1] > 1 else y[:, 0]


@converter_for(CatBoostClassifier)
def _classifier(estimator, x, method):
    if estimator.get_probability_threshold() not in (None, 0.5):
        raise NotConvertible(
            "CatBoostClassifier with a probability threshold cannot be converted to a Keras "
            "graph. Wrap it in FixedThresholdClassifier instead."
        )
    _, raw = _raw_predictions(estimator, x)
    if method == "label":
        return is_positive(raw) if raw.shape[1] == 1 else first_largest(raw)
    if method != "predict_proba":
        raise unsupported(estimator, method)
    return two_columns(sigmoid(raw)) if raw.shape[1] == 1 else ops.softmax(raw)


def _read_model(estimator) -> dict:
    """Return the model as CatBoost writes it, if its predictions are sums over trees."""
    is_classifier = isinstance(estimator, CatBoostClassifier)
    known = _OF_CLASSES if is_classifier else (*_IDENTITY, *_EXPONENTIAL)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.json")
        estimator.save_model(path, format="json")
        with open(path, encoding="utf-8") as file:
            model = json.load(file)
    if _loss(model) not in known:
        raise NotConvertible(
            f"{type(estimator).__name__}(loss_function={_loss(model)!r}) cannot be converted to a "
            f"Keras graph. Use one of {', '.join(known)}."
        )
    return model


def _loss(model: dict) -> str:
    return model["model_info"]["params"]["loss_function"]["type"]


@once
def _raw_predictions(estimator, x):
    """Return the loss, and the sums of the trees, shape (batch, n_outputs)."""
    model = _read_model(estimator)
    scale, bias = model["scale_and_bias"]
    features = {f["feature_index"]: f for f in model["features_info"]["float_features"]}
    roots = [_as_nested_nodes(tree) for tree in model.get("oblivious_trees", [])] or model["trees"]
    trees = [_tree_of(estimator, root, features, len(bias)) for root in roots]
    x = _with_infinity_missing(as_float32(x, trees), features.values())
    total = tree_sums(x, trees, len(bias))
    return _loss(model), total * constant(scale, x) + exact_constants(x, bias)[0]


def _with_infinity_missing(x, features: Iterable[dict]):
    """Return NaN for infinity in the columns whose missing values are above all borders.

    The border between numbers and missing values is the largest float32 there. Infinity is above
    it, but below the infinite thresholds of other trees, for which it is missing values alone.
    """
    columns = [f["flat_feature_index"] for f in features if f["nan_value_treatment"] == "AsTrue"]
    if not columns:
        return x
    is_above = np.zeros(x.shape[1], bool)
    is_above[columns] = True
    is_infinite = ops.less(constant(np.finfo(np.float32).max, x), x)
    return ops.where(ops.logical_and(is_infinite, is_above), x - x, x)


def _as_nested_nodes(tree: dict) -> dict:
    """Return an oblivious tree, which has one split per level, as nested nodes.

    The split of level k adds 2**k to the number of the leaf.
    """
    splits = tree["splits"] or []
    leaves = np.reshape(tree["leaf_values"], (2 ** len(splits), -1))

    def node(level: int, leaf: int) -> dict:
        if level == len(splits):
            return {"value": leaves[leaf].tolist()}
        return {
            "split": splits[level],
            "left": node(level + 1, leaf),
            "right": node(level + 1, leaf + 2**level),
        }

    return node(0, 0)


def _tree_of(estimator, root: dict, features: dict[int, dict], n_outputs: int) -> Tree:
    """Read a tree of nested nodes; rows go right where they are greater than the border."""
    nodes = [root]
    left, right, feature, border, missing_left = [], [], [], [], []
    for node in nodes:  # grows while it is read
        is_leaf = "split" not in node
        split = {} if is_leaf else node["split"]
        if not is_leaf and split["split_type"] != "FloatFeature":
            raise NotConvertible(
                f"{type(estimator).__name__} splits on "
                f"{messages.with_article(split['split_type'])}, which cannot be converted to a "
                "Keras graph. Encode categories first, for example with a OneHotEncoder."
            )
        known = {} if is_leaf else features[split["float_feature_index"]]
        feature.append(known.get("flat_feature_index", 0))
        border.append(split.get("border", np.inf))
        missing_left.append(known.get("nan_value_treatment") != "AsTrue")
        left.append(-1 if is_leaf else len(nodes))
        right.append(-1 if is_leaf else len(nodes) + 1)
        nodes += [] if is_leaf else [node["left"], node["right"]]
    values = [np.ravel(node.get("value", np.zeros(n_outputs))) for node in nodes]
    return Tree(
        np.array(feature),
        np.array(border, float),
        np.array(left),
        np.array(right),
        np.array(missing_left, bool),
        np.vstack(values),
    )
