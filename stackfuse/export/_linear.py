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

from stackfuse.export._arithmetic import affine, as_column, first_largest, is_positive, two_columns
from stackfuse.export._convert import convert_type, unsupported


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
    return as_column(y) if np.ndim(estimator.coef_) == 1 else y


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


def _from_decision(estimator, decision, method: str, proba):
    if method == "decision_function":
        return as_column(decision) if decision.shape[1] == 1 else decision
    if method == "label":
        return is_positive(decision) if decision.shape[1] == 1 else first_largest(decision)
    if method == "predict_proba" and proba is not None:
        return proba(decision)
    raise unsupported(estimator, method)


def _softmax(decision):
    from keras import ops

    if decision.shape[1] == 1:
        return two_columns(ops.sigmoid(decision))
    return ops.softmax(decision)


def _one_vs_rest(decision):
    from keras import ops

    positive = ops.sigmoid(decision)
    if decision.shape[1] == 1:
        return two_columns(positive)
    return positive / ops.sum(positive, axis=1, keepdims=True)
