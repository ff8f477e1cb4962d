"""Linear models: a matrix product in float64, then the link."""

import numpy as np
from keras import ops
from sklearn.cross_decomposition import CCA, PLSSVD, PLSCanonical, PLSRegression
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
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
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    PassiveAggressiveClassifier,
    PassiveAggressiveRegressor,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.svm import LinearSVC, LinearSVR

from stackfuse._core import sklearn_private
from stackfuse._export.graph.arithmetic import (
    affine,
    as_vector,
    constant,
    divided_by_sum,
    exact_constants,
    first_largest,
    is_positive,
    sigmoid,
    two_columns,
)
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    current_build,
    once,
    unsupported,
)


@once
def _scores(estimator, x):
    """Return the products with the coefficients; by one layer, as it may be trained on."""
    trainable = current_build().trainable
    return affine(x, estimator.coef_, estimator.intercept_, trainable=trainable)


@converter_for(
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
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    PassiveAggressiveRegressor,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDRegressor,
    TheilSenRegressor,
)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    y = _scores(estimator, x)
    return as_vector(y) if np.ndim(estimator.coef_) == 1 else y


@converter_for(GammaRegressor, PoissonRegressor, TweedieRegressor)
def _generalised(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    y = as_vector(_scores(estimator, x))
    return y if isinstance(estimator._base_loss.link, sklearn_private.IdentityLink) else ops.exp(y)


@converter_for(RANSACRegressor)
def _ransac(estimator, x, method):
    return convert(estimator.estimator_, x, method)


@converter_for(CCA, PLSCanonical, PLSRegression)
def _partial_least_squares(estimator, x, method):
    centred = x - exact_constants(x, estimator._x_mean)[0]
    if method == "transform":
        return affine(
            centred / exact_constants(x, estimator._x_std)[0], estimator.x_rotations_.T, 0.0
        )
    if method != "predict":
        raise unsupported(estimator, method)
    y = affine(centred, estimator.coef_, estimator.intercept_)
    return as_vector(y) if estimator._predict_1d else y


@converter_for(PLSSVD)
def _pls_svd(estimator, x, method):
    if method != "transform":
        raise unsupported(estimator, method)
    centre, scale = exact_constants(x, estimator._x_mean, estimator._x_std)
    return affine((x - centre) / scale, estimator.x_weights_.T, 0.0)


@converter_for(LinearSVC, PassiveAggressiveClassifier, Perceptron)
def _decision_classifier(estimator, x, method):
    decision = _scores(estimator, x)
    return _from_decision(estimator, decision, method, proba=None)


@converter_for(RidgeClassifier, RidgeClassifierCV)
def _ridge_classifier(estimator, x, method):
    decision = _scores(estimator, x)
    if method == "label" and estimator._label_binarizer.y_type_.startswith("multilabel"):
        return ops.cast(ops.greater(decision, constant(0, x)), "int64")
    return _from_decision(estimator, decision, method, proba=None)


@converter_for(LogisticRegression, LogisticRegressionCV)
def _softmax_classifier(estimator, x, method):
    decision = _scores(estimator, x)
    return _from_decision(estimator, decision, method, proba=_softmax)


@converter_for(SGDClassifier)
def _sgd_classifier(estimator, x, method):
    decision = _scores(estimator, x)
    proba = {"log_loss": _one_vs_rest, "modified_huber": _clipped}.get(estimator.loss)
    return _from_decision(estimator, decision, method, proba)


def _from_decision(estimator, decision, method: str, proba):
    if method == "decision_function":
        return as_vector(decision) if decision.shape[1] == 1 else decision
    if method == "label":
        return is_positive(decision) if decision.shape[1] == 1 else first_largest(decision)
    if method == "predict_proba" and proba is not None:
        return proba(decision)
    raise unsupported(estimator, method)


def _softmax(decision):
    if decision.shape[1] == 1:
        return two_columns(sigmoid(decision))
    return ops.softmax(decision)


def _clipped(decision):
    """Return the shares of the decisions, clipped to [-1, 1]."""
    one = constant(1, decision)
    return _of_classes((ops.minimum(ops.maximum(decision, -one), one) + one) / (one + one))


def _one_vs_rest(decision):
    """Return the shares of the probabilities of each class against all others."""
    return _of_classes(sigmoid(decision))


def _of_classes(positive):
    return two_columns(positive) if positive.shape[1] == 1 else divided_by_sum(positive)
