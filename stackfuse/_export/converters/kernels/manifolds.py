"""Embeddings of new rows by their nearest training rows, and the nearest clusters of rows."""

import numpy as np
from keras import ops
from sklearn.cluster import Birch, BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.manifold import Isomap, LocallyLinearEmbedding

from stackfuse._core import NotConvertible
from stackfuse._export.converters.kernels.neighbors import refuse_ties
from stackfuse._export.converters.shared.nearest import distances_of, nearest
from stackfuse._export.converters.shared.pairwise import (
    kept_rows,
    nearest_center,
    squared_distances,
)
from stackfuse._export.graph.arithmetic import (
    as_vector,
    constant,
    table,
)
from stackfuse._export.graph.convert import (
    convert,
    convert_transformer,
    converter_for,
    unsupported,
)


@convert_transformer(Isomap)
def _isomap(estimator, x):
    if estimator.n_neighbors is None:
        raise NotConvertible(
            "Isomap with a radius compares paths over all training rows, which no graph "
            "does. Set n_neighbors instead."
        )
    reduced, power, places = _nearest_rows(estimator, x, estimator.dist_matrix_)
    distances = reduced if power == 1 else ops.power(reduced, constant(1 / power, x))
    paths = table(np.asarray(estimator.dist_matrix_, np.float64), x.dtype)(places)
    shortest = ops.min(ops.expand_dims(distances, 2) + paths, axis=1)
    kernel = ops.square(shortest) * constant(-0.5, x)
    return convert(estimator.kernel_pca_, kernel, "transform")


@convert_transformer(LocallyLinearEmbedding)
def _locally_linear(estimator, x):
    embedding = np.asarray(estimator.embedding_, np.float64)
    _, _, places = _nearest_rows(estimator, x, embedding)
    rows = table(np.asarray(estimator.nbrs_._fit_X, np.float64), x.dtype)(places)
    differences = rows - ops.expand_dims(x, 1)
    gram = ops.matmul(differences, ops.transpose(differences, (0, 2, 1)))
    unit = np.eye(estimator.n_neighbors, dtype=x.dtype)
    trace = ops.sum(gram * unit, axis=(1, 2), keepdims=True)
    added = ops.where(ops.greater(trace, constant(0, x)), trace, constant(1, x))
    weights = _solved_for_ones(gram + added * constant(estimator.reg, x) * unit)
    weights = weights / ops.sum(weights, axis=1, keepdims=True)
    return ops.sum(weights * table(embedding, x.dtype)(places), axis=1)


def _solved_for_ones(matrices):
    """Return the solutions for right sides of ones, shape (batch, n, 1).

    By elimination without pivoting, which positive definite matrices do not need: a solver's
    operation raises an error for all rows where one row is NaN.
    """
    n = matrices.shape[1]
    system = ops.concatenate([matrices, ops.ones_like(matrices[:, :, :1])], axis=2)
    for k in range(n):
        pivot = system[:, k : k + 1] / system[:, k : k + 1, k : k + 1]
        is_pivot = np.arange(n)[:, None] == k
        system = ops.where(is_pivot, pivot, system - system[:, :, k : k + 1] * pivot)
    return system[:, :, n:]


def _nearest_rows(estimator, x, values: np.ndarray):
    """Return the reduced distances to the nearest training rows, their power, and their places."""
    neighbors = estimator.nbrs_
    distances = distances_of(neighbors, x)
    refuse_ties(neighbors, values)
    reduced, places = nearest(distances, estimator.n_neighbors)
    return reduced, distances.power, places


# Clusters: the distances to their centres, and the nearest.


@converter_for(KMeans, MiniBatchKMeans, Birch, BisectingKMeans)
def _clusters(estimator, x, method):
    if method not in ("transform", "predict"):
        raise unsupported(estimator, method)
    if method == "predict" and isinstance(estimator, BisectingKMeans):
        shift = getattr(estimator, "_X_mean", 0.0)
        label = as_vector(_leaf_label(x, estimator._bisecting_tree, shift))
        return ops.cast(label, x.dtype)
    is_birch = isinstance(estimator, Birch)
    centers = estimator.subcluster_centers_ if is_birch else estimator.cluster_centers_
    centers = kept_rows(estimator, centers)
    if method == "transform":
        return ops.sqrt(squared_distances(x, centers))
    nearest_one = nearest_center(x, centers, whole_squares=is_birch)
    if not is_birch:
        return ops.cast(nearest_one, x.dtype)
    labels = np.asarray(estimator.subcluster_labels_, np.float64)[:, None]
    return as_vector(table(labels, x.dtype)(ops.cast(nearest_one, "int32")))


def _leaf_label(x, node, shift):
    """Return the label of the leaf that each row comes to from a node, shape (batch, 1)."""
    if node.left is None:
        return ops.cast(ops.zeros_like(x[:, :1]), "int32") + np.array([node.label], np.int32)
    centers = np.vstack([node.left.center, node.right.center]) + shift
    goes_right = ops.equal(nearest_center(x, centers, whole_squares=False), np.ones(1, np.int64))
    goes_right = ops.expand_dims(goes_right, 1)
    right, left = _leaf_label(x, node.right, shift), _leaf_label(x, node.left, shift)
    return ops.where(goes_right, right, left)
