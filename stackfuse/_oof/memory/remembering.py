"""Any engine, with a memory: a fit is found, or is made by one process while the others wait."""

import inspect
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from stackfuse._oof.contributions import holds_network
from stackfuse._oof.jobs import Data, FoldFit, FoldJob, polled, unset_random_states
from stackfuse._oof.memory.fingerprint import Fingerprint, NotComparable, fingerprint
from stackfuse._oof.memory.keeping import Keeper
from stackfuse._oof.memory.sharing import SharingEngine
from stackfuse._oof.memory.store import CannotRecall, CannotStore, Entry, Store, Trouble
from stackfuse._training import numbers_of_threads

#: Seconds between two looks at a fit that another process makes, where others go on meanwhile.
_LOOK = 0.2


class RememberingEngine:
    """Runs by another engine the jobs whose fits are not in a store, and keeps what they leave.

    Nothing that is wrong with the store stops a fit: it is told once for each base, and the fit is
    made as if there were no store.

    Parameters
    ----------
    engine : Engine
    store : Store
    name : str
        The name of the base estimator, for warnings.
    data_digest : str
        The digest of the data that the jobs are fitted on.
    """

    def __init__(self, engine: Any, store: Store, name: str, data_digest: str):
        self.engine = engine
        self.store = store
        self.name = name
        self.data_digest = data_digest
        self._has_told = False

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """See :class:`stackfuse.engines.Engine`."""
        return (answer for answer in self.poll_jobs(jobs, data) if answer is not None)

    def poll_jobs(
        self, jobs: Iterable[FoldJob], data: Data, n_networks: int = 1
    ) -> Iterator[tuple[int, FoldFit] | None]:
        """See :func:`stackfuse._oof.jobs.polled`."""
        jobs = list(jobs)
        entries = self._entries(jobs)
        missing = []
        for number, job in enumerate(jobs):
            fit = None if entries is None else self.recall(entries[number], job)
            if fit is None:
                missing.append(number)
            else:
                yield number, fit
        patience = None
        while entries is not None and missing:
            if hasattr(self.engine, "poll_jobs"):  # it may hold locks for another base
                patience = patience or entries[missing[0]].patience()
            round_ = _Round(self, [(n, jobs[n], entries[n]) for n in missing], data, patience)
            for answer in round_.run(n_networks):
                if answer is not None:
                    missing.remove(answer[0])
                    patience = None
                yield answer
        if missing:
            for answer in polled(self.engine, [jobs[n] for n in missing], data, n_networks):
                yield answer and (missing[answer[0]], answer[1])

    def recall(self, entry: Entry, job: FoldJob) -> FoldFit | None:
        """Return the fit of a job, None if it has to be made."""
        try:
            return entry.recall(job.estimator)
        except Trouble as trouble:
            self._tell(trouble)
            return None

    def commit(self, entry: Entry, job: FoldJob, fit: FoldFit, seconds: float) -> None:
        """Keep a fit, if what it depends on is still what the entry says."""
        try:
            later = self._look_at(job)
            if later.digest != entry.seen.digest:
                changed = entry.seen.first_change(later)
                changed = changed or "the estimator, its parameters or the engine"
                raise CannotStore(
                    f"Fits of base estimator {self.name!r} are not kept in memory, because "
                    f"fitting changes their inputs: {changed}"
                )
            entry.commit(fit, seconds)
        except (NotComparable, Trouble) as trouble:
            self._tell(trouble)

    def _tell(self, trouble: Exception) -> None:
        """Warn, once."""
        if not self._has_told:
            self._has_told = True
            if not isinstance(trouble, CannotRecall | CannotStore):
                trouble = Trouble(
                    f"Base estimator {self.name!r} is fitted without memory: {trouble}"
                )
            warnings.warn(f"{trouble}.", stacklevel=3)

    def _entries(self, jobs: list[FoldJob]) -> list[Entry] | None:
        """Return the entry of each job, or None if they cannot be kept."""
        if not jobs or isinstance(jobs[0].estimator, FrozenEstimator):
            return None
        try:
            seen = self._look_at(jobs[0])
            is_seeded = bool(unset_random_states(jobs[0].estimator))
            return [self._entry(job, seen, job.seed if is_seeded else None) for job in jobs]
        except NotComparable as trouble:
            self._tell(trouble)
            return None

    def _look_at(self, job: FoldJob) -> Fingerprint:
        """Return the digest of all that the jobs of a run share."""
        threads = numbers_of_threads() if holds_network(job.estimator) else None
        params = {name: _as_array(job.fit_params[name]) for name in sorted(job.fit_params)}
        engine = identity_of(self.engine)
        elsewhere = getattr(self.engine, "circumstances", None)
        try:
            there = None if elsewhere is None else elsewhere()
        except ValueError as error:
            raise NotComparable(str(error)) from error
        parts = [job.estimator, params, threads, *([] if there is None else [there])]
        return self.store.look_at(self.data_digest, engine, *parts)

    def _entry(self, job: FoldJob, seen: Fingerprint, seed: int | None) -> Entry:
        train, test = job.fold
        method = job.method if len(test) else None
        title = f"base estimator {self.name!r} {job.place}"
        parts = (seed, job.inner_folds, job.inner_seed, train, test, method)
        return self.store.entry(title, seen, *parts, keep=job.keep_model, n_rows=len(test))


def identity_of(engine: Any) -> list:
    """Return the identity of an engine; for fits, the number of processes does not matter.

    Parameters
    ----------
    engine : Engine
        One of ours is known by its class and by engines of others within it; one of others by
        its class and, as an estimator is, by the parameters of its constructor (other attributes
        may count what it does), or by all that it holds where these are not kept by name.
    """
    engine = engine.engine if isinstance(engine, SharingEngine) else engine
    kind = type(engine)
    if kind.__module__.partition(".")[0] != "stackfuse":
        names = inspect.signature(kind).parameters
        kept = all(hasattr(engine, name) for name in names)
        return [kind, [getattr(engine, name) for name in names] if kept else engine]
    inner = [part for part in vars(engine).values() if hasattr(part, "run_jobs")]
    own = [identity_of(part) for part in inner if "stackfuse" not in type(part).__module__]
    return [kind.__qualname__, *own]


class _Round:
    """One run of the jobs that no other process is making at the time.

    Nothing is waited for while anything is held, so that two processes never wait for each other.
    """

    def __init__(
        self,
        memory: RememberingEngine,
        wanted: list[tuple[int, FoldJob, Entry]],
        data: Data,
        patience: Any,
    ):
        self.memory = memory
        self.engine = memory.engine
        self.wanted = wanted
        self.data = data
        self.patience = patience  # None where one may wait for others in a call
        self.found: list[tuple[int, FoldFit]] = []
        self.taken: list[tuple[int, FoldJob, Entry, Callable[[], None]]] = []

    def run(self, n_networks: int) -> Iterator[tuple[int, FoldFit] | None]:
        """Yield the fits that were made, or found once it was our turn; None while one waits."""
        done: set[int] = set()
        start = time.perf_counter()
        try:
            for answer in polled(self.engine, self._jobs(), self.data, n_networks):
                if answer is None:
                    yield None
                    continue
                place, fit = answer
                if place in done:
                    raise RuntimeError(f"the engine {self.engine!r} ran a job twice")
                number, job, entry, unlock = self.taken[place]
                if not (isinstance(job.keeper, Keeper) and job.keeper.has_kept()):
                    self.memory.commit(entry, job, fit, time.perf_counter() - start)
                unlock()
                done.add(place)
                yield number, fit
                start = time.perf_counter()
            if len(done) < len(self.taken):
                raise RuntimeError(f"the engine {self.engine!r} left out jobs")
        finally:
            for place, (*_, unlock) in enumerate(self.taken):
                if place not in done:
                    unlock()
        if not (self.taken or self.found):
            time.sleep(_LOOK)
            yield None
        yield from self.found

    def _jobs(self) -> Iterator[FoldJob]:
        """Hand out each job when it is about to be run, locked."""
        for number, job, entry in self.wanted:
            unlock = entry.lock(wait=False)
            job = _with_keeper(job, entry)
            if unlock is not None and self._is_new(number, job, entry, unlock):
                yield job
        if not (self.taken or self.found):
            number, job, entry = self.wanted[0]
            job = _with_keeper(job, entry)
            unlock = entry.lock(wait=self.patience or True)
            if unlock is not None and self._is_new(number, job, entry, unlock):
                yield job

    def _is_new(self, number: int, job: FoldJob, entry: Entry, unlock: Callable[[], None]) -> bool:
        """Whether a job has still to be run: another process may have been at it."""
        fit = self.memory.recall(entry, job)
        if fit is None:
            self.taken.append((number, job, entry, unlock))
            return True
        unlock()
        self.found.append((number, fit))
        return False


def _with_keeper(job: FoldJob, entry: Entry) -> FoldJob:
    """Return a job that keeps its fit where it runs; others would load TensorFlow for it."""
    return replace(job, keeper=Keeper(entry)) if holds_network(job.estimator) else job


def _as_array(values) -> Any:
    """Return a list or a Series as an array, and all else as it is."""
    return np.asarray(values) if isinstance(values, list | pd.Series) else values


def digest_of(data: Data) -> str | None:
    """Return the digest of data; None, with a warning, if X cannot be digested."""
    X = np.asarray(data.X) if isinstance(data.X, list) else data.X
    try:
        return fingerprint(X, data.y)
    except NotComparable as error:
        warnings.warn(f"No fit is kept in memory, because in X {error}.", stacklevel=2)
        return None
