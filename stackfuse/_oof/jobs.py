"""Fits as plain data: the estimator to clone, its rows and its seed; and the result."""

import functools
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
    """The rows that all jobs of a run are fitted on.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...)
        All rows; each job takes those of its fold.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The target of all rows.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> sf.engines.Data(X=np.zeros((4, 2)), y=np.arange(4)).X.shape
    (4, 2)
    """

    X: Any
    y: Any


class FoldFit(NamedTuple):
    """The result of one job.

    Parameters
    ----------
    estimator : fitted estimator or DiscardedModel
        The model; if the job keeps none, an object with its classes and the name of its type.
    predictions : ndarray, list of ndarray or None
        The predictions of the fold's test rows; None if there are no such rows.
    history : dict of str to list of float, or None
        The values of loss and metrics, one per epoch; None if the estimator has no history.
    how : str, default=""
        How the model was fitted, in words for users, for example ``"side by side"``.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> from sklearn.linear_model import LinearRegression
    >>> X, y = np.arange(4.0).reshape(4, 1), np.array([0.0, 2.0, 4.0, 6.0])
    >>> fold = sf.engines.Fold(np.array([0, 1, 2]), np.array([3]))
    >>> fit = sf.engines.FoldJob(LinearRegression(), fold).run(sf.engines.Data(X, y))
    >>> fit.predictions.round(6).tolist(), fit.how
    ([6.0], 'one by one')
    """

    estimator: Any
    predictions: Any
    history: dict[str, list[Any]] | None
    how: str = ""

    def without_model(self) -> "FoldFit":
        """Return the fit without its estimator.

        Returns
        -------
        fit : FoldFit
            The same predictions, history and `how`, with a DiscardedModel as estimator.
        """
        fitted = self.estimator
        if isinstance(fitted, DiscardedModel):
            return self
        classes = getattr(fitted, "classes_", None)
        return self._replace(estimator=DiscardedModel(type(fitted).__name__, classes))


class DiscardedModel(NamedTuple):
    """Takes the place of a model if only its predictions were kept."""

    kind: str
    classes_: Any


def plain_history(estimator) -> dict[str, list[float]] | None:
    """Return the training history of an estimator as numbers by name; None if there is none.

    A pipeline, a search or a transformed target has the history of the network at its end.
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

    Parameters
    ----------
    estimator : estimator
        The estimator to clone; it is never fitted itself. Jobs of one base share it.
    fold : Fold
        The rows to train on and the rows to predict. There may be none to predict.
    method : str, default="predict"
        The name of the method that predicts, such as ``"predict_proba"``.
    seed : int or None, default=None
        Seeds the random states of the clone that are None.
    fit_params : dict, default={}
        Arguments for ``fit``. Those with one entry per row of X are cut to the training rows.
    keep_model : bool, default=True
        Whether to keep the model after it has predicted.
    inner_folds : list of Fold or None, default=None
        The folds for parts of the estimator with ``cv="outer"``: the other folds, as far as they
        lie within the training rows.
    inner_seed : int or None, default=None
        Takes the place of `seed` for these parts. It is the same on all folds, so that fits inside
        on the same rows are the same fits.
    place : str, default=""
        Which fit of its base this is, for messages, such as ``"on fold 3"``.
    name : str, default="all"
        The text that replaces ``{fold}`` in the paths of callbacks: the number of the fold.
    progress : callable, default=contextlib.nullcontext
        A function that takes the unfitted clone and returns a context. The fit runs within this
        context, which reports its progress. Pickles of the job do not hold it.
    keeper : callable or None, default=None
        A function that keeps a fit; see :meth:`keep_here`.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> from sklearn.linear_model import LinearRegression
    >>> X, y = np.arange(4.0).reshape(4, 1), np.array([0.0, 2.0, 4.0, 6.0])
    >>> fold = sf.engines.Fold(np.array([0, 1, 2]), np.array([3]))
    >>> job = sf.engines.FoldJob(LinearRegression(), fold, place="on fold 0")
    >>> job.run(sf.engines.Data(X, y)).estimator.coef_.round(6).tolist()
    [2.0]
    """

    estimator: Any
    fold: Fold
    method: str = "predict"
    seed: int | None = None
    fit_params: dict[str, Any] = field(default_factory=dict)
    keep_model: bool = True
    inner_folds: list[Fold] | None = None
    inner_seed: int | None = None
    place: str = ""
    name: str = "all"
    progress: Callable[[Any], AbstractContextManager] = field(default=nullcontext, repr=False)
    keeper: Callable[[FoldFit], None] | None = field(default=None, repr=False)

    def replica(self) -> Any:
        """Return the unfitted clone that this job fits.

        Returns
        -------
        replica : estimator
            A clone with its random states seeded.
        """
        return replica(self.estimator, self.seed, self.inner_folds, self.inner_seed)

    def run(self, data: Data) -> FoldFit:
        """Fit a replica on the training rows, and predict the test rows.

        Parameters
        ----------
        data : Data
            The rows of the run.

        Returns
        -------
        fit : FoldFit
            The fitted replica and its predictions.

        Raises
        ------
        FitFailed
            If the fit or the prediction raises an error; `cause` is that error.
        OutOfTime
            If a time limit has passed before the fit begins.
        """
        fitting.time_limit.check()
        with self.failing_here():
            model, train = self.replica(), self.fold.train
            with self.progress(model), progress.fold_named(self.name):
                rows = (sklearn_private.safe_indexing(part, train) for part in data)
                model.fit(*rows, **self.params(data))
            return self.outcome(model, data)._replace(how="one by one")

    def params(self, data: Data) -> dict[str, Any]:
        """Return the arguments for ``fit``, cut to the training rows.

        Parameters
        ----------
        data : Data
            The rows of the run.

        Returns
        -------
        params : dict of str to object
            The arguments by name.
        """
        return sklearn_private.check_method_params(data.X, self.fit_params, indices=self.fold.train)

    def outcome(self, model: Any, data: Data) -> FoldFit:
        """Predict the test rows with a fitted replica, and return the result of the job.

        Parameters
        ----------
        model : estimator
            The fitted replica.
        data : Data
            The rows of the run.

        Returns
        -------
        fit : FoldFit
            The model, where it is kept, with its predictions and history.
        """
        test, predictions = self.fold.test, None
        if len(test):
            rows = sklearn_private.safe_indexing(data.X, test)
            predictions = contribution(model, self.method, rows)
        return self.kept(FoldFit(model, predictions, plain_history(model)))

    def kept(self, fit: FoldFit) -> FoldFit:
        """Return a fit with its model, or without it if `keep_model` is False.

        Parameters
        ----------
        fit : FoldFit
            A result of this job.

        Returns
        -------
        fit : FoldFit
            The same, or one without a model.
        """
        return fit if self.keep_model else fit.without_model()

    def keep_here(self, fit: FoldFit) -> None:
        """Keep a fit in the process that made it, before it is sent to the one that asked for it.

        Nothing is kept without `memory`, or where its folder is not to be seen. Then the process
        that asked keeps the fit when it arrives.

        Parameters
        ----------
        fit : FoldFit
            The result of this job.
        """
        if self.keeper is not None:
            self.keeper(fit)

    @contextmanager
    def failing_here(self) -> Iterator[None]:
        """Turn any error within a ``with`` block into the failure of this job.

        Yields
        ------
        None
            The block gets no value.

        Raises
        ------
        FitFailed
            If the block raises an error.
        """
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
        Settings of :class:`FoldJob`, for all jobs alike; ``seeds``, ``keep_models`` and
        ``progress`` are sequences with one entry per fold.
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
        outer = bool(outer_parts(estimator))
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


def replica(
    estimator,
    seed: int | None,
    inner_folds: list[Fold] | None = None,
    inner_seed: int | None = None,
):
    """Return a clone whose unset random states are set from the seed.

    Parameters
    ----------
    estimator : estimator
    seed : int or None
        None leaves every parameter as it is. Random states that the user has set stay in any case.
    inner_folds : list of Fold or None, default=None
        Replaces ``cv="outer"``.
    inner_seed : int or None, default=None
        Takes the place of `seed` for the parts with these folds.

    Returns
    -------
    estimator : estimator
        Not fitted.
    """
    twin, inside = clone(estimator), ()
    if inner_folds is not None:
        parts = outer_parts(twin)
        twin.set_params(**dict.fromkeys(parts, inner_folds))
        inside = tuple(name.removesuffix("cv") for name in parts)
    return seeded(twin, seed, inside, inner_seed)


def seeded(
    estimator, seed: int | None, inside: tuple[str, ...] = (), inner_seed: int | None = None
):
    """Set the unset random states of an estimator from a seed, unless that is None; return it.

    Names that begin as one of those inside have the inner seed, if there is one.
    """
    if seed is None:
        return estimator
    within = seed if inner_seed is None else inner_seed
    seeds = {
        name: derived_seed(within if name.startswith(inside) else seed, name)
        for name in unset_random_states(estimator)
    }
    sklearn_private.set_params_of(estimator, seeds)
    return estimator


def unset_random_states(estimator) -> list[str]:
    """Return the parameters that a job's seed sets: random states that are None."""
    params = sklearn_private.params_of(estimator)
    return [
        name
        for name, value in params.items()
        if name.rpartition("__")[2] == "random_state" and value is None
    ]


def outer_parts(estimator) -> list[str]:
    """Return the parameters that are ``cv="outer"`` and mean the folds around this estimator.

    A part inside an estimator that has a ``cv`` itself is fitted on that one's rows: it means the
    folds of that one, which are not drawn yet.
    """
    params = sklearn_private.params_of(estimator)
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
            'cv="outer" uses the outer folds that lie in the training rows, but none of '
            f"{n_folds} folds does. Give the outer stack three folds or more, or give the inner "
            "one its own cv."
        )
    return inner


@functools.lru_cache(maxsize=1 << 12, typed=True)
def derived_seed(seed: int, *path: str | int) -> int:
    """Return the seed of one part of a run; it depends on nothing but the arguments.

    Examples
    --------
    >>> derived_seed(0, "cnn", 3) == derived_seed(0, "cnn", 3) != derived_seed(0, "cnn", 4)
    True
    """
    words = [zlib.crc32(str(part).encode()) for part in path]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0] >> 1)
