"""Features whose products approximate kernels: by some rows, random frequencies or sketches."""

from typing import Any

import numpy as np
from keras import ops
from sklearn.decomposition import KernelPCA
from sklearn.kernel_approximation import (
    AdditiveChi2Sampler,
    Nystroem,
    PolynomialCountSketch,
    RBFSampler,
    SkewedChi2Sampler,
)
from sklearn.preprocessing import KernelCenterer

from stackfuse._export.converters.shared.functions import cosine, sine
from stackfuse._export.converters.shared.pairwise import (
    kept_rows,
    pairwise_kernel,
)
from stackfuse._export.graph.arithmetic import (
    affine,
    constant,
    exact_constants,
)
from stackfuse._export.graph.convert import (
    convert,
    convert_transformer,
)
from stackfuse._export.graph.masks import refuse_rows


@convert_transformer(KernelCenterer)
def _centerer(estimator, x):
    means = np.asarray(estimator.K_fit_rows_, np.float64)
    of_rows, of_all = exact_constants(x, means, np.full(len(means), estimator.K_fit_all_))
    return x - of_rows - ops.mean(x, axis=1, keepdims=True) + of_all


@convert_transformer(KernelPCA)
def _kernel_pca(estimator, x):
    kernel = x
    if estimator.kernel != "precomputed":
        rows = kept_rows(estimator, estimator.X_fit_)
        gamma, degree, coef0 = estimator.gamma_, estimator.degree, estimator.coef0
        kernel = pairwise_kernel(estimator, estimator.kernel, x, rows, gamma, degree, coef0)
    values = np.asarray(estimator.eigenvalues_, np.float64)
    scale = np.where(values == 0, 0.0, 1 / np.sqrt(np.where(values == 0, 1.0, values)))
    centered = convert(estimator._centerer, kernel, "transform")
    return affine(centered, (estimator.eigenvectors_ * scale).T, 0.0)


@convert_transformer(Nystroem)
def _nystroem(estimator, x):
    rows = kept_rows(estimator, estimator.components_)
    settings = dict(estimator.kernel_params or {})
    for name in ("gamma", "degree", "coef0"):
        if getattr(estimator, name) is not None:
            settings[name] = getattr(estimator, name)
    settings = {k: v for k, v in settings.items() if k in ("gamma", "degree", "coef0")}
    kernel = pairwise_kernel(estimator, estimator.kernel, x, rows, **settings)
    return affine(kernel, estimator.normalization_, 0.0)


@convert_transformer(RBFSampler)
def _rbf_sampler(estimator, x):
    return _waves(estimator, x)


@convert_transformer(SkewedChi2Sampler)
def _skewed_chi2_sampler(estimator, x):
    refuse_rows(ops.less_equal(x, constant(-estimator.skewedness, x)))
    return _waves(estimator, ops.log(x + constant(estimator.skewedness, x)))


def _waves(estimator, x):
    phase = affine(x, estimator.random_weights_.T, estimator.random_offset_)
    return cosine(phase) * constant(np.sqrt(2.0 / estimator.n_components), x)


@convert_transformer(AdditiveChi2Sampler)
def _additive_chi2_sampler(estimator, x):
    """Vedaldi and Zisserman, Efficient additive kernels via explicit feature maps, 2012, eq. 13."""
    step = estimator.sample_interval
    if step is None:
        step = {1: 0.8, 2: 0.5, 3: 0.4}[estimator.sample_steps]
    zero = constant(0, x)
    refuse_rows(ops.less(x, zero))
    is_zero = ops.equal(x, zero)
    number = ops.where(is_zero, constant(1, x), x)
    blocks = [ops.sqrt(number * constant(step, x))]
    logs = ops.log(number) * constant(step, x)
    for j in range(1, estimator.sample_steps):
        size = ops.sqrt(number * constant(2 * step / np.cosh(np.pi * j * step), x))
        angle = logs * constant(j, x)
        blocks += [size * cosine(angle), size * sine(angle)]
    return ops.concatenate([ops.where(is_zero, zero, block) for block in blocks], axis=1)


@convert_transformer(PolynomialCountSketch)
def _count_sketch(estimator, x):
    """Products in the frequency domain, as in scikit-learn; the transforms are matrices here.

    A sketch is linear in x, and so is its spectrum: one matrix gives it.
    """
    n = estimator.n_components
    places = np.arange(n)
    angles = 2 * np.pi / n * (np.outer(places, places) % n)  # whole turns left out: exact angles
    cos, sin = np.cos(angles), np.sin(angles)
    product: Any = None
    for places_of_features, signs in zip(estimator.indexHash_, estimator.bitHash_, strict=True):
        sketch = np.zeros((len(signs), n))
        sketch[np.arange(len(signs)), places_of_features] = signs
        weights = np.full(len(signs), np.sqrt(estimator.gamma))
        bias = np.zeros(n)
        if estimator.coef0 != 0:
            bias = np.sqrt(estimator.coef0) * sketch[-1]
            weights, sketch = weights[:-1], sketch[:-1]
        sketch = sketch * weights[:, None]
        real = affine(x, (sketch @ cos).T, bias @ cos)
        imaginary = affine(x, -(sketch @ sin).T, -(bias @ sin))
        if product is not None:
            real, imaginary = (
                real * product[0] - imaginary * product[1],
                real * product[1] + imaginary * product[0],
            )
        product = real, imaginary
    real, imaginary = product
    return affine(real, cos / n, 0.0) - affine(imaginary, sin / n, 0.0)
