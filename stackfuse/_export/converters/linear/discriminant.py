"""Discriminant analysis: quadratic, and the projection of the linear one."""

import numpy as np
from keras import ops
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis

from stackfuse._core import NotConvertible
from stackfuse._export.graph.arithmetic import (
    affine,
    as_vector,
    exact_constants,
    first_largest,
    is_positive,
    sigmoid,
    two_columns,
)
from stackfuse._export.graph.convert import (
    converter_for,
    unsupported,
)


@converter_for(QuadraticDiscriminantAnalysis)
def _quadratic(estimator, x, method):
    squares, offsets = [], []
    for mean, rotation, scaling, prior in zip(
        estimator.means_, estimator.rotations_, estimator.scalings_, estimator.priors_
    ):
        whitened = affine(x - exact_constants(x, mean)[0], (rotation * scaling**-0.5).T, 0.0)
        squares.append(ops.sum(ops.square(whitened), axis=1, keepdims=True))
        with np.errstate(divide="ignore"):
            offsets.append(np.log(prior) - 0.5 * np.sum(np.log(scaling)))
    scores = exact_constants(x, offsets)[0] - 0.5 * ops.concatenate(squares, axis=1)
    return from_log_posterior(estimator, scores, method)


def from_log_posterior(estimator, scores, method: str):
    """Return the result of a method from unnormalised logarithms of class probabilities.

    Parameters
    ----------
    estimator : classifier
    scores : KerasTensor of shape (batch, n_classes)
    method : {"predict_proba", "decision_function", "label"}
    """
    if method == "decision_function":
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores
    if method == "label":
        return first_largest(scores)
    if method != "predict_proba":
        raise unsupported(estimator, method)
    return ops.softmax(scores) if scores.shape[1] > 1 else ops.ones_like(scores)


@converter_for(LinearDiscriminantAnalysis)
def _linear(estimator, x, method):
    if method == "transform":
        return _projection(estimator, x)
    decision = affine(x, estimator.coef_, estimator.intercept_)
    if decision.shape[1] > 1:
        return from_log_posterior(estimator, decision, method)
    if method == "decision_function":
        return as_vector(decision)
    if method == "label":
        return is_positive(decision)
    if method != "predict_proba":
        raise unsupported(estimator, method)
    return two_columns(sigmoid(decision))


def _projection(estimator, x):
    if estimator.solver == "lsqr":
        raise NotConvertible(
            "LinearDiscriminantAnalysis with solver='lsqr' cannot transform: use solver='svd'."
        )
    if estimator.solver == "svd":
        x = x - exact_constants(x, estimator.xbar_)[0]
    scalings = estimator.scalings_[:, : estimator._max_components]
    return affine(x, scalings.T, 0.0)
