"""Meta-learners that weigh predictions: sums of products, in the order of the estimator's own."""

import numpy as np
from keras import ops

from stackfuse._export.graph.arithmetic import (
    as_column,
    constant,
    first_largest,
    held,
    two_columns,
)
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    unsupported,
)
from stackfuse._meta import combiners, pooling


@converter_for(combiners.CombiningRegressor)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    opinions = [_columns(x, block) for block in estimator.blocks_]
    y = _blend(estimator, x, opinions)
    return as_column(y) if estimator._y_is_column else y


@converter_for(combiners.CombiningClassifier)
def _classifier(estimator, x, method):
    labels = estimator._task == "multilabel"
    opinions = [
        _linked(_chances(estimator, x, block, calibrator), estimator.link, labels)
        for block, calibrator in zip(estimator.blocks_, estimator.calibrators_)
    ]
    chances = _unlinked(_blend(estimator, x, opinions), estimator.link, labels)
    if method == "predict_proba":
        return chances
    if method == "label":
        if labels:
            return ops.cast(ops.greater(chances, constant(0.5, chances)), "int64")
        return first_largest(chances)
    if method != "decision_function":
        raise unsupported(estimator, method)
    logs = _linked(chances, "logit", labels)
    return logs[:, 1] - logs[:, 0] if estimator._task == "binary" else logs


def _columns(x, block):
    return ops.take(x, np.array(block.places), axis=1)


def _chances(estimator, x, block, calibrator):
    """Return what one base says of the classes; shape (batch, n_classes)."""
    numbers = _columns(x, block)
    if calibrator is not None:
        return convert(calibrator, numbers, "predict_proba")
    if estimator._task == "binary" and len(block.places) == 1:
        return two_columns(numbers)
    return numbers


def _blend(estimator: combiners.Combiner, x, opinions):
    """Return the weighted sum, added up base after base."""
    width = opinions[0].shape[1]
    weights = estimator.weights_.reshape(len(opinions), -1)
    rows = held(x, *np.broadcast_to(weights, (len(opinions), width)))
    total = opinions[0] * rows[0]
    for opinion, row in zip(opinions[1:], rows[1:]):
        total = total + opinion * row
    return total


def _linked(chances, link: str, labels: bool):
    """See :func:`stackfuse._meta.pooling.linked`."""
    if link == "identity":
        return chances
    chances = ops.maximum(chances, constant(pooling.SMALLEST, chances))
    chances = ops.minimum(chances, constant(1 - pooling.SMALLEST, chances))
    return ops.log(chances) - ops.log(1 - chances) if labels else ops.log(chances)


def _unlinked(average, link: str, labels: bool):
    """See :func:`stackfuse._meta.pooling.unlinked`."""
    if link == "logit":
        return ops.sigmoid(average) if labels else ops.softmax(average)
    average = ops.maximum(average, constant(pooling.NOTHING, average))
    return average if labels else average / ops.sum(average, axis=1, keepdims=True)
