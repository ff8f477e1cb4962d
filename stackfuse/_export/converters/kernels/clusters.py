"""Clusters: the distances to their centres, and the nearest."""

import numpy as np
from sklearn.cluster import Birch, BisectingKMeans, KMeans, MiniBatchKMeans

from stackfuse._export.converters.shared.pairwise import (
    kept_rows,
    squared_distances,
)
from stackfuse._export.graph.arithmetic import (
    as_column,
    first_largest,
    table,
)
from stackfuse._export.graph.convert import (
    convert_type,
    unsupported,
)


@convert_type(KMeans, MiniBatchKMeans, Birch, BisectingKMeans)
def _clusters(estimator, x, method):
    from keras import ops

    if method not in ("transform", "predict"):
        raise unsupported(estimator, method)
    if method == "predict" and isinstance(estimator, BisectingKMeans):
        shift = getattr(estimator, "_X_mean", 0.0)
        label = as_column(_label_below(x, estimator._bisecting_tree, shift))
        return ops.cast(label, x.dtype)
    is_birch = isinstance(estimator, Birch)
    centers = estimator.subcluster_centers_ if is_birch else estimator.cluster_centers_
    squares = squared_distances(x, kept_rows(estimator, centers))
    if method == "transform":
        return ops.sqrt(squares)
    nearest = first_largest(-squares)
    if not is_birch:
        return ops.cast(nearest, x.dtype)
    labels = np.asarray(estimator.subcluster_labels_, np.float64)[:, None]
    return as_column(table(labels, x.dtype)(ops.cast(nearest, "int32")))


def _label_below(x, node, shift):
    """Return the label of the leaf that each row comes to from a node, shape (batch, 1)."""
    from keras import ops

    if node.left is None:
        return ops.cast(ops.zeros_like(x[:, :1]), "int32") + np.array([node.label], np.int32)
    centers = np.vstack([node.left.center, node.right.center]) + shift
    squares = squared_distances(x, centers)
    goes_right = ops.less(squares[:, 1:], squares[:, :1])
    right, left = _label_below(x, node.right, shift), _label_below(x, node.left, shift)
    return ops.where(goes_right, right, left)
