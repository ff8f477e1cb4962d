"""Kernel machines: kernels of x with the rows that were kept, then a matrix product."""

from itertools import combinations

import numpy as np
from keras import ops
from scipy.sparse import issparse
from sklearn.kernel_ridge import KernelRidge
from sklearn.semi_supervised import LabelPropagation, LabelSpreading
from sklearn.svm import SVC, SVR, NuSVC, NuSVR

from stackfuse._core import NotConvertible
from stackfuse._export.converters.kernels.neighbors import sum_over_nearest
from stackfuse._export.converters.shared.pairwise import (
    kept_rows,
    pairwise_kernel,
)
from stackfuse._export.graph.arithmetic import (
    affine,
    as_vector,
    constant,
    first_largest,
    refuse_lost,
)
from stackfuse._export.graph.convert import (
    converter_for,
    once,
    unsupported,
)


@converter_for(KernelRidge)
def _kernel_ridge(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    rows = kept_rows(estimator, estimator.X_fit_)
    settings = {name: getattr(estimator, name) for name in ("gamma", "degree", "coef0")}
    kernel = pairwise_kernel(estimator, estimator.kernel, x, rows, **settings)
    y = affine(kernel, estimator.dual_coef_.T, 0.0)
    return as_vector(y) if estimator.dual_coef_.ndim == 1 else y


@converter_for(SVR, NuSVR)
def _svr(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    dual = _as_array(estimator._dual_coef_)
    return as_vector(affine(_support_kernel(estimator, x), dual, estimator._intercept_))


@converter_for(SVC, NuSVC)
def _svc(estimator, x, method):
    if method not in ("decision_function", "label"):
        raise NotConvertible(
            f"{type(estimator).__name__}.predict_proba repeats an approximation until it is good "
            "enough, which no graph does exactly. Wrap it in CalibratedClassifierCV instead of "
            "setting probability=True."
        )
    pairs = _pairwise_decisions(estimator, x)
    n_classes = len(estimator.classes_)
    if n_classes == 2:
        return _second_class_wins(pairs) if method == "label" else as_vector(-pairs)
    as_one_vs_rest = estimator.decision_function_shape == "ovr"
    if method == "decision_function":
        return _one_vs_rest(pairs, n_classes) if as_one_vs_rest else pairs
    if not estimator.break_ties:
        return first_largest(_votes(pairs, n_classes))
    if as_one_vs_rest:
        return first_largest(_one_vs_rest(pairs, n_classes))
    raise NotConvertible(
        "SVC with break_ties=True cannot predict with decision_function_shape='ovo': use "
        "decision_function_shape='ovr'."
    )


def _second_class_wins(decision):
    return ops.cast(as_vector(ops.less_equal(decision, constant(0, decision))), "int64")


def _support_kernel(estimator, x):
    rows = kept_rows(estimator, estimator.support_vectors_)
    gamma, degree, coef0 = estimator._gamma, estimator.degree, estimator.coef0
    return pairwise_kernel(estimator, estimator.kernel, x, rows, gamma, degree, coef0)


def _as_array(values) -> np.ndarray:
    return values.toarray() if issparse(values) else np.asarray(values)


@once
def _pairwise_decisions(estimator, x):
    """Return libsvm's decision of each pair of classes: above 0 the first of the two wins.

    The coefficients of a pair are those of the support vectors of its two classes, each in the
    row that belongs to the other class, which is not counted among its own.
    """
    dual = _as_array(estimator._dual_coef_)
    owner = np.repeat(np.arange(len(estimator.classes_)), estimator._n_support)
    coef = [
        np.where(owner == i, dual[j - 1], 0.0) + np.where(owner == j, dual[i], 0.0)
        for i, j in combinations(range(len(estimator.classes_)), 2)
    ]
    pairs = affine(_support_kernel(estimator, x), np.array(coef), estimator._intercept_)
    refuse_lost(pairs)
    return pairs


def _votes(pairs, n_classes: int):
    """Return how many pairs each class wins, shape (batch, n_classes); above 0 the first wins."""
    wins = ops.cast(ops.greater(pairs, constant(0, pairs)), pairs.dtype)
    first, second = _class_indicators(n_classes, pairs.dtype)
    return ops.matmul(wins, first) + ops.matmul(1 - wins, second)


def one_vs_rest_scores(second_wins, confidence, n_classes: int):
    """Return the votes for each class, ties broken by the confidences, as scikit-learn does.

    Parameters
    ----------
    second_wins : KerasTensor of shape (batch, n_classes * (n_classes - 1) / 2)
        1 where the second class of a pair is predicted, else 0.
    confidence : KerasTensor of the same shape
        In the second class of a pair.
    n_classes : int

    Returns
    -------
    scores : KerasTensor of shape (batch, n_classes)
    """
    first, second = _class_indicators(n_classes, confidence.dtype)
    votes = ops.matmul(1 - second_wins, first) + ops.matmul(second_wins, second)
    total = ops.matmul(confidence, second - first)
    return votes + total / (3 * (ops.abs(total) + 1))


def _one_vs_rest(pairs, n_classes: int):
    defeats = ops.cast(ops.less(pairs, constant(0, pairs)), pairs.dtype)
    return one_vs_rest_scores(defeats, -pairs, n_classes)


def _class_indicators(n_classes: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which class is the first and which the second of each pair, as 0/1 matrices."""
    first, second = np.array(list(combinations(range(n_classes), 2))).T
    return np.eye(n_classes, dtype=dtype)[first], np.eye(n_classes, dtype=dtype)[second]


@converter_for(LabelPropagation, LabelSpreading)
def _label_propagation(estimator, x, method):
    rows = kept_rows(estimator, estimator.X_)
    if estimator.kernel == "knn":
        shares = sum_over_nearest(estimator.nn_fit, x, estimator.label_distributions_).total
    else:
        if x.dtype == "float32":
            raise NotConvertible(
                f"Far from its training rows, the kernel of {type(estimator).__name__} is too "
                "small for float32: use precision='float64', in a .keras file, a SavedModel or "
                "ONNX, or kernel='knn'."
            )
        kernel = pairwise_kernel(estimator, estimator.kernel, x, rows, estimator.gamma)
        shares = affine(kernel, estimator.label_distributions_.T, 0.0)
    total = ops.sum(shares, axis=1, keepdims=True)
    if method == "predict_proba":
        return shares / total  # far from all rows NaN, as in scikit-learn
    if method != "label":
        raise unsupported(estimator, method)
    none = ops.equal(total, constant(0, x))
    return first_largest(shares / ops.where(none, constant(1, x), total))
