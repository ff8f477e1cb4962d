"""Meta-learners that return a weighted sum, added up in the estimator's own order."""

import numpy as np
from keras import ops

from stackfuse._export.graph.arithmetic import (
    as_vector,
    constant,
    exact_constants,
    first_largest,
    sigmoid,
    sum_over_trees,
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
    y = _added_to_offset(estimator, x, _sum_one_by_one(estimator, x, predictions))
    return as_vector(y) if estimator._y_is_column else y


@converter_for(combining.CombiningClassifier)
def _classifier(estimator, x, method):
    labels = estimator._task == "multilabel"
    table = _apply_link(_probabilities(estimator, x), estimator.scale, labels, estimator.floor)
    total = _added_to_offset(estimator, x, _sum_over_bases(estimator, x, table))
    probabilities = _invert_link(total, estimator.scale, labels)
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


def _probabilities(estimator, x):
    """Return the probabilities of the bases that are read, shape (batch, n_models, n_classes)."""
    read = estimator.blocks_read()
    blocks = [estimator.blocks_[k] for k in read]
    is_plain = all(estimator.calibrators_[k] is None for k in read)
    if estimator._task == "binary" and is_plain and all(len(b.places) == 1 for b in blocks):
        positive = ops.concatenate([_columns(x, block) for block in blocks], axis=1)
        return ops.stack([1 - positive, positive], axis=2)
    tables = [_base_probabilities(estimator, x, k) for k in read]
    return ops.reshape(ops.concatenate(tables, axis=1), (-1, len(tables), tables[0].shape[1]))


def _weights(estimator: combining.Combiner, width: int) -> np.ndarray:
    """Return the weights of the bases that are read, shape (n_models, width)."""
    weights = estimator.weights_[estimator.blocks_read()]
    return np.broadcast_to(weights.reshape(len(weights), -1), (len(weights), width))


def _sum_over_bases(estimator, x, table):
    """Return the weighted sum of a table, (batch, n_models, width), added up base after base."""
    _, n_models, width = table.shape
    rows = exact_constants(x, _weights(estimator, width).ravel())[0]
    return sum_over_trees(table * ops.reshape(rows, (-1, n_models, width)))


def _sum_one_by_one(estimator, x, predictions):
    """Return the same sum of tensors of one column, for which it takes fewer operations."""
    rows = exact_constants(x, *_weights(estimator, predictions[0].shape[1]))
    total = predictions[0] * rows[0]
    for prediction, row in zip(predictions[1:], rows[1:]):
        total = total + prediction * row
    return total


def _added_to_offset(estimator, x, total):
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
