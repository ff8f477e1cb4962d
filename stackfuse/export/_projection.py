"""Projections: a matrix product, and what stands around it."""

import numpy as np
from sklearn.decomposition import PCA, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from stackfuse.export._arithmetic import affine, held
from stackfuse.export._convert import convert_type, unsupported


@convert_type(PCA, IncrementalPCA)
def _pca(estimator, x, method):
    if method != "transform":
        raise unsupported(estimator, method)
    components = np.asarray(estimator.components_, np.float64)
    y = affine(x, components, 0.0) - held(x, np.ravel(estimator.mean_ @ components.T))[0]
    if not estimator.whiten:
        return y
    scale = np.sqrt(estimator.explained_variance_)
    return y / held(y, np.maximum(scale, np.finfo(scale.dtype).eps))[0]


@convert_type(TruncatedSVD, GaussianRandomProjection, SparseRandomProjection)
def _projected(estimator, x, method):
    if method != "transform":
        raise unsupported(estimator, method)
    components = estimator.components_
    return affine(x, components.toarray() if hasattr(components, "toarray") else components, 0.0)


@convert_type(FastICA)
def _ica(estimator, x, method):
    if method != "transform":
        raise unsupported(estimator, method)
    if estimator.whiten:
        x = x - held(x, estimator.mean_)[0]
    return affine(x, estimator.components_, 0.0)
