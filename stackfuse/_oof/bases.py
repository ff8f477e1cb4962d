"""The fits of all base estimators: seeded, stored, watched, and what happens when one fails."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from stackfuse._core import errors
from stackfuse._oof.alignment import in_one_frame
from stackfuse._oof.contributions import FEATURES
from stackfuse._oof.engines import (
    Engine,
    FoldFits,
    Watch,
    derived_seed,
    engine_named,
    holds_network,
    replica,
)
from stackfuse._oof.folds import Fold
from stackfuse._oof.memory.fingerprint import (
    NotComparable,
    fingerprint,
)
from stackfuse._oof.memory.store import (
    Entry,
    Store,
    store_named,
)


@dataclass(frozen=True)
class FitOptions:
    """How the base estimators are fitted.

    Attributes
    ----------
    engine : str or Engine
    n_jobs : int or None
    memory : str, path, joblib.Memory or None
    on_error : {"raise", "drop"}
    random_state : int or None
    """

    engine: str | Engine = "auto"
    n_jobs: int | None = None
    memory: Any = None
    on_error: str = "raise"
    random_state: int | None = None

    def __post_init__(self):
        if self.on_error not in ("raise", "drop"):
            raise ValueError(f"on_error must be 'raise' or 'drop', got {self.on_error!r}.")
        if self.random_state is not None and not isinstance(self.random_state, int | np.integer):
            raise ValueError(f"random_state must be an integer or None, got {self.random_state!r}.")
        engine_named(self.engine, self.n_jobs)
        store_named(self.memory)


@dataclass
class Fits:
    """What became of the base estimators.

    Attributes
    ----------
    folds : dict of str to FoldFits
        By the name of the base; those that failed are missing.
    failures : dict of str to str
        Why the others were dropped.
    """

    folds: dict[str, FoldFits] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def fit_bases(
    bases: Sequence[tuple[str, Any]],
    methods: Sequence[str],
    X,
    y: np.ndarray,
    folds: Sequence[Fold],
    *,
    how: FitOptions,
    fit_params: dict[str, dict],
    check: Callable[[str, FoldFits], None],
    keep: Callable[[Fold], bool] = lambda fold: False,
    watch: Callable[[str], AbstractContextManager[Watch | None]] = lambda name: nullcontext(),
) -> Fits:
    """Fit every base estimator on every fold.

    Parameters
    ----------
    bases : sequence of (str, estimator)
    methods : sequence of str
        What each base predicts with.
    X, y : array-like of shape (n_samples, ...)
    folds : sequence of Fold
    how : FitOptions
    fit_params : dict of str to dict
        By the name of the base.
    check : callable
        Raises if the predictions of a base, given by name, cannot be used.
    keep : callable
        Whether the model of a fold will be needed once it has predicted.
    watch : callable
        From a base's name to a context around its fits, which yields a Watch; by default none.

    Raises
    ------
    Exception
        With ``on_error="raise"`` what a fit raised, the base and the fold named first.
    ValueError
        If all bases failed.
    """
    engine = engine_named(how.engine, how.n_jobs)
    keys = _Keys(how, X, y)
    done = Fits()
    for (name, base), method in zip(bases, methods):
        base = _with_memory(base, how.memory)
        seeds = fold_seeds(how.random_state, name, folds)
        frozen = isinstance(base, FrozenEstimator)
        in_end = [frozen or keep(fold) for fold in folds]
        kept = [True] * len(folds) if method == FEATURES else in_end  # to align them
        entries = keys.entries(name, base, folds, seeds, method, fit_params[name], kept)
        try:
            with watch(name) as watched:
                fits = engine.fit_folds(
                    base,
                    X,
                    y,
                    folds,
                    method=method,
                    fit_params=fit_params[name],
                    seeds=seeds,
                    watch=watched,
                    entries=entries,
                    keep=kept,
                )
            check(name, fits)
            if method == FEATURES:
                models, features = in_one_frame(fits.estimators, fits.predictions, X, folds)
                fits = fits._replace(estimators=models, predictions=features)
                fits = fits.without_models(in_end)
        except Exception as error:
            done.failures[name] = handle_failure(name, error, _place(error, folds), how.on_error)
        else:
            done.folds[name] = fits
    check_any_left(done.folds, done.failures)
    return done


def handle_failure(name: str, error: Exception, place: str, on_error: str) -> str:
    """Warn that a base is dropped, and return why; or raise the error with its place.

    Called while the error is handled.
    """
    if on_error == "raise":
        _say_where(error, f"Base estimator {name!r} failed{place}")
        raise error
    cause = f"{type(error).__name__}: {errors.message_of(error)}"
    warnings.warn(
        f"Base estimator {name!r} failed{place} and is dropped. {cause}",
        stacklevel=3,
    )
    return f"{cause}{place and f' ({place.strip()})'}"


def check_any_left(bases, failures: dict[str, str]) -> None:
    """Raise if all base estimators have failed."""
    if not bases:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise ValueError(f"All base estimators failed, so there is nothing to stack. {reasons}")


def _with_memory(base, memory):
    """Return a base whose inner stacks keep their fits in the same place, if in none yet."""
    if memory is None or isinstance(base, FrozenEstimator):
        return base
    parts = {"": base, **base.get_params(deep=True)}
    stacks = [name for name, part in parts.items() if hasattr(part, "refit_final")]
    names = [f"{name}__memory" if name else "memory" for name in stacks]
    unset = {name: memory for name in names if base.get_params(deep=True)[name] is None}
    return clone(base).set_params(**unset) if unset else base


class _Keys:
    """Finds the entries of fits in the store; what they all depend on is read once."""

    def __init__(self, how: FitOptions, X, y: np.ndarray):
        self._store: Store | None = store_named(how.memory)
        self._data = None
        if self._store is not None:
            try:
                self._data = fingerprint(np.asarray(X) if isinstance(X, list) else X, y)
            except NotComparable as error:
                warnings.warn(f"Nothing is kept in memory, because in X {error}.", stacklevel=3)
                self._store = None

    def entries(
        self,
        name: str,
        base,
        folds: Sequence[Fold],
        seeds: Sequence[int | None],
        method: str,
        fit_params: dict[str, Any],
        keep: Sequence[bool],
    ) -> list[Entry | None] | None:
        """Return the entries of one base's fits, or None if they are not stored."""
        if self._store is None or isinstance(base, FrozenEstimator):
            return None
        threads = _threads_of_tensorflow() if holds_network(base) else None
        weights = {n: v if np.isscalar(v) else _as_array(v) for n, v in fit_params.items()}
        entries: list[Entry | None] = []
        for k, fold in enumerate(folds):
            twin = replica(base, seeds[k], folds, k)
            asked = method if len(fold.test) else None
            parts = (self._data, twin, fold.train, fold.test, asked, weights, threads)
            title = f"base estimator {name!r}{_title(fold, k)}"
            try:
                entries.append(self._store.entry(title, *parts, keep=keep[k]))
            except NotComparable as error:
                warnings.warn(
                    f"Base estimator {name!r} is fitted without memory: {error}.", stacklevel=2
                )
                return None
        return entries


def _as_array(values) -> Any:
    """Return what has one entry per row as an array, whatever it came in."""
    return np.asarray(values) if isinstance(values, list | pd.Series) else values


def _threads_of_tensorflow() -> tuple[int, int]:
    """Return the numbers of threads that networks are computed with; results depend on them."""
    threading = tf.config.threading
    return (
        threading.get_intra_op_parallelism_threads(),
        threading.get_inter_op_parallelism_threads(),
    )


def fold_seeds(random_state: int | None, name: str, folds: Sequence[Fold]) -> list[int | None]:
    """Return one seed per fold for the base estimator of that name; all rows have their own."""
    if random_state is None:
        return [None] * len(folds)
    places = [k if len(fold.test) else "all rows" for k, fold in enumerate(folds)]
    return [derived_seed(random_state, name, place) for place in places]


def _title(fold: Fold, k: int) -> str:
    return f" on fold {k}" if len(fold.test) else " on all rows"


def _place(error: Exception, folds: Sequence[Fold]) -> str:
    """Say on which fold an error occurred, if that is known."""
    k = vars(error).get("fold")
    return "" if k is None else _title(folds[k], k)


def _say_where(error: Exception, where: str) -> None:
    """Put the place before the message of an error, which stays of its type."""
    if error.args and isinstance(error.args[0], str):
        error.args = (f"{where}: {error.args[0]}", *error.args[1:])
    if where not in errors.message_of(error):
        error.add_note(where)
