"""Classifiers with calibrated scores or tuned thresholds; isotonic regression."""

import numpy as np
from keras import ops
from sklearn.calibration import CalibratedClassifierCV
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

from stackfuse._export.converters.shared.intervals import interpolated
from stackfuse._export.graph.arithmetic import (
    as_vector,
    constant,
    divided_by_sum,
    exact_constants,
    first_largest,
    mean_over_trees,
    refuse_lost,
    sigmoid,
    two_columns,
)
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    unsupported,
)


@converter_for(CalibratedClassifierCV, frames=True)
def _calibrated(estimator, x, method):
    if method not in ("predict_proba", "label"):
        raise unsupported(estimator, method)
    tables = [_calibrated_pair(pair, x) for pair in estimator.calibrated_classifiers_]
    proba = mean_over_trees(ops.stack(tables, axis=1))
    return proba if method == "predict_proba" else first_largest(proba)


def _calibrated_pair(pair, x):
    """Return the probabilities of one classifier with its calibrators."""
    n_classes = len(pair.classes)
    response = _response_of(pair.estimator, ("decision_function", "predict_proba"))
    scores = convert(pair.estimator, x, response)
    refuse_lost(scores)
    if response == "predict_proba" and len(pair.estimator.classes_) == 2:
        scores = scores[:, 1]
    scores = ops.reshape(scores, (-1, 1)) if len(scores.shape) == 1 else scores
    if pair.method == "temperature":
        proba = _softmax_with_temperature(pair.calibrators[0], scores, response)
    else:
        places = np.searchsorted(pair.classes, pair.estimator.classes_)
        zero = ops.zeros_like(scores[:, 0])
        columns = [zero] * n_classes
        for column, place, calibrator in zip(range(scores.shape[1]), places, pair.calibrators):
            score = scores[:, column]
            columns[place + (n_classes == 2)] = _apply_calibrator(calibrator, score)
        if n_classes == 2:
            columns[0] = 1.0 - columns[1]
            proba = ops.stack(columns, axis=1)
        else:
            proba = divided_by_sum(ops.stack(columns, axis=1))
    above = ops.logical_and(
        ops.greater(proba, constant(1.0, proba)),
        ops.less_equal(proba, constant(1.0 + 1e-5, proba)),
    )
    return ops.where(above, constant(1.0, proba), proba)


def _response_of(estimator, methods: tuple[str, ...]) -> str:
    """Return the first of some methods that an estimator has."""
    return next(method for method in methods if hasattr(estimator, method))


def _apply_calibrator(calibrator, score):
    """Apply a sigmoid or isotonic calibrator to scores of shape (batch,)."""
    if isinstance(calibrator, IsotonicRegression):
        return convert(calibrator, ops.reshape(score, (-1, 1)), "predict")
    return sigmoid(-(score * constant(calibrator.a_, score) + constant(calibrator.b_, score)))


def _softmax_with_temperature(calibrator, scores, response: str):
    """Return the softmax of the logits times the inverse temperature.

    scikit-learn treats scores as probabilities if all rows of a call look like probabilities; here
    the method decides.
    """
    if response == "predict_proba":
        if scores.shape[1] == 1:
            scores = two_columns(scores)
        logits = ops.log(scores + constant(1e-12, scores))
    else:
        logits = ops.concatenate([-scores, scores], axis=1) if scores.shape[1] == 1 else scores
    return ops.softmax(logits * constant(calibrator.beta_, scores))


@converter_for(FixedThresholdClassifier, TunedThresholdClassifierCV, frames=True)
def _threshold(estimator, x, method):
    inner = getattr(estimator, "estimator_", estimator.estimator)
    if method in ("predict_proba", "decision_function"):
        return convert(inner, x, method)
    if method != "label":
        raise unsupported(estimator, method)
    tuned = isinstance(estimator, TunedThresholdClassifierCV)
    positive = estimator._curve_scorer._get_pos_label() if tuned else estimator.pos_label
    place = 1 if positive is None else int(np.flatnonzero(estimator.classes_ == positive)[0])
    wanted = estimator._get_response_method()
    response = _response_of(inner, tuple(wanted) if isinstance(wanted, list) else (wanted,))
    score = convert(inner, x, response)
    if response == "predict_proba":
        score = score[:, place]
    elif place == 0:
        score = -score
    if tuned:
        cut = estimator.best_threshold_
    elif estimator.threshold == "auto":
        cut = 0.5 if response == "predict_proba" else 0.0
    else:
        cut = estimator.threshold
    reached = ops.greater_equal(score, constant(cut, score))
    # Not logical_not: TensorFlow folds it into the comparison, which changes the result for NaN.
    return ops.where(reached, np.full(1, place), np.full(1, 1 - place))


# Isotonic regression: a line between each two knots.


@converter_for(IsotonicRegression)
def _isotonic(estimator, x, method):
    if method not in ("predict", "transform"):
        raise unsupported(estimator, method)
    x = ops.reshape(x, (-1, 1))
    knots = np.asarray(estimator.X_thresholds_, np.float64)
    values = np.asarray(estimator.y_thresholds_, np.float64)
    if len(knots) == 1:  # the same everywhere
        return as_vector(exact_constants(x, values)[0])
    y = as_vector(interpolated(x, knots[None], values[None]))
    if estimator.out_of_bounds == "clip":
        return y
    low, high, nothing = exact_constants(x, knots[0], knots[-1], np.nan)
    outside = ops.logical_or(ops.less(x, low), ops.greater(x, high))
    # Where scikit-learn raises, with out_of_bounds="raise", there is no number either.
    return ops.where(as_vector(outside), as_vector(nothing), y)
