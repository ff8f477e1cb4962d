"""Find the thresholds at which the estimators inside a fitted estimator jump."""

import numpy as np

from stackfuse._export.graph.convert import edges_within
from stackfuse._stacking import parts_of

#: TensorFlow may treat smaller numbers as zero.
SMALLEST = 1e-30


def edges_of(estimator, n_features: int) -> np.ndarray:
    """Return the thresholds at which the estimators inside an estimator split the columns of X.

    Each registers its own: see :func:`stackfuse.converter_for`.

    Parameters
    ----------
    estimator : fitted estimator
    n_features : int
        Number of columns of X. Parts with another number do not see X itself.

    Returns
    -------
    edges : ndarray of shape (n_edges, 2)
        Pairs of a column's number and a threshold, sorted, each once. Parts that see X scaled are
        among them: their thresholds do no harm.
    """
    found = [np.empty((0, 2))]
    for part in parts_of(estimator):
        if getattr(part, "n_features_in_", None) == n_features:
            found.append(edges_within(part))
    edges = np.unique(np.vstack(found), axis=0)
    threshold = edges[:, 1]
    return edges[np.isfinite(threshold) & ~((threshold != 0) & (np.abs(threshold) < SMALLEST))]
