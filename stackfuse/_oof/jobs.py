"""Fits as plain data: which estimator is cloned, for which rows and seed, and what it leaves."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from stackfuse._core import errors, fitting, progress, sklearn_private
from stackfuse._oof.contributions import contribution, network_of
from stackfuse._oof.folds import Fold

#: How a fit was made that is taken from where fits are kept.
FROM_MEMORY = "from memory"


class Data(NamedTuple):
    """What all jobs of a run are fitted on.

    Attributes
    ----------
    X : array-like of shape (n_samples, ...)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    """

    X: Any
    y: Any


class FoldFit(NamedTuple):
    """What the fit of one job leaves.

    Attributes
    ----------
    estimator : fitted estimator or DiscardedModel
    predictions : ndarray, list of ndarray or None
        Of the fold's test rows; None if it has none.
    history : dict of str to list of float, or None
    how : str, default=""
        How it was fitted, for the user: ``"side by side"``, say.
    """

    estimator: Any
    predictions: Any
    history: dict[str, list] | None
    how: str = ""

    def without_model(self) -> "FoldFit":
        """Return the fit without its estimator."""
        fitted = self.estimator
        if isinstance(fitted, DiscardedModel):
            return self
        classes = getattr(fitted, "classes_", None)
        return self._replace(estimator=DiscardedModel(type(fitted).__name__, classes))


class DiscardedModel(NamedTuple):
    """Stands for the model of a fold, of which only the predictions were kept."""

    kind: str
    classes_: Any


def plain_history(estimator) -> dict[str, list[float]] | None:
    """Return the training history of an estimator as numbers by name; None if there is none.

    Of a pipeline, a search or a transformed target it is that of the network at its end.
    """
    if not hasattr(estimator, "history_"):
        estimator = network_of(getattr(estimator, "regressor_", estimator))
    history: Any = getattr(estimator, "history_", None)
    try:
        return {str(name): [float(v) for v in values] for name, values in history.items()}
    except (AttributeError, TypeError, ValueError):  # none, or something else of that name
        return None


@dataclass(frozen=True, eq=False)
class FoldJob:
    """One fit of one base estimator; it can be pickled.

    Attributes
    ----------
    estimator : estimator
        Cloned, never fitted itself. Jobs of one base share it.
    fold : Fold
        The rows to train on, and those to predict, of which there may be none.
    method : str, default="predict"
        What the model predicts with, such as ``"predict_proba"``.
    seed : int or None, default=None
        The clone's unset random states are set from it.
    fit_params : dict, default={}
        Passed to fit; what has one entry per row of X is cut to the training rows.
    keep_model : bool, default=True
        Whether the model is needed once it has predicted.
    inner_folds : list of Fold or None, default=None
        What a part with ``cv="outer"`` is given: the other folds within the training rows.
    place : str, default=""
        Says which fit of its base it is: ``"on fold 3"``.
    name : str, default="all"
        What ``{fold}`` stands for in the paths of callbacks: the number of the fold.
    progress : callable
        From the unfitted clone to a context around its fit, in which its progress is reported. It
        stays behind where a job goes to another process.
    """

    estimator: Any
    fold: Fold
    method: str = "predict"
    seed: int | None = None
    fit_params: dict[str, Any] = field(default_factory=dict)
    keep_model: bool = True
    inner_folds: list[Fold] | None = None
    place: str = ""
    name: str = "all"
    progress: Callable[[Any], AbstractContextManager] = field(default=nullcontext, repr=False)

    def replica(self):
        """Return the unfitted clone that this job fits."""
        return replica(self.estimator, self.seed, self.inner_folds)

    def run(self, data: Data) -> FoldFit:
        """Fit a replica on the training rows, and predict the others.

        Parameters
        ----------
        data : Data

        Returns
        -------
        fit : FoldFit

        Raises
        ------
        FitFailed
            From what the fit or the prediction raised.
        OutOfTime
            If a limit of time is over before it begins.
        """
        fitting.time_limit.check()
        with self.failing_here():
            model, train = self.replica(), self.fold.train
            with self.progress(model), progress.fold_named(self.name):
                rows = (sklearn_private.safe_indexing(part, train) for part in data)
                model.fit(*rows, **self.params(data))
            return self.outcome(model, data)._replace(how="one by one")

    def params(self, data: Data) -> dict[str, Any]:
        """Return what is passed to fit, cut to the training rows."""
        return sklearn_private.check_method_params(data.X, self.fit_params, indices=self.fold.train)

    def outcome(self, model: Any, data: Data) -> FoldFit:
        """Return what a fitted replica leaves."""
        test, predictions = self.fold.test, None
        if len(test):
            rows = sklearn_private.safe_indexing(data.X, test)
            predictions = contribution(model, self.method, rows)
        return self.kept(FoldFit(model, predictions, plain_history(model)))

    def kept(self, fit: FoldFit) -> FoldFit:
        """Return a fit with its model, or without it if it is no longer needed."""
        return fit if self.keep_model else fit.without_model()

    @contextmanager
    def failing_here(self) -> Iterator[None]:
        """Raise an error as the failure of this job."""
        try:
            yield
        except errors.FitFailed:
            raise
        except Exception as error:
            raise errors.FitFailed(self.place, error) from error

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "progress": nullcontext}


def jobs_of(estimator, folds: Sequence[Fold], **settings: Any) -> list[FoldJob]:
    """Return the jobs that fit an estimator on folds.

    Parameters
    ----------
    estimator : estimator
    folds : sequence of Fold
    **settings : object
        Of :class:`FoldJob`, for all of them alike; ``seeds``, ``keep_models`` and ``progress`` are
        sequences of one entry per fold.
    """
    several = {"seeds": "seed", "keep_models": "keep_model", "progress": "progress"}
    own = {name: settings.pop(many) for many, name in several.items() if settings.get(many)}
    settings = {name: value for name, value in settings.items() if name not in several}
    jobs = [
        FoldJob(
            estimator,
            fold,
            place=_place(k, fold),
            name=str(k) if len(fold.test) else "all",
            **settings,
            **{name: values[k] for name, values in own.items()},
        )
        for k, fold in enumerate(folds)
    ]
    if not jobs:
        return []
    with jobs[0].failing_here():
        estimator = clone(estimator)  # what the user has fitted stays behind
        outer = bool(_outer_parts(estimator))
    for k, job in enumerate(jobs):
        with job.failing_here():
            inner = _inner_folds(folds, k) if outer else None
        jobs[k] = replace(job, estimator=estimator, inner_folds=inner)
    return jobs


def polled(
    engine: Any, jobs: Iterable[FoldJob], data: Data, n_networks: int
) -> Iterator[tuple[int, FoldFit] | None]:
    """Yield what an engine yields; None where it has nothing yet, and another base may be fitted.

    Parameters
    ----------
    engine : Engine
        One that has the jobs of several bases at the same time has a method ``poll_jobs``.
    jobs : iterable of FoldJob
    data : Data
    n_networks : int
        Bases with networks that are fitted at the same time.
    """
    if hasattr(engine, "poll_jobs"):
        return engine.poll_jobs(jobs, data, n_networks)
    return engine.run_jobs(jobs, data)


def _place(k: int, fold: Fold) -> str:
    return f"on fold {k}" if len(fold.test) else "on all rows"


def replica(estimator, seed: int | None, inner_folds: list[Fold] | None = None):
    """Return a clone whose unset random states are set from the seed.

    Parameters
    ----------
    estimator : estimator
    seed : int or None
        None leaves every parameter as it is. Random states that the user has set stay in any case.
    inner_folds : list of Fold or None, default=None
        Replaces ``cv="outer"``.

    Returns
    -------
    estimator : estimator
        Not fitted.
    """
    twin = clone(estimator)
    changed: dict[str, Any] = {}
    if inner_folds is not None:
        changed = dict.fromkeys(_outer_parts(twin), inner_folds)
    if seed is not None:
        changed |= {name: derived_seed(seed, name) for name in unset_random_states(twin)}
    return twin.set_params(**changed) if changed else twin


def unset_random_states(estimator) -> list[str]:
    """Return the parameters that a job's seed sets: random states that are None."""
    params = estimator.get_params(deep=True)
    return [
        name
        for name, value in params.items()
        if name.rpartition("__")[2] == "random_state" and value is None
    ]


def _outer_parts(estimator) -> list[str]:
    """Return the parameters that are ``cv="outer"`` and mean the folds around this estimator.

    What is inside an estimator that has a ``cv`` itself is fitted on that one's rows: it means the
    folds of that one, which are not drawn yet.
    """
    params = estimator.get_params(deep=True)
    of_cv = [name for name in params if name.rpartition("__")[2] == "cv"]
    around = tuple(name.removesuffix("cv") for name in of_cv)
    return [
        name
        for name in of_cv
        if isinstance(params[name], str)
        and params[name] == "outer"
        and not any(name.startswith(part) for part in around if part != name.removesuffix("cv"))
    ]


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
