"""The interface of the engines, and the loop that defines what every engine must compute."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from stackfuse._oof.jobs import Data, FoldFit, FoldJob


class Engine(Protocol):
    """The interface of engines: an engine runs the fits of one base estimator.

    Any class with the method ``run_jobs`` is an engine; it need not inherit from this one. An
    engine that cannot run all jobs may also have a method ``check(job, data)``, which raises a
    ValueError with the reason. It is called with one job of every base but the first before any
    base is fitted, so that no fit is lost. :func:`stackfuse.testing.check_engine` proves an engine
    right.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> from sklearn.dummy import DummyRegressor
    >>> class Backwards:
    ...     def run_jobs(self, jobs, data):
    ...         for number, job in reversed(list(enumerate(jobs))):
    ...             yield number, job.run(data)
    >>> bases, X, y = [("mean", DummyRegressor())], np.zeros((4, 1)), np.arange(4.0)
    >>> oof = sf.out_of_fold(bases, X, y, cv=2, engine=Backwards())
    >>> oof.predictions[:, 0].tolist()
    [2.5, 2.5, 0.5, 0.5]
    """

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """Run jobs in any order, and yield each result as soon as it is there.

        Parameters
        ----------
        jobs : iterable of FoldJob
            The fits of one base estimator; in a search their parameters may differ. Take a job from
            the iterable when you are about to run it: the iterable may wait for another process.
        data : Data
            The rows of the run.

        Yields
        ------
        number : int
            The place of the job among the jobs.
        fit : FoldFit
            The result of ``job.run(data)``, up to rounding.

        Raises
        ------
        FitFailed
            If a fit fails, as ``job.run`` does. Results that were yielded before stay valid.
        """
        ...


class SequentialEngine:
    """Fold after fold, each by the estimator's own ``fit``: the definition of correct.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> from sklearn.dummy import DummyRegressor
    >>> data = sf.engines.Data(np.zeros((3, 1)), np.array([1.0, 3.0, 5.0]))
    >>> job = sf.engines.FoldJob(DummyRegressor(), sf.engines.Fold(np.arange(2), np.array([2])))
    >>> engine = sf.engines.SequentialEngine()
    >>> [(number, fit.predictions.tolist()) for number, fit in engine.run_jobs([job], data)]
    [(0, [2.0])]
    """

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """Run one job after another.

        Parameters
        ----------
        jobs : iterable of FoldJob
            The fits of one base estimator.
        data : Data
            The rows of the run.

        Yields
        ------
        number : int
            The place of the job among the jobs.
        fit : FoldFit
            Its result.

        Raises
        ------
        FitFailed
            If a fit raises an error.
        """
        for number, job in enumerate(jobs):
            yield number, job.run(data)
