"""Gaussian processes: the kernel with the training rows, and its matrix products."""

from collections.abc import Callable

import numpy as np
from keras import ops
from scipy.linalg import solve_triangular
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor, kernels
from sklearn.multiclass import OneVsOneClassifier

from stackfuse._core import NotConvertible, sklearn_private
from stackfuse._export.converters.shared.functions import erf, sine
from stackfuse._export.converters.shared.pairwise import (
    kept_rows,
    pairwise_kernel,
    squared_distances,
)
from stackfuse._export.graph.arithmetic import (
    affine,
    as_vector,
    constant,
    exact_constants,
    first_largest,
    is_positive,
    two_columns,
)
from stackfuse._export.graph.convert import (
    converter_for,
    once,
    unsupported,
)


def _kernel(kernel, x, rows: np.ndarray):
    """Return a kernel between x and rows, shape (batch, n_rows) or one that broadcasts to it."""
    converter = _KERNELS.get(type(kernel))
    if converter is None:
        raise NotConvertible(
            f"The kernel {kernel} cannot be converted to a Keras graph. Use the kernels of "
            "sklearn.gaussian_process.kernels."
        )
    return converter(kernel, x, rows)


def _constant(kernel, x, rows):
    return constant(np.full((1, len(rows)), kernel.constant_value), x)


def _white(kernel, x, rows):
    return constant(np.zeros((1, len(rows))), x)  # noise of new rows is their own


def _sum(kernel, x, rows):
    return _combine(kernel, x, rows, lambda a, b: a + b)


def _product(kernel, x, rows):
    return _combine(kernel, x, rows, lambda a, b: a * b)


def _combine(kernel, x, rows, combine: Callable):
    first, second = _kernel(kernel.k1, x, rows), _kernel(kernel.k2, x, rows)
    if isinstance(first, np.ndarray):  # Keras wants its own tensor on the left
        first, second = second, first
    return combine(first, second)


def _power(kernel, x, rows):
    inner = _kernel(kernel.kernel, x, rows)
    if isinstance(inner, np.ndarray):
        return inner**kernel.exponent
    return ops.power(inner, constant(kernel.exponent, x))


def _scaled_squares(kernel, x, rows):
    scale = np.broadcast_to(kernel.length_scale, rows.shape[1:])
    return squared_distances(x / exact_constants(x, scale)[0], rows / scale)


def _rbf(kernel, x, rows):
    return ops.exp(_scaled_squares(kernel, x, rows) * constant(-0.5, x))


def _matern(kernel, x, rows):
    if kernel.nu == np.inf:
        return _rbf(kernel, x, rows)
    if kernel.nu not in (0.5, 1.5, 2.5):
        raise NotConvertible(
            f"Matern with nu={kernel.nu} is a Bessel function, which Keras cannot compute: use "
            "0.5, 1.5, 2.5 or inf."
        )
    distance = ops.sqrt(_scaled_squares(kernel, x, rows)) * constant(np.sqrt(2 * kernel.nu), x)
    decay = ops.exp(-distance)
    if kernel.nu == 0.5:
        return decay
    if kernel.nu == 1.5:
        return (1 + distance) * decay
    return (1 + distance + ops.square(distance) / constant(3, x)) * decay


def _rational_quadratic(kernel, x, rows):
    scale = 2 * kernel.alpha * kernel.length_scale**2
    base = 1 + squared_distances(x, rows) / constant(scale, x)
    return ops.power(base, constant(-kernel.alpha, x))


def _periodic(kernel, x, rows):
    distance = ops.sqrt(squared_distances(x, rows))
    wave = sine(distance * constant(np.pi / kernel.periodicity, x))
    return ops.exp(ops.square(wave / constant(kernel.length_scale, x)) * constant(-2, x))


def _dot_product(kernel, x, rows):
    return affine(x, rows, kernel.sigma_0**2)


def _pairwise(kernel, x, rows):
    settings = kernel.pairwise_kernels_kwargs or {}
    settings = {"gamma": kernel.gamma} | settings
    unknown = set(settings) - {"gamma", "degree", "coef0"}
    if unknown:
        raise NotConvertible(
            f"PairwiseKernel with {sorted(unknown)} cannot be converted to a "
            "Keras graph. Leave it out."
        )
    return pairwise_kernel(kernel, kernel.metric, x, rows, **settings)


#: By the very class: a subclass may compute anything.
_KERNELS: dict[type, Callable] = {
    kernels.ConstantKernel: _constant,
    kernels.WhiteKernel: _white,
    kernels.Sum: _sum,
    kernels.Product: _product,
    kernels.Exponentiation: _power,
    kernels.RBF: _rbf,
    kernels.Matern: _matern,
    kernels.RationalQuadratic: _rational_quadratic,
    kernels.ExpSineSquared: _periodic,
    kernels.DotProduct: _dot_product,
    kernels.PairwiseKernel: _pairwise,
}


def _diagonal(kernel, x):
    """Return the kernel of each row with itself, shape (batch, 1)."""
    if isinstance(kernel, kernels.Sum):
        return _diagonal(kernel.k1, x) + _diagonal(kernel.k2, x)
    if isinstance(kernel, kernels.Product):
        return _diagonal(kernel.k1, x) * _diagonal(kernel.k2, x)
    if isinstance(kernel, kernels.Exponentiation):
        return ops.power(_diagonal(kernel.kernel, x), constant(kernel.exponent, x))
    if isinstance(kernel, kernels.DotProduct):
        squares = ops.sum(ops.square(x), axis=1, keepdims=True)
        return squares + constant(kernel.sigma_0**2, x)
    if isinstance(kernel, kernels.PairwiseKernel) and kernel.metric not in ("rbf", "laplacian"):
        raise NotConvertible(
            f"Probabilities of a Gaussian process with the kernel {kernel} cannot be converted to "
            "a Keras graph. Use the metric 'rbf' or 'laplacian'."
        )
    # All others are functions of the distance, which is 0.
    value = kernel.diag(np.zeros((1, x.shape[1])))
    return ops.zeros_like(x[:, :1]) + constant(value, x)


@converter_for(GaussianProcessRegressor)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    kernel = _full_kernel(estimator, x)
    alpha = estimator.alpha_.reshape(kernel.shape[1], -1)
    y = affine(kernel, alpha.T, 0.0)
    scale = np.broadcast_to(estimator._y_train_std, alpha.shape[1:])
    mean = np.broadcast_to(estimator._y_train_mean, alpha.shape[1:])
    scale, mean = exact_constants(x, scale, mean)
    y = scale * y + mean
    return as_vector(y) if alpha.shape[1] == 1 else y


@once
def _full_kernel(estimator, x):
    """Return the kernel of x with the training rows, of its full shape."""
    rows = kept_rows(estimator, estimator.X_train_)
    kernel = _kernel(estimator.kernel_, x, rows)
    if isinstance(kernel, np.ndarray):
        kernel = ops.zeros_like(x[:, :1]) + kernel
    return kernel


@once
def _binary_process(estimator, x, method):
    kernel = _full_kernel(estimator, x)
    mean = affine(kernel, estimator.y_train_ - estimator.pi_, 0.0)
    if method == "label":
        return is_positive(mean)
    if method != "predict_proba":
        raise unsupported(estimator, method)
    solved = solve_triangular(estimator.L_, np.diag(estimator.W_sr_), lower=True)
    explained = ops.sum(ops.square(affine(kernel, solved, 0.0)), axis=1, keepdims=True)
    variance = _diagonal(estimator.kernel_, x) - explained
    # The integral of the logistic function as a sum of five error functions
    # (Williams & Barber, Bayesian classification with Gaussian processes, 1998, appendix A).
    alpha = 1 / (2 * variance)
    slopes, shares = exact_constants(
        x, sklearn_private.LAMBDAS.ravel(), sklearn_private.COEFS.ravel()
    )
    bent = erf(slopes * mean * ops.sqrt(alpha / (alpha + ops.square(slopes))))
    integrals = ops.sqrt(np.pi / alpha) * bent / (2 * ops.sqrt(variance * (2 * np.pi)))
    half = constant(0.5 * sklearn_private.COEFS.sum(), x)
    return two_columns(ops.sum(shares * integrals, axis=1, keepdims=True) + half)


@converter_for(GaussianProcessClassifier)
def _classifier(estimator, x, method):
    base = estimator.base_estimator_
    if estimator.n_classes_ == 2:
        return _binary_process(base, x, method)
    if isinstance(base, OneVsOneClassifier):
        raise NotConvertible(
            "GaussianProcessClassifier with multi_class='one_vs_one' has no probabilities for "
            "more than two classes. Use multi_class='one_vs_rest'."
        )
    return _one_vs_rest(estimator, x, method)


def _one_vs_rest(estimator, x, method):
    parts = [
        _binary_process(e, x, "predict_proba")[:, 1:] for e in estimator.base_estimator_.estimators_
    ]
    positive = ops.concatenate(parts, axis=1)
    if method == "label":
        return first_largest(positive)
    if method != "predict_proba":
        raise unsupported(estimator, method)
    return positive / ops.sum(positive, axis=1, keepdims=True)
