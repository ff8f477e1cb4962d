"""Projections, which are matrix products, and codes by a dictionary."""

import numpy as np
from keras import ops
from sklearn.cluster import FeatureAgglomeration
from sklearn.decomposition import (
    PCA,
    DictionaryLearning,
    FactorAnalysis,
    FastICA,
    IncrementalPCA,
    MiniBatchDictionaryLearning,
    MiniBatchSparsePCA,
    SparseCoder,
    SparsePCA,
    TruncatedSVD,
)
from sklearn.linear_model import ridge_regression
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.neural_network import BernoulliRBM
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from stackfuse._core import NotConvertible
from stackfuse._export.graph.arithmetic import (
    affine,
    constant,
    exact_constants,
    sigmoid,
)
from stackfuse._export.graph.convert import convert_transformer


@convert_transformer(PCA, IncrementalPCA)
def _pca(estimator, x):
    components = np.asarray(estimator.components_, np.float64)
    y = affine(x, components, 0.0) - exact_constants(x, np.ravel(estimator.mean_ @ components.T))[0]
    if not estimator.whiten:
        return y
    scale = np.sqrt(estimator.explained_variance_)
    return y / exact_constants(y, np.maximum(scale, np.finfo(scale.dtype).eps))[0]


@convert_transformer(
    TruncatedSVD,
    GaussianRandomProjection,
    SparseRandomProjection,
    NeighborhoodComponentsAnalysis,
)
def _projected(estimator, x):
    components = estimator.components_
    return affine(x, components.toarray() if hasattr(components, "toarray") else components, 0.0)


@convert_transformer(FastICA)
def _ica(estimator, x):
    if estimator.whiten:
        x = x - exact_constants(x, estimator.mean_)[0]
    return affine(x, estimator.components_, 0.0)


@convert_transformer(FactorAnalysis)
def _factors(estimator, x):
    components = np.asarray(estimator.components_, np.float64)
    weighted = components / estimator.noise_variance_
    precision = np.eye(len(components)) + weighted @ components.T
    return affine(
        x - exact_constants(x, estimator.mean_)[0], np.linalg.solve(precision.T, weighted), 0.0
    )


@convert_transformer(SparsePCA, MiniBatchSparsePCA)
def _sparse_pca(estimator, x):
    # A ridge regression for each row is linear in the row: each feature's own gives the matrix.
    components, unit = np.asarray(estimator.components_, np.float64), np.eye(x.shape[1])
    matrix = ridge_regression(components.T, unit, estimator.ridge_alpha, solver="cholesky")
    matrix = matrix.reshape(unit.shape[0], -1)  # of one feature it has one axis
    return affine(x - exact_constants(x, estimator.mean_)[0], matrix.T, 0.0)


@convert_transformer(BernoulliRBM)
def _boltzmann(estimator, x):
    return sigmoid(affine(x, estimator.components_, estimator.intercept_hidden_))


@convert_transformer(FeatureAgglomeration)
def _agglomerated(estimator, x):
    labels = np.asarray(estimator.labels_)
    members = (labels == np.unique(labels)[:, None]).astype(np.float64)
    pool = estimator.pooling_func
    if pool is np.mean:
        return affine(x, members, 0.0) / exact_constants(x, members.sum(axis=1))[0]
    if pool is np.sum:
        return affine(x, members, 0.0)
    reduce = ops.max if pool is np.max else ops.min if pool is np.min else None
    if reduce is None:
        raise NotConvertible(
            f"FeatureAgglomeration(pooling_func={pool!r}) cannot be converted to a Keras graph: "
            "use numpy's mean, sum, max or min."
        )
    groups = [ops.take(x, np.flatnonzero(row).tolist(), axis=1) for row in members]
    return ops.concatenate([reduce(group, axis=1, keepdims=True) for group in groups], axis=1)


# Codes by a dictionary, if they need no optimisation.


@convert_transformer(DictionaryLearning, MiniBatchDictionaryLearning, SparseCoder)
def _coded(estimator, x):
    if estimator.transform_algorithm != "threshold":
        raise NotConvertible(
            f"{type(estimator).__name__} solves an optimisation for each row, which no graph does "
            "exactly: use transform_algorithm='threshold'."
        )
    alpha = estimator.transform_alpha
    alpha = getattr(estimator, "alpha", None) if alpha is None else alpha
    alpha = 1.0 if alpha is None else alpha
    is_coder = isinstance(estimator, SparseCoder)
    product = affine(x, estimator.dictionary if is_coder else estimator.components_, 0.0)
    zero = constant(0, x)
    above = ops.maximum(product - constant(alpha, x), zero)
    below = ops.maximum(-product - constant(alpha, x), zero)
    if estimator.positive_code:
        below = ops.zeros_like(below)
    return ops.concatenate([above, below], axis=1) if estimator.split_sign else above - below
