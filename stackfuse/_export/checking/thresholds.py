"""Find the estimators inside a fitted estimator, and the thresholds at which they jump."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from stackfuse._export.graph.convert import edges_within

#: The most estimators of a list that are visited, evenly spread over it.
_MAX_VISITED = 60

#: TensorFlow may treat smaller numbers as zero.
SMALLEST = 1e-30


def parts_of(estimator) -> Iterator[Any]:
    """Yield a fitted estimator and all estimators inside it, each once.

    Of a long list only some are visited.
    """
    seen: set[int] = set()
    waiting: list[Any] = [estimator]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, BaseEstimator):
            yield part
            waiting += vars(part).values()
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, np.ndarray) and part.dtype == object:
            waiting += _spread_over(part.ravel().tolist())
        elif isinstance(part, list | tuple) and not isinstance(part[:1], str):
            waiting += _spread_over(part)


def _spread_over(things: Any) -> list[Any]:
    places = np.unique(np.linspace(0, len(things) - 1, min(len(things), _MAX_VISITED)).astype(int))
    return [things[k] for k in places]


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
