"""Fits of candidates on folds, made by an engine before scikit-learn asks for them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from typing import Any

from sklearn.base import clone

from stackfuse._core import errors, sklearn_private
from stackfuse._oof import engines, jobs
from stackfuse._search.fit_times import FitTimes
from stackfuse._search.tasks import EvaluationTasks

#: Neighbours whose fits an engine is handed at once, at most; in processes it makes them all ahead.
MOST_CANDIDATES = 8

#: Names of parameters that leave the shapes of a network alone. Neighbours that differ in no others
#: are handed over together; whether they are trained together the engine decides.
_SAME_SHAPES = re.compile("optimizer|learning_rate|decay|dropout|momentum|random_state|seed")


@dataclass
class PlannedFits:
    """The fits of some candidates on some folds, in scikit-learn's order: fold after fold of each.

    A model is let go once scikit-learn has it. Where a fit fails, that and the others of its
    candidate are left to scikit-learn, which makes them itself and meets the error.

    Attributes
    ----------
    estimator : estimator
        Cloned, never fitted itself.
    candidates : list of dict
        The parameters of each.
    folds : list of Fold
        Without test rows: scikit-learn predicts them.
    data : Data
    fit_params : dict
        Passed to fit; what has one entry per row of X is cut to the training rows.
    engine : Engine
    tasks : EvaluationTasks or None
        To which the fits are reported.
    caller : estimator or None
        In the name of which they are reported.
    """

    estimator: Any
    candidates: list[dict[str, Any]]
    folds: list[jobs.Fold]
    data: jobs.Data
    fit_params: dict[str, Any]
    engine: engines.Engine
    tasks: EvaluationTasks | None = None
    caller: Any = None

    _n_cloned: int = field(default=0, init=False)
    _models: dict[int, Any] = field(default_factory=dict, init=False)
    _left: set[int] = field(default_factory=set, init=False)
    _handed: dict[int, jobs.FoldJob] = field(default_factory=dict, init=False)
    _order: list[int] = field(default_factory=list, init=False)
    _running: Iterator[tuple[int, jobs.FoldFit]] = field(
        default_factory=lambda: iter(()), init=False
    )

    def __post_init__(self):
        self.times = FitTimes(len(self.candidates) * len(self.folds))

    def next_clone(self) -> Any:
        """Return a clone of the estimator; its next fit is answered with the fit that is due.

        When all fits have been asked for, it is a clone like any other.
        """
        number, twin = self._n_cloned, clone(self.estimator)
        self._n_cloned += 1
        if number < len(self.times.seconds):
            self._make(number)
            vars(twin)["fit"] = partial(self._answer, twin, number)
        return twin

    def _answer(self, twin, number: int, *rows, **params) -> Any:
        """Stand for the ``fit`` of a clone, once."""
        del vars(twin)["fit"]
        if number in self._models:
            vars(twin).update(vars(self._models.pop(number)))
            return twin
        with self.times.of(number):
            return twin.fit(*rows, **params)

    def _make(self, number: int) -> None:
        """Let the engine run until it has made a fit, or that is left to scikit-learn."""
        while number not in self._models and number not in self._left:
            if self._handed:
                self._run_on()
            else:
                for candidate in self._alike(number // len(self.folds)):
                    self._hand_over(candidate)
                self._start()

    def _alike(self, first: int) -> list[int]:
        """Return a candidate, and those after it that may be trained in the same graph."""
        shapes = _shaping(self.candidates[first])
        places = range(first, min(first + MOST_CANDIDATES, len(self.candidates)))
        return list(takewhile(lambda place: _shaping(self.candidates[place]) == shapes, places))

    def _hand_over(self, candidate: int) -> None:
        n_folds = len(self.folds)
        numbers = range(candidate * n_folds, (candidate + 1) * n_folds)
        params = clone(self.candidates[candidate], safe=False)
        estimator = clone(self.estimator).set_params(**params)
        progress = [partial(self._around, number) for number in numbers]
        settings = {"fit_params": self.fit_params, "progress": progress}
        try:
            made = jobs.jobs_of(estimator, self.folds, **settings)
        except errors.FitFailed:  # not even a clone of it can be made
            self._left.update(numbers)
            return
        for number, job in zip(numbers, made, strict=True):
            self._handed[number] = replace(job, place=f"of candidate {candidate} {job.place}")

    def _start(self) -> None:
        self._order = list(self._handed)
        self._running = iter(self.engine.run_jobs(list(self._handed.values()), self.data))

    def _run_on(self) -> None:
        """Take the next fit from the engine."""
        try:
            with self.times.shared_by(list(self._handed)):
                place, fit = next(self._running)
        except errors.FitFailed as failure:
            self._leave(failure)
            return
        except StopIteration:
            raise RuntimeError(
                f"the engine {self.engine!r} left out {len(self._handed)} jobs"
            ) from None
        number = self._order[place]
        del self._handed[number]
        self._models[number] = fit.estimator
        if self.tasks is not None:
            self.tasks[number].answered = True

    def _leave(self, failure: errors.FitFailed) -> None:
        """Leave the fits of a candidate of which one failed; let the engine make the others."""
        n_folds = len(self.folds)
        failed = {n // n_folds for n, job in self._handed.items() if job.place == failure.place}
        for number in list(self._handed):
            if not failed or number // n_folds in failed:
                self._left.add(number)
                del self._handed[number]
        if self._handed:
            self._start()

    @contextmanager
    def _around(self, number: int, replica) -> Iterator[None]:
        """Count the time of a fit, and report it as the task that scikit-learn has for it."""
        with self.times.of(number):
            if self.tasks is None:
                yield
                return
            data, rows = self.data, self.folds[number % len(self.folds)].train
            params = sklearn_private.check_method_params(data.X, self.fit_params, indices=rows)
            weight = params.get("sample_weight")
            with self.tasks[number].around(
                replica,
                estimator=self.caller,
                X=lambda: sklearn_private.safe_indexing(data.X, rows),
                y=lambda: sklearn_private.safe_indexing(data.y, rows),
                metadata=None if weight is None else {"sample_weight": weight},
            ):
                yield


def _shaping(params: dict[str, Any]) -> dict[str, str]:
    """Return the parameters of a candidate that may shape its network, as texts."""
    return {name: repr(value) for name, value in params.items() if not _SAME_SHAPES.search(name)}
