"""Projections: a matrix product, and what stands around it."""

import numpy as np
from sklearn.cluster import FeatureAgglomeration
from sklearn.decomposition import (
    PCA,
    FactorAnalysis,
    FastICA,
    IncrementalPCA,
    MiniBatchSparsePCA,
    SparsePCA,
    TruncatedSVD,
)
from sklearn.linear_model import ridge_regression
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.neural_network import BernoulliRBM
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from stackfuse._core.errors import NotConvertible
from stackfuse._export.graph.arithmetic import (
    affine,
    held,
)
from stackfuse._export.graph.convert import convert_transformer


@convert_transformer(PCA, IncrementalPCA)
def _pca(estimator, x):
    components = np.asarray(estimator.components_, np.float64)
    y = affine(x, components, 0.0) - held(x, np.ravel(estimator.mean_ @ components.T))[0]
    if not estimator.whiten:
        return y
    scale = np.sqrt(estimator.explained_variance_)
    return y / held(y, np.maximum(scale, np.finfo(scale.dtype).eps))[0]


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
        x = x - held(x, estimator.mean_)[0]
    return affine(x, estimator.components_, 0.0)


@convert_transformer(FactorAnalysis)
def _factors(estimator, x):
    components = np.asarray(estimator.components_, np.float64)
    weighted = components / estimator.noise_variance_
    precision = np.eye(len(components)) + weighted @ components.T
    return affine(x - held(x, estimator.mean_)[0], np.linalg.solve(precision.T, weighted), 0.0)


@convert_transformer(SparsePCA, MiniBatchSparsePCA)
def _sparse_pca(estimator, x):
    # A ridge regression for each row is linear in the row: each feature's own gives the matrix.
    components, unit = np.asarray(estimator.components_, np.float64), np.eye(x.shape[1])
    matrix = ridge_regression(components.T, unit, estimator.ridge_alpha, solver="cholesky")
    matrix = matrix.reshape(unit.shape[0], -1)  # of one feature it has one axis
    return affine(x - held(x, estimator.mean_)[0], matrix.T, 0.0)


@convert_transformer(BernoulliRBM)
def _boltzmann(estimator, x):
    from keras import ops

    return ops.sigmoid(affine(x, estimator.components_, estimator.intercept_hidden_))


@convert_transformer(FeatureAgglomeration)
def _agglomerated(estimator, x):
    from keras import ops

    labels = np.asarray(estimator.labels_)
    members = (labels == np.unique(labels)[:, None]).astype(np.float64)
    pool = estimator.pooling_func
    if pool is np.mean:
        return affine(x, members, 0.0) / held(x, members.sum(axis=1))[0]
    if pool is np.sum:
        return affine(x, members, 0.0)
    reduce = ops.max if pool is np.max else ops.min if pool is np.min else None
    if reduce is None:
        raise NotConvertible(
            f"FeatureAgglomeration(pooling_func={pool!r}) has no counterpart in the graph: use "
            "numpy's mean, sum, max or min."
        )
    groups = [ops.take(x, np.flatnonzero(row).tolist(), axis=1) for row in members]
    return ops.concatenate([reduce(group, axis=1, keepdims=True) for group in groups], axis=1)
