"""Linear models: a matrix product in float64, then the link."""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    Perceptron,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
)
from sklearn.svm import LinearSVC, LinearSVR

from stackfuse.export._convert import convert_type, first_largest, is_positive, unsupported


@convert_type(
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LinearSVR,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDRegressor,
    TheilSenRegressor,
)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    y = affine(x, estimator.coef_, estimator.intercept_)
    return _as_column(y) if np.ndim(estimator.coef_) == 1 else y


@convert_type(LinearSVC, Perceptron, RidgeClassifier, RidgeClassifierCV)
def _decision_classifier(estimator, x, method):
    decision = affine(x, estimator.coef_, estimator.intercept_)
    return _from_decision(estimator, decision, method, proba=None)


@convert_type(LogisticRegression, LogisticRegressionCV, LinearDiscriminantAnalysis)
def _softmax_classifier(estimator, x, method):
    decision = affine(x, estimator.coef_, estimator.intercept_)
    return _from_decision(estimator, decision, method, proba=_softmax)


@convert_type(SGDClassifier)
def _sgd_classifier(estimator, x, method):
    decision = affine(x, estimator.coef_, estimator.intercept_)
    proba = _one_vs_rest if estimator.loss == "log_loss" else None
    return _from_decision(estimator, decision, method, proba)


def affine(x, coef: np.ndarray, intercept):
    """Return ``x @ coef.T + intercept`` as a frozen Dense layer in float64."""
    import keras

    kernel = np.atleast_2d(np.asarray(coef, np.float64)).T
    bias = np.broadcast_to(np.asarray(intercept, np.float64), kernel.shape[1:])
    layer = keras.layers.Dense(kernel.shape[1], trainable=False, dtype="float64")
    y = layer(x)
    layer.set_weights([kernel, bias])
    return y


def _from_decision(estimator, decision, method: str, proba):
    if method == "decision_function":
        return _as_column(decision) if decision.shape[1] == 1 else decision
    if method == "label":
        return is_positive(decision) if decision.shape[1] == 1 else first_largest(decision)
    if method == "predict_proba" and proba is not None:
        return proba(decision)
    raise unsupported(estimator, method)


def _softmax(decision):
    from keras import ops

    if decision.shape[1] == 1:
        positive = ops.sigmoid(decision)
        return ops.concatenate([1 - positive, positive], axis=1)
    return ops.softmax(decision)


def _one_vs_rest(decision):
    from keras import ops

    positive = ops.sigmoid(decision)
    if decision.shape[1] == 1:
        return ops.concatenate([1 - positive, positive], axis=1)
    return positive / ops.sum(positive, axis=1, keepdims=True)


def _as_column(y):
    from keras import ops

    return ops.reshape(y, (-1,))
