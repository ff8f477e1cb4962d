"""Meta-learners that return a weighted sum, added up in the estimator's own order."""

import numpy as np
from keras import ops

from stackfuse._export.graph.arithmetic import (
    as_vector,
    constant,
    exact_constants,
    first_largest,
    sigmoid,
    two_columns,
)
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    unsupported,
)
from stackfuse._meta import combining


@converter_for(combining.CombiningRegressor)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    predictions = [_columns(x, estimator.blocks_[k]) for k in estimator.blocks_read()]
    y = _weighted_sum(estimator, x, predictions)
    return as_vector(y) if estimator._y_is_column else y


@converter_for(combining.CombiningClassifier)
def _classifier(estimator, x, method):
    labels = estimator._task == "multilabel"
    predictions = [
        _apply_link(_base_probabilities(estimator, x, k), estimator.scale, labels, estimator.floor)
        for k in estimator.blocks_read()
    ]
    probabilities = _invert_link(_weighted_sum(estimator, x, predictions), estimator.scale, labels)
    if method == "predict_proba":
        return probabilities
    if method == "label":
        if labels:
            return ops.cast(ops.greater(probabilities, constant(0.5, probabilities)), "int64")
        return first_largest(probabilities)
    if method != "decision_function":
        raise unsupported(estimator, method)
    logs = _apply_link(probabilities, "logit", labels, combining.pooling.SMALLEST_PROBABILITY)
    return logs[:, 1] - logs[:, 0] if estimator._task == "binary" else logs


def _columns(x, block):
    return ops.take(x, np.array(block.places), axis=1)


def _base_probabilities(estimator, x, k: int):
    """Return one base's probabilities of the classes; shape (batch, n_classes)."""
    block, calibrator = estimator.blocks_[k], estimator.calibrators_[k]
    numbers = _columns(x, block)
    if calibrator is not None:
        return convert(calibrator, numbers, "predict_proba")
    if estimator._task == "binary" and len(block.places) == 1:
        return two_columns(numbers)
    return numbers


def _weighted_sum(estimator: combining.Combiner, x, predictions):
    """Return the weighted sum of the bases that are read, added up base after base."""
    width = predictions[0].shape[1]
    weights = estimator.weights_[estimator.blocks_read()].reshape(len(predictions), -1)
    rows = exact_constants(x, *np.broadcast_to(weights, (len(predictions), width)))
    total = predictions[0] * rows[0]
    for prediction, row in zip(predictions[1:], rows[1:]):
        total = total + prediction * row
    if estimator.offset_ is None:
        return total
    return total + exact_constants(x, estimator.offset_)[0]


def _apply_link(probabilities, link: str, labels: bool, floor: float):
    """See :func:`stackfuse._meta.combining.pooling.apply_link`."""
    if link == "identity":
        return probabilities
    probabilities = ops.maximum(probabilities, constant(floor, probabilities))
    probabilities = ops.minimum(probabilities, constant(1 - floor, probabilities))
    return ops.log(probabilities) - ops.log(1 - probabilities) if labels else ops.log(probabilities)


def _invert_link(average, link: str, labels: bool):
    """See :func:`stackfuse._meta.combining.pooling.invert_link`."""
    if link == "logit":
        return sigmoid(average) if labels else ops.softmax(average)
    average = ops.maximum(average, constant(combining.pooling.SMALLEST_SUM, average))
    return average if labels else average / ops.sum(average, axis=1, keepdims=True)
