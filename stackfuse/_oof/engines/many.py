"""Many fits of one estimator, each on rows and with a seed of its own.

A fold is one such fit; others are the members of a seed ensemble, bags, repeated splits, the
cross-validation of a meta-learner. Networks are trained side by side where that pays, so that many
of them cost little more than one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stackfuse._core import errors, messages, targets
from stackfuse._oof.engines.base import Engine
from stackfuse._oof.engines.named import engine_named
from stackfuse._oof.folds import Fold
from stackfuse._oof.jobs import Data, jobs_of


class Job(NamedTuple):
    """One fit of :func:`fit_many`.

    Parameters
    ----------
    rows : ndarray of int of shape (n_rows,)
        The numbers of the rows of X and y to train on.
    seed : int or None, default=None
        Seeds the random states of the clone that are None.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> sf.engines.Job(np.arange(3), seed=7).seed
    7
    """

    rows: np.ndarray
    seed: int | None = None


def _checked(jobs: Sequence[Job], n_rows: int) -> list[Job]:
    """Return jobs as a list; raise unless each names rows of X."""
    if not isinstance(jobs, Sequence):
        raise TypeError(f"jobs must be a list of sf.engines.Job, got {messages.in_short(jobs)}.")
    for k, job in enumerate(jobs):
        rows = np.asarray(job.rows) if isinstance(job, Job) else np.empty(0)
        if rows.ndim != 1 or rows.dtype.kind not in "iub":
            raise TypeError(
                f"jobs[{k}] must be sf.engines.Job(rows), with row numbers in an array, got "
                f"{messages.in_short(job)}."
            )
        if rows.dtype.kind != "b" and rows.size and not 0 <= rows.min() <= rows.max() < n_rows:
            raise IndexError(
                f"jobs[{k}] names rows outside 0..{n_rows - 1} ({rows.min()} to {rows.max()})."
            )
    return list(jobs)


def fit_many(
    estimator: Any,
    X: Any,
    y: Any,
    jobs: Sequence[Job],
    *,
    engine: str | Engine = "auto",
    fit_params: dict[str, Any] | None = None,
) -> list[Any]:
    """Fit a clone of an estimator for each job.

    Parameters
    ----------
    estimator : estimator
        The estimator to clone; it is never fitted itself.
    X, y : array-like of shape (n_samples, ...)
        The rows and their target; each job takes some of them.
    jobs : sequence of Job
        One fit each.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How the fits are run, as in :class:`StackingClassifier`.
    fit_params : dict, default=None
        Arguments for ``fit``. Those with one entry per row of X are cut to the rows of each job.

    Returns
    -------
    estimators : list of fitted estimators
        One per job: a clone fitted on ``X[job.rows], y[job.rows]``. For networks this holds up to
        rounding.

    Raises
    ------
    TypeError
        If jobs are no :class:`Job`.
    IndexError
        If a job names a row that X lacks.
    Exception
        The error of a fit that fails.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyRegressor
    >>> jobs = [Job(np.array([0, 1])), Job(np.array([2, 3]))]
    >>> X, y = np.zeros((4, 1)), np.array([1.0, 3.0, 5.0, 7.0])
    >>> [float(mean.predict(X[:1])[0]) for mean in fit_many(DummyRegressor(), X, y, jobs)]
    [2.0, 6.0]
    """
    targets.check_same_length(X=X, y=y)
    if not isinstance(fit_params, Mapping | None):
        raise TypeError(f"fit_params must be a dict of arguments of fit, got {fit_params!r}.")
    jobs = _checked(jobs, targets.n_rows(X, "X"))
    folds = [Fold(job.rows, np.arange(0)) for job in jobs]
    seeds = [job.seed for job in jobs]
    fits = jobs_of(estimator, folds, seeds=seeds, fit_params=fit_params or {})
    cause = None
    try:
        done = dict(engine_named(engine).run_jobs(fits, Data(X, y)))
    except errors.FitFailed as failure:
        cause = failure.cause
    if cause is not None:
        raise cause
    return [done[number].estimator for number in range(len(jobs))]
