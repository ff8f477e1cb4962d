"""All replicas of one network at the same time, in compiled graphs."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from stackfuse._core import errors, multi_input, sklearn_private
from stackfuse._keras import Rows
from stackfuse._networks import BegunFit, NetworkEstimator
from stackfuse._oof.contributions import is_network
from stackfuse._oof.engines.base import Engine
from stackfuse._oof.jobs import Data, FoldFit, FoldJob, plain_history
from stackfuse._training import SideBySide, Training, eligibility, prediction, train


class SideBySideEngine:
    """The fold replicas of a network, trained side by side.

    Parameters
    ----------
    otherwise : Engine, default=None
        Runs jobs that cannot be trained side by side, or gain nothing by it. By default the first
        is an error, and the second are trained side by side all the same.
    """

    def __init__(self, otherwise: Engine | None = None):
        self.otherwise = otherwise

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """See :class:`stackfuse.engines.Engine`.

        Raises
        ------
        CannotTrainSideBySide
            With the reason, if there is no other engine.
        """
        jobs = iter(jobs)
        for first in jobs:
            jobs = chain([first], jobs)
            if is_network(first.estimator):
                yield from self._run_networks(list(jobs), data)
            elif self.otherwise is None:
                kind = type(first.estimator).__name__
                raise errors.CannotTrainSideBySide(f"{kind} is no network of ours")
            else:
                yield from self.otherwise.run_jobs(jobs, data)
            return

    def _run_networks(self, jobs: list[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        left = dict(enumerate(jobs))
        for group in eligibility.groups_of(list(left.items())):
            try:
                _refuse_own_fit(jobs[0].estimator)
                models = _fit_together(dict(group), data, self._is_better_alone)
            except errors.CannotTrainSideBySide:
                if self.otherwise is None:
                    raise
                break
            alone = len(models) < len(group)  # the first of them showed that it is better so
            for number in sorted(models):
                yield number, _outcome(left.pop(number), models.pop(number), data)
            if alone:
                break
        if left and self.otherwise is not None:
            numbers = list(left)
            for place, fit in self.otherwise.run_jobs(left.values(), data):
                yield numbers[place], fit

    def _is_better_alone(self, training: Training, n_replicas: int) -> bool:
        """Whether replicas like this one cannot be trained side by side, or gain nothing by it.

        Raises
        ------
        CannotTrainSideBySide
            If they cannot, and there is no other engine.
        """
        try:
            eligibility.check_replica(training)
        except errors.CannotTrainSideBySide:
            if self.otherwise is None:
                raise
            return True
        return self.otherwise is not None and not eligibility.worth_a_graph(training, n_replicas)


def _fit_together(
    jobs: dict[int, FoldJob], data: Data, is_better_alone: Callable[[Training, int], bool]
) -> dict[int, Any]:
    """Return the fitted replicas of jobs, by their numbers.

    All fits are begun, and their graphs made, before the first is reported as a task: a task
    cannot be taken back. A first replica that is better alone is trained as it is, and is the only
    one that is returned.

    Raises
    ------
    CannotTrainSideBySide
        If they cannot be trained together. None has been then, no task was reported, and numpy's
        random state, which seeds replicas without a random state, is as it was.
    """
    together = SideBySide()
    models: dict[int, Any] = {}
    waiting: list[tuple[FoldJob, Any, BegunFit]] = []
    drawn = np.random.get_state()
    try:
        for number, job in jobs.items():
            models[number], fit = _begin(job, data)
            if fit.training is None:  # there are no epochs
                _complete(job, models[number], fit, train)
                continue
            if not waiting and is_better_alone(fit.training, len(jobs)):
                _complete(job, models[number], fit, train)
                return models
            waiting.append((job, models[number], fit))
            fit.share_x(waiting[0][-1])
            together.add(fit.training)
        together.make_graphs()
    except errors.CannotTrainSideBySide:
        np.random.set_state(drawn)
        raise
    if waiting:
        _complete_from(0, waiting, together)
    return models


def _refuse_own_fit(estimator) -> None:
    """Raise if a subclass has a fit of its own, which would not be called."""
    kind = type(estimator)
    if kind.fit is not NetworkEstimator.fit:
        raise errors.CannotTrainSideBySide(f"{kind.__name__} has a fit of its own")


def _begin(job: FoldJob, data: Data) -> tuple[Any, BegunFit]:
    """Return the replica of a job, and its fit up to the training."""
    rows = job.fold.train
    with job.failing_here(may_decline=True):
        model = job.replica()
        y = sklearn_private.safe_indexing(data.y, rows)
        return model, model.begin(data.X, y, rows, **job.params(data))


def _complete(job: FoldJob, model, fit: BegunFit, by: Callable[[Training], None]) -> None:
    with job.failing_here(may_decline=True), job.progress(model):
        model.complete(fit, by)


def _complete_from(
    place: int, waiting: list[tuple[FoldJob, Any, BegunFit]], together: SideBySide
) -> None:
    """Complete fits inside of each other: the innermost trains the replicas of all."""
    if place < len(waiting):
        _complete(*waiting[place], lambda training: _complete_from(place + 1, waiting, together))
        return
    try:
        together.train()
    except errors.ReplicaFailed as failure:
        cause = failure.__cause__
        if not isinstance(cause, Exception):
            raise
        raise errors.FitFailed(waiting[failure.number][0].place, cause) from cause
    except Exception as error:  # of all replicas together
        raise errors.FitFailed("", error) from error


def _outcome(job: FoldJob, model, data: Data) -> FoldFit:
    """Return what a fitted replica leaves; rows that are read lazily are predicted in pieces."""
    with job.failing_here():
        test = job.fold.test
        if not (len(test) and multi_input.is_lazy(data.X)):
            return job.outcome(model, data)
        n_rows = prediction.rows_per_call(Rows(data.X, model.model_, test))
        pieces = (test[start : start + n_rows] for start in range(0, len(test), n_rows))
        predict = getattr(model, job.method)
        parts = [predict(sklearn_private.safe_indexing(data.X, piece)) for piece in pieces]
        several = isinstance(parts[0], list)
        joined = [np.concatenate(p) for p in zip(*parts)] if several else np.concatenate(parts)
        return job.kept(FoldFit(model, joined, plain_history(model)))
