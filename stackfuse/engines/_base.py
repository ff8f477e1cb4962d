"""The interface of the engines, and the loop that defines what every engine must compute."""

import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from stackfuse._folds import Fold

#: Entered around the fit of fold k, with the estimator about to be fitted: for progress.
Watch = Callable[[int, Any], AbstractContextManager]


class FoldFits(NamedTuple):
    """What an engine returns: one entry per fold in each list.

    Attributes
    ----------
    estimators : list of fitted estimators
    predictions : list of (ndarray or None)
        What the estimator's method returned for the fold's test rows; None if it has none.
    histories : list of (dict or None)
        ``history_`` of the estimators that keep one.
    """

    estimators: list
    predictions: list
    histories: list

    def append(self, fitted, predictions) -> None:
        """Add the outcome of one fold."""
        self.estimators.append(fitted)
        self.predictions.append(predictions)
        self.histories.append(getattr(fitted, "history_", None))


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

        Returns
        -------
        fits : FoldFits
        """
        ...


class SequentialEngine:
    """Fold after fold, each by the estimator's own ``fit``: the definition of correct."""

    def fit_folds(
        self, estimator, X, y, folds, *, method, fit_params=None, seeds=None, watch=None
    ) -> FoldFits:
        """See :class:`Engine`."""
        fits = FoldFits([], [], [])
        for k, fold in enumerate(folds):
            unfitted = replica(estimator, seeds[k] if seeds else None)
            with watch(k, unfitted) if watch else nullcontext():
                fitted, predictions = fit_fold(unfitted, X, y, fold, method, fit_params)
            fits.append(fitted, predictions)
        return fits


def fit_fold(estimator, X, y, fold: Fold, method: str, fit_params: dict[str, Any] | None):
    """Fit an estimator on a fold's training rows.

    Returns
    -------
    estimator : fitted estimator
        The one that was passed in.
    predictions : ndarray or None
        Of the fold's test rows; None if it has none.
    """
    train, test = fold
    params = _check_method_params(X, fit_params or {}, indices=train)
    estimator.fit(_safe_indexing(X, train), _safe_indexing(y, train), **params)
    return estimator, getattr(estimator, method)(_safe_indexing(X, test)) if len(test) else None


def replica(estimator, seed: int | None):
    """Return a clone whose unset random states are set from the seed.

    Parameters
    ----------
    estimator : estimator
    seed : int or None
        None leaves every parameter as it is. Random states that the user has set stay in any case.

    Returns
    -------
    estimator : estimator
        Not fitted.
    """
    twin = clone(estimator)
    if seed is not None:
        unset = {
            name: derived_seed(seed, name)
            for name, value in twin.get_params(deep=True).items()
            if value is None and (name == "random_state" or name.endswith("__random_state"))
        }
        twin.set_params(**unset)
    return twin


def derived_seed(seed: int, *path: str | int) -> int:
    """Return the seed of one part of a run; it depends on nothing but the arguments.

    Examples
    --------
    >>> derived_seed(0, "cnn", 3) == derived_seed(0, "cnn", 3) != derived_seed(0, "cnn", 4)
    True
    """
    words = [zlib.crc32(str(part).encode()) for part in path]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0] >> 1)
