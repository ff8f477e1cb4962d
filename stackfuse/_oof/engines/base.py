"""The interface of the engines, and the loop that defines what every engine must compute."""

import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from stackfuse._oof.contributions import contribution
from stackfuse._oof.folds import Fold
from stackfuse._oof.memory.store import (
    Entry,
    FoldFit,
)

#: Entered around the fit of fold k, with the estimator about to be fitted: for progress.
Watch = Callable[[int, Any], AbstractContextManager]


class FoldFits(NamedTuple):
    """What an engine returns: one entry per fold in each list.

    Attributes
    ----------
    estimators : list of fitted estimators
        ``Forgotten`` where it was not to be kept.
    predictions : list of (ndarray, list of ndarray or None)
        What the estimator's method returned for the fold's test rows; None if it has none.
    histories : list of (dict or None)
        ``history_`` of the estimators that keep one.
    """

    estimators: list
    predictions: list
    histories: list

    def without_models(self, keep: Sequence[bool]) -> "FoldFits":
        """Return the fits without the models that are not to be kept."""
        fits = map(FoldFit._make, zip(*self))
        left = [fit if kept else fit.without_model() for kept, fit in zip(keep, fits, strict=True)]
        return FoldFits(*map(list, zip(*left)))

    def append(self, fit: FoldFit) -> None:
        """Add the outcome of one fold."""
        for values, value in zip(self, fit):
            values.append(value)


class Engine(Protocol):
    """Trains one estimator on every fold."""

    def fit_folds(
        self,
        estimator,
        X,
        y,
        folds: Sequence[Fold],
        *,
        method: str,
        fit_params: dict[str, Any] | None = None,
        seeds: Sequence[int | None] | None = None,
        watch: Watch | None = None,
        entries: Sequence[Entry | None] | None = None,
        keep: Sequence[bool] | None = None,
    ) -> FoldFits:
        """Fit a clone of the estimator on each fold's training rows and predict its test rows.

        Parameters
        ----------
        estimator : estimator
            Cloned for every fold, never fitted itself.
        X, y : array-like of shape (n_samples, ...)
        folds : sequence of Fold
        method : str
            The prediction method, such as ``"predict_proba"``.
        fit_params : dict, default=None
            Passed to fit; what has one entry per row of X is cut to the fold.
        seeds : sequence of (int or None), default=None
            One per fold; see :func:`replica`.
        watch : callable, default=None
            Entered around each fit.
        entries : sequence of (Entry or None), default=None
            Where each fit is stored: it is made only if it is not there.
        keep : sequence of bool, default=None
            Whether each model is needed once it has predicted; by default all are.

        Returns
        -------
        fits : FoldFits

        Raises
        ------
        Exception
            What a fit raised; its attribute ``fold`` is the number of the fold.
        """
        ...


class SequentialEngine:
    """Fold after fold, each by the estimator's own ``fit``: the definition of correct."""

    def fit_folds(
        self,
        estimator,
        X,
        y,
        folds,
        *,
        method,
        fit_params=None,
        seeds=None,
        watch=None,
        entries=None,
        keep=None,
    ) -> FoldFits:
        """See :class:`Engine`."""
        n_folds = len(folds)
        seeds, entries = seeds or [None] * n_folds, entries or [None] * n_folds
        keep = keep or [True] * n_folds
        fits = FoldFits([], [], [])
        for k in range(n_folds):
            unfitted = replica(estimator, seeds[k], folds, k)
            with watch(k, unfitted) if watch else nullcontext():
                job = unfitted, X, y, folds, k, method, fit_params, entries[k], keep[k]
                fits.append(fit_fold(*job))
        return fits


def fit_fold(
    estimator,
    X,
    y,
    folds: Sequence[Fold],
    k: int,
    method: str,
    fit_params,
    entry: Entry | None,
    keep: bool,
) -> FoldFit:
    """Fit an estimator on the training rows of fold k and predict its test rows.

    Parameters
    ----------
    estimator : estimator
        Fitted in place, unless the entry holds its fit already.
    """

    def make() -> FoldFit:
        train, test = folds[k]
        params = _check_method_params(X, fit_params or {}, indices=train)
        estimator.fit(_safe_indexing(X, train), _safe_indexing(y, train), **params)
        predictions = (
            contribution(estimator, method, _safe_indexing(X, test)) if len(test) else None
        )
        return FoldFit(estimator, predictions, plain_history(estimator))

    try:
        fit = make() if entry is None else entry.once(make, estimator)
    except Exception as error:
        vars(error)["fold"] = k
        raise
    return fit if keep else fit.without_model()


def plain_history(estimator) -> dict[str, list[float]] | None:
    """Return the training history of an estimator that keeps one as numbers by name."""
    history: Any = getattr(estimator, "history_", None)
    try:
        return {str(name): [float(v) for v in values] for name, values in history.items()}
    except (AttributeError, TypeError, ValueError):  # none, or something else of that name
        return None


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
