"""The interface of the engines, and the loop that defines what every engine must compute."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from stackfuse._oof.jobs import Data, FoldFit, FoldJob


class Engine(Protocol):
    """Runs the fits of one base estimator.

    A class with this one method is an engine; it need not inherit. An engine that does not run all
    jobs may have a method ``check(job, data)`` too, which raises a ValueError that says why. It is
    asked for a job of every base but the first before any base is fitted, so that no fit is lost.
    :func:`stackfuse.testing.check_engine` says whether it computes what it must.
    """

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """Run jobs, in any order, and yield what each leaves as soon as it is there.

        Parameters
        ----------
        jobs : iterable of FoldJob
            All of one base estimator; in a search the parameters of their estimators may differ. A
            job may be taken from the iterable when it is about to be run; whoever hands it out may
            be waiting for another process until then.
        data : Data
            What they are fitted on.

        Yields
        ------
        number : int
            The place of the job among the jobs.
        fit : FoldFit
            What ``job.run(data)`` returns, up to rounding.

        Raises
        ------
        FitFailed
            As ``job.run`` does. Fits that were yielded before stay valid.
        """
        ...


class SequentialEngine:
    """Fold after fold, each by the estimator's own ``fit``: the definition of correct."""

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """See :class:`Engine`."""
        for number, job in enumerate(jobs):
            yield number, job.run(data)
