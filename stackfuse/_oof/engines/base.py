"""The interface of the engines, and the loop that defines what every engine must compute."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from stackfuse._core import sklearn_private
from stackfuse._oof.contributions import contribution
from stackfuse._oof.fits import FoldFit, FoldFits, plain_history
from stackfuse._oof.folds import Fold
from stackfuse._oof.memory.store import Entry
from stackfuse._oof.replicas import replica

#: Entered around the fit of fold k, with the estimator about to be fitted: for progress.
Watch = Callable[[int, Any], AbstractContextManager]


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
        params = sklearn_private.check_method_params(X, fit_params or {}, indices=train)
        estimator.fit(
            sklearn_private.safe_indexing(X, train),
            sklearn_private.safe_indexing(y, train),
            **params,
        )
        predictions = (
            contribution(estimator, method, sklearn_private.safe_indexing(X, test))
            if len(test)
            else None
        )
        return FoldFit(estimator, predictions, plain_history(estimator))

    try:
        fit = make() if entry is None else entry.once(make, estimator)
    except Exception as error:
        vars(error)["fold"] = k
        raise
    return fit if keep else fit.without_model()
