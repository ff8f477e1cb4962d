"""All replicas of one network at the same time, in compiled graphs."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain

import numpy as np

from stackfuse._core import errors, fitting
from stackfuse._oof.contributions import has_engine, holds_network
from stackfuse._oof.engines.base import Engine
from stackfuse._oof.engines.paused_fit import PausedFit
from stackfuse._oof.jobs import Data, FoldFit, FoldJob
from stackfuse._training import SideBySide, Training, eligibility

#: Bytes of rows that the replicas of a group may have in memory, each its own: transformers give
#: every fold other rows.
GROUP_BYTES = 2**30


class SideBySideEngine:
    """The fold replicas of a network, trained side by side in one graph.

    The steps before the network, and estimators around it, are fitted fold by fold, by their own
    ``fit``.

    Parameters
    ----------
    otherwise : Engine, default=None
        The engine for jobs that cannot be trained side by side, or gain nothing by it. By default,
        jobs that cannot raise an error, and jobs that gain nothing are trained side by side.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> from sklearn.dummy import DummyRegressor
    >>> engine = sf.engines.SideBySideEngine(otherwise=sf.engines.SequentialEngine())
    >>> bases, X, y = [("mean", DummyRegressor())], np.zeros((4, 1)), np.arange(4.0)
    >>> oof = sf.out_of_fold(bases, X, y, cv=2, engine=engine)
    >>> oof.predictions[:, 0].tolist()
    [2.5, 2.5, 0.5, 0.5]
    """

    def __init__(self, otherwise: Engine | None = None):
        if otherwise is not None and not hasattr(otherwise, "run_jobs"):
            raise TypeError(
                f"otherwise must be None or an object with a method run_jobs, got {otherwise!r}."
            )
        self.otherwise = otherwise

    def check(self, job: FoldJob, data: Data) -> None:
        """Raise an error for a job that this engine cannot run.

        Its fit is begun, up to the moment when its first network is built.

        Parameters
        ----------
        job : FoldJob
            The job to check.
        data : Data
            The rows of the run.

        Raises
        ------
        CannotTrainSideBySide
            If the job has no network, or one that cannot be trained side by side, and there is no
            other engine.
        FitFailed
            If the fit fails.
        """
        if self.otherwise is not None:
            return
        reason = _reason_against(job.estimator)
        if reason is not None:
            raise errors.CannotTrainSideBySide(_advised(reason))
        drawn, fit = np.random.get_state(), PausedFit(replace(job, progress=nullcontext), data)
        try:
            fit.start()
            if fit.training is not None:
                SideBySide().add(fit.training)
        finally:
            fit.close()
            np.random.set_state(drawn)

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """Run all jobs at the same time.

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
        CannotTrainSideBySide
            If the jobs cannot be trained side by side, and there is no other engine.
        """
        jobs = iter(jobs)
        for first in jobs:
            jobs = chain([first], jobs)
            reason = _reason_against(first.estimator)
            if reason is None:
                yield from self._run_networks(list(jobs), data)
            elif self.otherwise is None:
                raise errors.CannotTrainSideBySide(_advised(reason))
            else:
                yield from self.otherwise.run_jobs(jobs, data)
            return

    def _run_networks(self, jobs: list[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        left, reason = list(enumerate(jobs)), None
        while left and reason is None:
            fitting.time_limit.check()
            group = eligibility.groups_of(left)[0]
            first = PausedFit(group[0][1], data)
            fits = [first, *(PausedFit(job, data, like=first) for _, job in group[1:])]
            drawn = np.random.get_state()
            try:
                first.start()
                if first.training is not None:
                    fits = fits[: _most_replicas(first)]
                    reason = self._reason_for_alone(first.training, len(fits))
                if reason is not None:
                    fits = [first]
                self._train(fits, reason)
                for (number, _), fit in zip(group, fits):
                    yield number, fit.outcome()
                left = left[len(fits) :]
            except errors.CannotTrainSideBySide as refusal:
                if self.otherwise is None:
                    raise
                # The attempt may have left traces in code of the user's own: all begin anew.
                reason = str(refusal)
                np.random.set_state(drawn)
                begun = {number for (number, _), fit in zip(group, fits) if fit.is_reported}
                left = [
                    (n, replace(job, progress=nullcontext) if n in begun else job)
                    for n, job in left
                ]
            finally:
                for fit in fits:
                    fit.close()
        if left and self.otherwise is not None:
            numbers, rest = zip(*left)
            for place, fit in self.otherwise.run_jobs(rest, data):
                yield numbers[place], fit._replace(how=f"{fit.how}: {reason}")

    def _reason_for_alone(self, training: Training, n_replicas: int) -> str | None:
        """Return why replicas like this one are better trained one by one; None if they are not.

        Raises
        ------
        CannotTrainSideBySide
            If they cannot be trained side by side, and there is no other engine.
        """
        try:
            eligibility.check_replica(training)
        except errors.CannotTrainSideBySide as refusal:
            if self.otherwise is None:
                raise
            return str(refusal)
        if self.otherwise is None or eligibility.worth_a_graph(training, n_replicas):
            return None
        return "a graph of all replicas would gain nothing"

    def _train(self, fits: Sequence[PausedFit], reason: str | None) -> None:
        """Train what fits wait for, until all are done; each may train several networks in turn."""
        left: Sequence[PausedFit] = fits
        while left:
            waiting = left
            while left:  # again, if one fails: its estimator may go on all the same
                if reason is None:
                    self._train_together(left)
                else:
                    _train_one_by_one(left, reason)
                failed = [fit for fit in left if fit.has_failed]
                left = [fit for fit in left if fit.training is not None and not fit.is_ready]
                for fit in failed:
                    fit.go_on()
            for fit in waiting:
                if fit.is_ready:
                    fit.go_on()
            left = [fit for fit in fits if fit.training is not None]

    def _train_together(self, fits: Sequence[PausedFit]) -> None:
        """Train what fits wait for side by side, networks of one architecture together.

        A fit is started when those before it have shown what they compute.

        Raises
        ------
        CannotTrainSideBySide
            If they cannot be trained side by side; no fit of a network itself was reported then.
        """
        together, members, others = SideBySide(), [], []
        for fit in fits:
            fit.start()
            if fit.training is None:  # it has no epochs
                continue
            try:
                together.add(fit.training)
            except errors.OtherArchitecture:
                others.append(fit)
            else:
                members.append(fit)
        if len(members) == 1 and self.otherwise is not None:
            _train_one_by_one(members, "no other network has its architecture")
        elif members:
            together.make_graphs()
            _train_in_graphs(together, members)
        if others:
            self._train_together(others)


def _train_in_graphs(together: SideBySide, fits: Sequence[PausedFit]) -> None:
    """Train what fits wait for; where one fails, the others may have to be trained again."""
    for fit in fits:
        fit.report()
    try:
        together.train()
    except errors.ReplicaFailed as failure:
        cause = failure.__cause__
        if not isinstance(cause, Exception):
            raise
        for number, fit in enumerate(fits):
            if number == failure.number:
                fit.failed(cause)
            elif fit.has_own_rows:
                fit.begin_anew()
    except Exception as error:  # of all replicas together
        raise errors.FitFailed("", error) from error
    else:
        for fit in fits:
            fit.done("side by side")


def _train_one_by_one(fits: Sequence[PausedFit], reason: str) -> None:
    for fit in fits:
        fit.report()
        if fit.training is not None:
            fit.train_alone(f"one by one: {reason}")


def _advised(reason: str) -> str:
    return f"{reason}. With engine='auto' such bases are fitted one by one."


def _reason_against(estimator) -> str | None:
    """Return why an estimator has nothing to train side by side; None if it has."""
    name = type(estimator).__name__
    if not holds_network(estimator):
        return f"{name} is not a stackfuse network, and holds none"
    return f"{name} trains its networks by an engine of its own" if has_engine(estimator) else None


def _most_replicas(fit: PausedFit) -> int:
    """Return how many fits like this one may have their rows in memory at once."""
    rows = fit.training.x
    in_memory = len(rows) * rows.bytes_per_row if fit.has_own_rows else 0
    return max(1, GROUP_BYTES // max(1, in_memory))
