"""Baselines that predict the same for every row."""

import numpy as np
from keras import ops
from sklearn.dummy import DummyClassifier, DummyRegressor

from stackfuse._core import NotConvertible, sklearn_private
from stackfuse._export.graph.arithmetic import exact_constants
from stackfuse._export.graph.convert import (
    converter_for,
    unsupported,
)
from stackfuse._export.graph.frame import Frame


@converter_for(DummyRegressor, frames=True)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    y = same_for_all(x, np.ravel(estimator.constant_))
    return y if estimator.n_outputs_ > 1 else y[:, 0]


@converter_for(DummyClassifier, frames=True)
def _classifier(estimator, x, method):
    strategy = estimator._strategy
    if strategy in ("stratified", "uniform") and method == "label":
        raise NotConvertible(
            f"DummyClassifier(strategy={strategy!r}) draws its labels at random. Use 'prior'."
        )
    if strategy == "stratified":
        raise NotConvertible(
            "DummyClassifier(strategy='stratified') draws its probabilities at random. Use 'prior'."
        )
    # The same for every row, whatever it holds.
    row = np.zeros((1, estimator.n_features_in_))
    proba = estimator.predict_proba(row)
    tables = proba if isinstance(proba, list) else [proba]
    if method == "label":
        labels = [_same_label(x, table[0]) for table in tables]
        return ops.stack(labels, axis=1) if isinstance(proba, list) else labels[0]
    if method != "predict_proba":
        raise unsupported(estimator, method)
    rows = [same_for_all(x, table[0]) for table in tables]
    return rows if isinstance(proba, list) else rows[0]


@converter_for(sklearn_private.ConstantPredictor, frames=True)
def _constant(estimator, x, method):
    """Return the only class that one-vs-rest has seen."""
    value = estimator.y_.astype(np.float64)
    if method in ("predict", "decision_function"):
        return same_for_all(x, value)[:, 0]
    if method == "predict_proba":
        return same_for_all(x, np.hstack([1 - value, value]))
    raise unsupported(estimator, method)


def same_for_all(x, values: np.ndarray):
    """Repeat numbers for every row of x, which may be a frame or a dict of tensors."""
    if isinstance(x, Frame | dict):
        tensors = x.columns if isinstance(x, Frame) else x
        numbers = [tensor for tensor in tensors.values() if tensor.dtype != "string"]
        if not numbers:
            raise NotConvertible(
                "A constant prediction can only be exported if X has a column of numbers."
            )
        x = numbers[0]
    if len(x.shape) > 2:
        x = ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))
    return exact_constants(x, values)[0]


def _same_label(x, proba: np.ndarray):
    return ops.cast(same_for_all(x, np.array([np.argmax(proba)]))[:, 0], "int64")
