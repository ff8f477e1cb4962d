"""The fits of all base estimators: seeded, kept, reported, and what happens when one fails."""

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sklearn.frozen import FrozenEstimator

from stackfuse._core import errors, fitting, messages, progress
from stackfuse._oof import memory
from stackfuse._oof.alignment import in_one_frame
from stackfuse._oof.bases import with_memory
from stackfuse._oof.checks import FitCheck, UnusablePredictions
from stackfuse._oof.contributions import FEATURES, holds_network
from stackfuse._oof.engines.base import Engine
from stackfuse._oof.engines.named import engine_named
from stackfuse._oof.folds import Fold
from stackfuse._oof.jobs import Data, FoldFit, FoldJob, derived_seed, jobs_of, polled

#: The tasks of a base's fits, for progress.
Tasks = Sequence[progress.FitTask]

#: From the name of a base to a context around its fits, which yields a task for each, or None.
Report = Callable[[str], AbstractContextManager[Tasks | None]]


_SETTINGS = {
    "random_state": fitting.Wanted(
        lambda seed: seed is None or fitting.is_whole(seed, 0), "None or an integer of at least 0"
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
    """

    engine: str | Engine = "auto"
    n_jobs: int | None = None
    memory: Any = None
    on_error: str = "raise"
    random_state: int | None = None

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
    """What became of the base estimators.

    Attributes
    ----------
    of : dict of str to list of FoldFit
        By the name of the base; those that failed are missing.
    failures : dict of str to str
        Why the others were dropped.
    """

    of: dict[str, list[FoldFit]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def how_fitted(self) -> dict[str, str]:
        """Return how each base was fitted, by its name."""
        return {
            name: "; ".join(dict.fromkeys(fit.how or "by an engine of its own" for fit in of_base))
            for name, of_base in self.of.items()
        }

    def check_any_left(self) -> None:
        """Raise if all base estimators have failed."""
        if not self.of:
            reasons = "; ".join(
                f"{messages.printable(name)}: {reason}" for name, reason in self.failures.items()
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


#: What a user of a memory is told of a base that failed.
_TRIED_AGAIN = (
    "; the fits that it finished are kept, and those that failed are tried again at every run. To "
    "leave it out from now on, write {} in estimators."
)


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
    """

    data: Data
    folds: Sequence[Fold]
    options: FitOptions
    check: FitCheck
    keep: Callable[[Fold], bool]

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
        done, store = Fits(), self.options.store()
        if self.options.on_error == "raise":
            self._check_engine(named, fit_params, done)
        digest = None if store is None else memory.digest_of(self.data)
        engine: Any = engine_named(self.options.engine, self.options.n_jobs)
        n_networks = sum(holds_network(base) for _, base in named)
        left = {}
        for name, base in named:
            of_base = engine
            if store is not None and digest is not None:
                of_base = memory.RememberingEngine(engine, store, name, digest)
            jobs = partial(self._jobs, name, base, fit_params.get(name, {}))
            left[name] = self._fit_base(name, jobs, of_base, report, n_networks)
        try:
            self._fit_bases(left, done)
        finally:
            for fits in left.values():
                fits.close()
        done.of = {name: done.of[name] for name, _ in named if name in done.of}
        done.check_any_left()
        return done

    def _fit_bases(self, left: dict[str, Iterator[None]], done: Fits) -> None:
        """Fit bases, and take each out of those left once it is fitted or has failed.

        An engine may have the jobs of several at the same time: then one is left for the next
        while there is nothing to be had of it. Of all other engines one is fitted after the other.
        """
        while left:
            for name, fits in list(left.items()):
                failure = None
                try:
                    next(fits)
                    continue
                except StopIteration as end:
                    done.of[name] = end.value
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
        every = frozen or method == FEATURES  # features are aligned by all models
        return jobs_of(
            with_memory(base, self.options.memory),
            self.folds,
            method=method,
            fit_params=fit_params,
            seeds=fold_seeds(self.options.random_state, name, self.folds),
            keep_models=[every or self.keep(fold) for fold in self.folds],
            progress=reports,
        )

    def _fit_base(
        self,
        name: str,
        jobs_of_base: Callable[[Tasks | None], list[FoldJob]],
        engine: Any,
        report: Report,
        n_networks: int,
    ) -> Generator[None, None, list[FoldFit]]:
        """Return the fits of a base; yield where another base may be fitted meanwhile."""
        found: dict[int, FoldFit] = {}
        with report(name) as reports:
            jobs = jobs_of_base(reports)
            for answer in polled(engine, jobs, self.data, n_networks):
                if answer is None:
                    yield
                    continue
                number, fit = answer
                if number in found:
                    raise RuntimeError(
                        f"the engine ran job {number} twice: {self.options.engine!r}"
                    )
                found[number] = fit
                if reports is not None:
                    reports[number].report_as_done()
            left = set(range(len(jobs))) - set(found)
            if left:
                raise RuntimeError(
                    f"the engine left out jobs {sorted(left)}: {self.options.engine!r}"
                )
            return self._checked(name, jobs, [found[number] for number in range(len(jobs))])

    def _checked(self, name: str, jobs: list[FoldJob], fits: list[FoldFit]) -> list[FoldFit]:
        """Return the fits of a base, features in one frame, if their predictions can be used."""
        self.check(name, jobs, fits)
        if self.check.methods[name] != FEATURES:
            return fits
        fits = in_one_frame(fits, jobs, self.data.X)
        frozen = isinstance(jobs[0].estimator, FrozenEstimator)
        needed = [replace(job, keep_model=frozen or self.keep(job.fold)) for job in jobs]
        return [job.kept(fit) for job, fit in zip(needed, fits, strict=True)]


def no_report(name: str) -> AbstractContextManager[None]:
    """Report nothing of the fits of a base."""
    return nullcontext()


def fold_seeds(random_state: int | None, name: str, folds: Sequence[Fold]) -> list[int | None]:
    """Return one seed per fold for the base estimator of that name; all rows have their own."""
    if random_state is None:
        return [None] * len(folds)
    places = [k if len(fold.test) else "all rows" for k, fold in enumerate(folds)]
    return [derived_seed(random_state, name, place) for place in places]
