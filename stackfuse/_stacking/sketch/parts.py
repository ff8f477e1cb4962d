"""The estimators inside a fitted estimator."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

#: The most estimators of a list that are visited, evenly spread over it.
_MAX_VISITED = 60


def parts_of(estimator) -> Iterator[Any]:
    """Yield a fitted estimator and all estimators inside it, each once.

    Only some members of a long list are visited.
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
    if len(things) <= _MAX_VISITED:
        return list(things)
    places = np.unique(np.linspace(0, len(things) - 1, _MAX_VISITED).astype(int))
    return [things[k] for k in places]
