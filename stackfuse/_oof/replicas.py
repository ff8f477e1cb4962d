"""Replicas: clones for a fold, with a seed of their own."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from stackfuse._oof.folds import Fold


def replica(estimator, seed: int | None, folds: Sequence[Fold] = (), k: int = 0):
    """Return a clone whose unset random states are set from the seed.

    Parameters
    ----------
    estimator : estimator
    seed : int or None
        None leaves every parameter as it is. Random states that the user has set stay in any case.
    folds : sequence of Fold
    k : int
        The fold that the replica is for. Where a part of the estimator has ``cv="outer"``, its
        folds are the other ones, as far as they lie in the training rows of this one.

    Returns
    -------
    estimator : estimator
        Not fitted.
    """
    twin = clone(estimator)
    changed: dict[str, Any] = {}
    for name, value in twin.get_params(deep=True).items():
        own = name.rpartition("__")[2]
        if own == "random_state" and value is None and seed is not None:
            changed[name] = derived_seed(seed, name)
        if own == "cv" and isinstance(value, str) and value == "outer":
            changed[name] = _inner_folds(folds, k)
    return twin.set_params(**changed) if changed else twin


def _inner_folds(folds: Sequence[Fold], k: int) -> list[Fold]:
    """Return the other folds within the training rows of fold k, as places among these rows."""
    rows = folds[k].train
    others = [fold for j, fold in enumerate(folds) if j != k]
    within = [Fold(*(np.flatnonzero(np.isin(rows, part)) for part in fold)) for fold in others]
    inner = [fold for fold in within if len(fold.train) and len(fold.test)]
    if not inner:
        n_folds = sum(len(fold.test) > 0 for fold in folds)
        raise ValueError(
            f'cv="outer" takes the other outer folds as far as they lie in the training rows, and '
            f"of {n_folds} folds none does. Let the outer stack have three folds or more, or "
            "the inner one a cv of its own."
        )
    return inner


def derived_seed(seed: int, *path: str | int) -> int:
    """Return the seed of one part of a run; it depends on nothing but the arguments.

    Examples
    --------
    >>> derived_seed(0, "cnn", 3) == derived_seed(0, "cnn", 3) != derived_seed(0, "cnn", 4)
    True
    """
    words = [zlib.crc32(str(part).encode()) for part in path]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0] >> 1)
