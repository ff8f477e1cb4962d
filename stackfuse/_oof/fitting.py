"""The fits of all base estimators: seeded, kept, reported, and what happens when one fails."""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sklearn.frozen import FrozenEstimator

from stackfuse._core import errors, fitting, messages, multi_input, progress
from stackfuse._oof import memory
from stackfuse._oof.alignment import in_one_frame
from stackfuse._oof.bases import with_memory
from stackfuse._oof.checks import FitCheck, UnusablePredictions
from stackfuse._oof.contributions import FEATURES, holds_network
from stackfuse._oof.engines.base import Engine
from stackfuse._oof.engines.named import engine_named
from stackfuse._oof.folds import Fold
from stackfuse._oof.jobs import (
    FROM_MEMORY,
    Data,
    FoldFit,
    FoldJob,
    derived_seed,
    jobs_of,
    polled,
)
from stackfuse._oof.result import in_memory, set_aside

#: The tasks of a base's fits, for progress.
Tasks = Sequence[progress.FitTask]

#: From the name of a base to a context around its fits, which yields a task for each, or None.
Report = Callable[[str], AbstractContextManager[Tasks | None]]


_SETTINGS = {
    "random_state": fitting.Wanted(
        lambda seed: seed is None or fitting.is_whole(seed, 0), "None or an integer of at least 0"
    ),
    "time_limit": fitting.Wanted(
        lambda seconds: seconds is None or fitting.is_limit(seconds),
        "a positive number of seconds, or None for no limit",
    ),
}


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
    time_limit : float or None
        Seconds for the fits of all bases.
    """

    engine: str | Engine = "auto"
    n_jobs: int | None = None
    memory: Any = None
    on_error: str = "raise"
    random_state: int | None = None
    time_limit: float | None = None

    def __post_init__(self):
        if self.on_error not in ("raise", "drop"):
            raise ValueError(f"on_error must be 'raise' or 'drop', got {self.on_error!r}.")
        fitting.check_settings(vars(self), _SETTINGS)
        engine_named(self.engine, self.n_jobs)
        self.store()

    def store(self) -> Any:
        """Return where fits are kept, or None."""
        return None if self.memory is None else memory.store_named(self.memory)


@dataclass
class Fits:
    """The fits of the base estimators, and those that failed.

    Attributes
    ----------
    of : dict of str to list of FoldFit
        By the name of the base; those that failed are missing.
    failures : dict of str to str
        Why the others were dropped.
    is_out_of_time : bool
        Whether any of them was not finished in time.
    seconds : dict of str to float
        From the begin of a base's first fit to the end of its last, by its name.
    inside : dict of str to str
        How many fits there were in stacks inside of a base, by its name.
    """

    of: dict[str, list[FoldFit]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    is_out_of_time: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    inside: dict[str, str] = field(default_factory=dict)

    def forget_predictions(self) -> None:
        """Let go of the predictions of all folds, once they are put together."""
        for name, fits in self.of.items():
            self.of[name] = [fit._replace(predictions=None) for fit in fits]

    def how_fitted(self) -> dict[str, str]:
        """Return how each base was fitted, by its name."""
        return {
            name: "; ".join(filter(None, [_how(of_base), self.inside.get(name)]))
            for name, of_base in self.of.items()
        }

    def check_any_left(self) -> None:
        """Raise if all base estimators have failed, or none was finished in time."""
        if not self.of:
            reasons = "; ".join(
                f"{messages.printable(name)}: {reason}" for name, reason in self.failures.items()
            )
            if self.is_out_of_time:
                raise TimeoutError(
                    f"No base estimator was finished in time, so there is nothing to stack. "
                    f"{reasons}. Give a larger time_limit, or begin with a base that takes less."
                )
            raise ValueError(f"All base estimators failed, so there is nothing to stack. {reasons}")

    def handle_failure(self, name: str, failure: errors.FitFailed, options: FitOptions) -> None:
        """Note why a base is dropped, with a warning; or raise what its fit raised.

        Called when no error is being handled, so that the cause has no other context. A memory
        keeps no failure: a file, a package or a device may have been missing, which no digest
        knows of.
        """
        cause, place = failure.cause, f" {failure.place}" if failure.place else ""
        what = f"Base estimator {name!r} failed{place}"
        if options.on_error == "raise":
            if isinstance(cause, UnusablePredictions):
                raise ValueError(f"{what}: {cause}.") from cause
            if failure.__cause__ not in (None, cause):  # where a process raised it
                cause.__cause__ = failure.__cause__
            cause.add_note(f"{what}.")
            raise cause
        why = str(cause) if isinstance(cause, UnusablePredictions) else _in_one_line(cause)
        again = "" if options.memory is None else _TRIED_AGAIN.format((name, "drop"))
        warnings.warn(f"{what} and is dropped. {why}{again}", stacklevel=3)
        self.failures[name] = f"{why}{place and f' ({failure.place})'}"

    def leave_out(self, name: str, late: "NotFinished", options: FitOptions) -> None:
        """Note, with a warning, that a base was not finished in time."""
        kept = "" if options.memory is None else "; what it finished is kept for the next run"
        warnings.warn(f"Base estimator {name!r} is left out: {late}{kept}.", stacklevel=3)
        self.failures[name], self.is_out_of_time = str(late), True


#: The message about a base that failed, for users of a memory.
_TRIED_AGAIN = (
    "; the fits that it finished are kept, and those that failed are tried again at every run. To "
    "leave it out from now on, write {} in estimators."
)


class NotFinished(Exception):
    """Raised if the time is over before all fits of a base are made; the message is for users."""


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {errors.message_of(error)}"


@dataclass(frozen=True)
class BaseFitter:
    """Fits base estimators on the same folds.

    Attributes
    ----------
    data : Data
    folds : sequence of Fold
        The last one may be that of all rows.
    options : FitOptions
    check : FitCheck
        Raises if the predictions of a base cannot be used.
    keep : callable
        Whether the model of a fold will be needed once it has predicted.
    aside : WrittenRows or None
        Takes the predictions, if they are not to be in memory.
    """

    data: Data
    folds: Sequence[Fold]
    options: FitOptions
    check: FitCheck
    keep: Callable[[Fold], bool]
    aside: multi_input.WrittenRows | None = None

    def fit(
        self,
        named: Sequence[tuple[str, Any]],
        fit_params: dict[str, dict],
        report: Report,
    ) -> Fits:
        """Fit every base estimator on every fold.

        Parameters
        ----------
        named : sequence of (str, estimator)
        fit_params : dict of str to dict
            By the name of the base.
        report : Report

        Raises
        ------
        Exception
            With ``on_error="raise"`` what a fit raised, with a note that names base and fold.
        ValueError
            If all bases failed.
        """
        done, store, seconds = Fits(), self.options.store(), self.options.time_limit
        limit = None if seconds is None else fitting.time_limit.TimeLimit(seconds)
        if self.options.on_error == "raise":
            self._check_engine(named, fit_params, done)
        digest = None if store is None else memory.digest_of(self.data)
        engine: Any = engine_named(self.options.engine, self.options.n_jobs)
        outer = memory.around()
        if outer is not None and not hasattr(engine, "poll_jobs"):
            engine = memory.SharingEngine(engine, outer)
        n_networks = sum(holds_network(base) for _, base in named)
        left = {}
        for name, base in named:
            of_base = engine
            if store is not None and digest is not None:
                of_base = memory.RememberingEngine(engine, store, name, digest)
            jobs = partial(self._jobs, name, base, fit_params.get(name, {}))
            run = partial(polled, of_base, data=self.data, n_networks=n_networks)
            left[name] = self._fit_base(name, jobs, run, report, limit)
        with memory.fits_inside(base for _, base in named) as inside:
            try:
                self._fit_bases(left, done, (lambda: "") if outer else inside.told)
            finally:
                for fits in left.values():
                    fits.close()
        done.of = {name: done.of[name] for name, _ in named if name in done.of}
        done.check_any_left()
        return done

    def _fit_bases(
        self, left: dict[str, Iterator[None]], done: Fits, told: Callable[[], str]
    ) -> None:
        """Fit bases, and take each out of those left once it is fitted or has failed.

        An engine may have the jobs of several bases at the same time: while one base has no result
        yet, the next one is asked. With all other engines, one base is fitted after the other.
        """
        begun: dict[str, float] = {}
        while left:
            for name, fits in list(left.items()):
                failure = None
                begun.setdefault(name, time.perf_counter())
                try:
                    next(fits)
                    continue
                except StopIteration as end:
                    done.of[name] = end.value
                    if any(fit.how != FROM_MEMORY for fit in end.value):
                        done.seconds[name] = time.perf_counter() - begun[name]
                    done.inside[name] = told()
                except NotFinished as late:
                    done.leave_out(name, late, self.options)
                except errors.FitFailed as error:
                    failure = error
                except errors.EngineFailed:
                    raise
                except Exception as error:  # of the engine: it declines, or a process was killed
                    failure = errors.FitFailed("", error)
                del left[name]
                if failure is not None:
                    done.handle_failure(name, failure, self.options)

    def _check_engine(
        self, named: Sequence[tuple[str, Any]], fit_params: dict[str, dict], fits: Fits
    ) -> None:
        """Raise if the engine can tell that it does not run the jobs of a base.

        The first base is not asked about: nothing is lost if its jobs are not run.
        """
        engine: Any = engine_named(self.options.engine, self.options.n_jobs)
        for name, base in named[1:] if hasattr(engine, "check") else ():
            failure = None
            try:
                first, *_ = self._jobs(name, base, fit_params.get(name, {}), None)
                engine.check(first, self.data)
            except errors.FitFailed as error:
                failure = error
            except ValueError as refusal:
                failure = errors.FitFailed("", refusal)
            if failure is not None:
                fits.handle_failure(name, failure, self.options)

    def _jobs(self, name: str, base, fit_params: dict, reports: Tasks | None) -> list[FoldJob]:
        frozen, method = isinstance(base, FrozenEstimator), self.check.methods[name]
        every, seed = frozen or method == FEATURES, self.options.random_state
        return jobs_of(
            with_memory(base, self.options.memory),
            self.folds,
            method=method,
            fit_params=fit_params,
            seeds=fold_seeds(self.options.random_state, name, self.folds),
            inner_seed=None if seed is None else derived_seed(seed, name, "inside"),
            keep_models=[every or self.keep(fold) for fold in self.folds],
            progress=reports,
        )

    def _fit_base(
        self,
        name: str,
        jobs_of_base: Callable[[Tasks | None], list[FoldJob]],
        run: Callable[[list[FoldJob]], Iterator[tuple[int, FoldFit] | None]],
        report: Report,
        limit: fitting.time_limit.TimeLimit | None,
    ) -> Generator[None, None, list[FoldFit]]:
        """Return the fits of a base; yield where another base may be fitted meanwhile."""
        found: dict[int, FoldFit] = {}
        with report(name) as reports:
            jobs = jobs_of_base(reports)
            pace, memory_taken = _Pace(len(jobs), limit), _MemoryTaken(name, jobs)
            with pace.told_if_late():
                for answer in _limited(run(jobs), limit):
                    if answer is None:
                        yield
                        continue
                    number, fit = answer
                    if number in found:
                        raise RuntimeError(
                            f"the engine {self.options.engine!r} ran job {number} twice"
                        )
                    found[number] = self._set_aside(fit)
                    if reports is not None:
                        reports[number].report_as_done()
                    memory_taken.note(number, fit)
                    pace.note(fit)
            left = set(range(len(jobs))) - set(found)
            if left:
                raise RuntimeError(
                    f"the engine {self.options.engine!r} left out jobs {sorted(left)}"
                )
            return self._checked(name, jobs, [found[number] for number in range(len(jobs))])

    def _set_aside(self, fit: FoldFit) -> FoldFit:
        return fit if self.aside is None else set_aside(fit, self.aside)

    def _checked(self, name: str, jobs: list[FoldJob], fits: list[FoldFit]) -> list[FoldFit]:
        """Return the fits of a base, features in one frame, if their predictions can be used."""
        self.check(name, jobs, fits)
        if self.check.methods[name] != FEATURES:
            return fits
        fits = [fit._replace(predictions=in_memory(fit.predictions)) for fit in fits]
        fits = [self._set_aside(fit) for fit in in_one_frame(fits, jobs, self.data.X)]
        frozen = isinstance(jobs[0].estimator, FrozenEstimator)
        needed = [replace(job, keep_model=frozen or self.keep(job.fold)) for job in jobs]
        return [job.kept(fit) for job, fit in zip(needed, fits, strict=True)]


def _limited(
    answers: Iterator[tuple[int, FoldFit] | None], limit: fitting.time_limit.TimeLimit | None
) -> Iterator[tuple[int, FoldFit] | None]:
    """Yield answers that are computed within a limit, which holds for nothing in between."""
    while True:
        with fitting.time_limit.within(limit):
            try:
                answer = next(answers)
            except StopIteration:
                return
            if answer is None:
                fitting.time_limit.check()
        yield answer


class _Pace:
    """How fast the fits of a base are made: whether those that are left can be made in time."""

    def __init__(self, n_jobs: int, limit: fitting.time_limit.TimeLimit | None):
        self.n_jobs, self.limit = n_jobs, limit
        self._n_done, self._made_at = 0, []

    def note(self, fit: FoldFit) -> None:
        """Note that a fit is there.

        Raises
        ------
        OutOfTime
            If the others will take longer than is left, at the pace of those before.
        """
        self._n_done += 1
        if fit.how != FROM_MEMORY:
            self._made_at.append(time.monotonic())
        n_paced, n_left = len(self._made_at) - 1, self.n_jobs - self._n_done
        if self.limit is None or n_paced < 1 or not n_left:  # the first also compiled or imported
            return
        if (self._made_at[-1] - self._made_at[0]) / n_paced * n_left > self.limit.left:
            raise fitting.time_limit.OutOfTime(self.limit)

    @contextmanager
    def told_if_late(self) -> Iterator[None]:
        """Raise NotFinished where the time is over; that of a stack around is for that stack."""
        try:
            yield
        except fitting.time_limit.OutOfTime as over:
            if over.limit is not self.limit:
                raise
            raise NotFinished(
                f"{self._n_done} of its {self.n_jobs} fits could be made within {self.limit}"
            ) from None


def _how(fits: Sequence[FoldFit]) -> str:
    """Return how the fits of a base were made, and how many were kept if only some were."""
    ways = Counter(fit.how or "by an engine of its own" for fit in fits)
    if len(ways) > 1 and FROM_MEMORY in ways:
        some = f"{ways.pop(FROM_MEMORY)} of {len(fits)} fits {FROM_MEMORY}"
        return "; ".join([some, *ways])
    return "; ".join(ways)


#: Less is no reason to warn, for a process grows by some megabytes in any case.
_LEAST_TOLD = 2**25


class _MemoryTaken:
    """The memory of a base's first fit in this process, to warn before memory runs out."""

    def __init__(self, name: str, jobs: Sequence[FoldJob]):
        self.name, self.jobs = name, jobs
        self._before = fitting.memory_use.used()

    def note(self, number: int, fit: FoldFit) -> None:
        """Warn if the fits that are left will take more than is free, going by the first."""
        before, self._before = self._before, None
        if before is None or fit.how == FROM_MEMORY:
            return
        now, free = fitting.memory_use.used(), fitting.memory_use.free()
        if now is None or free is None:
            return
        stays = max(0, now[0] - before[0])
        others = [job for k, job in enumerate(self.jobs) if k != number]
        most = now[1] - before[0] if now[1] > before[1] else stays  # for a moment, in the fit
        kept = sum(job.keep_model for job in others) if self.jobs[number].keep_model else 0
        needed = max(most, kept * stays) if others else 0
        if needed > max(free, _LEAST_TOLD):
            size = messages.size_in_words
            warnings.warn(
                f"Base estimator {self.name!r} took {size(most)} of memory for its first fit. The "
                f"other {len(others)} fits will take about {size(needed)}, but {size(free)} are "
                "free. Use fewer rows or folds, or refit=True, which keeps one model of each "
                "base.",
                stacklevel=4,
            )


def no_report(name: str) -> AbstractContextManager[None]:
    """Report nothing of the fits of a base."""
    return nullcontext()


def fold_seeds(random_state: int | None, name: str, folds: Sequence[Fold]) -> list[int | None]:
    """Return one seed per fold for the base estimator of that name; all rows have their own."""
    if random_state is None:
        return [None] * len(folds)
    places = [k if len(fold.test) else "all rows" for k, fold in enumerate(folds)]
    return [derived_seed(random_state, name, place) for place in places]
