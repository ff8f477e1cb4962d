"""Find the thresholds at which the estimators inside a fitted estimator jump."""

import numpy as np

from stackfuse._export.graph.convert import edges_within
from stackfuse._stacking import parts_of

#: TensorFlow may treat smaller numbers as zero.
SMALLEST = 1e-30


def edges_of(estimator, widths: tuple[int, ...]) -> np.ndarray:
    """Return the thresholds at which the estimators inside an estimator split the columns of X.

    Each registers its own: see :func:`stackfuse.converter_for`.

    Parameters
    ----------
    estimator : fitted estimator
    widths : tuple of int
        The number of columns of X, or of each input of a MultiInput. Parts with another number of
        columns see neither X nor one input.

    Returns
    -------
    edges : ndarray of shape (n_edges, 2)
        Pairs of a column's number and a threshold, sorted, each once. Parts that see X scaled are
        among them: their thresholds do no harm.
    """
    found = [np.empty((0, 2))]
    starts = np.cumsum([0, *widths]).tolist()
    for part in parts_of(estimator):
        n_features = getattr(part, "n_features_in_", None)
        seen = [start for start, width in zip(starts, widths) if width == n_features]
        if n_features == sum(widths):
            seen.append(0)
        edges = edges_within(part) if seen else found[0]
        found += [edges + np.array([start, 0.0]) for start in {*seen}]
    edges = np.unique(np.vstack(found), axis=0)
    threshold = edges[:, 1]
    return edges[np.isfinite(threshold) & ~((threshold != 0) & (np.abs(threshold) < SMALLEST))]
