"""The loop over joblib: folds at the same time, in whatever ``joblib.parallel_config`` names."""

import multiprocessing
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace

import joblib
from joblib.parallel import (
    LokyBackend,
    MultiprocessingBackend,
    SequentialBackend,
    ThreadingBackend,
    get_active_backend,
)
from sklearn.utils.parallel import Parallel, delayed

from stackfuse._core import errors, fitting
from stackfuse._oof.contributions import holds_network
from stackfuse._oof.jobs import Data, FoldFit, FoldJob

#: Seconds that processes must save before networks are trained in them: each imports TensorFlow.
WORTH_PROCESSES = 45.0


#: The backends of joblib that compute on this machine.
_LOCAL = (LokyBackend, MultiprocessingBackend, SequentialBackend, ThreadingBackend)


class JoblibEngine:
    """Several folds at the same time, by joblib.

    Networks are trained one after another until processes would save time: TensorFlow already uses
    all cores for one network, every further process takes many seconds to import it, and threads
    that train at once are slower. If ``joblib.parallel_config`` names a backend on other machines,
    such as Dask or Ray, all jobs go there.

    Parameters
    ----------
    n_jobs : int or None
        The number of jobs at a time, as in joblib. None takes it from ``joblib.parallel_config``.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> from sklearn.dummy import DummyRegressor
    >>> bases, X, y = [("mean", DummyRegressor())], np.zeros((4, 1)), np.arange(4.0)
    >>> oof = sf.out_of_fold(bases, X, y, cv=2, engine=sf.engines.JoblibEngine(n_jobs=1))
    >>> oof.predictions[:, 0].tolist()
    [2.5, 2.5, 0.5, 0.5]
    """

    def __init__(self, n_jobs: int | None):
        fitting.check_settings({"n_jobs": n_jobs}, {"n_jobs": fitting.JOBS})
        self.n_jobs = n_jobs

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """Run several jobs at a time.

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
        _refuse_forks()
        left, n_done, start = list(jobs), 0, time.perf_counter()
        elsewhere = names_backend_elsewhere(self.n_jobs)
        while left and not elsewhere and holds_network(left[0].estimator):
            if self._processes_pay(time.perf_counter() - start, n_done, len(left)):
                break
            yield n_done, left.pop(0).run(data)
            n_done += 1
        how = f"{joblib.effective_n_jobs(self.n_jobs)} at a time"
        if elsewhere:
            how += f" by joblib's {type(get_active_backend()[0]).__name__}"
        for number, fit in enumerate(self._run_at_once(left, data), n_done):
            yield number, fit._replace(how=how)

    def _run_at_once(self, jobs: list[FoldJob], data: Data) -> Iterator[FoldFit]:
        """Yield what jobs leave; a limit of time ends the processes that run them."""
        fitting.time_limit.check()
        limit = fitting.time_limit.nearest()
        backend = get_active_backend()[0]
        as_they_come = "generator" if backend.supports_return_generator else "list"
        parallel = Parallel(n_jobs=self.n_jobs, return_as=as_they_come)
        parallel.timeout = None if limit is None else limit.left
        fits: Iterable[FoldFit] = ()
        try:
            fits = parallel(delayed(_run)(replace(job, progress=nullcontext), data) for job in jobs)
            for fit in fits:
                yield fit
                parallel.timeout = None if limit is None else limit.left
        except multiprocessing.TimeoutError:  # joblib has ended the processes
            if limit is None:
                raise
            raise fitting.time_limit.OutOfTime(limit) from None
        except GeneratorExit:  # joblib would warn of fits that nobody waits for any more
            parallel.timeout = 0
            with suppress(multiprocessing.TimeoutError):
                deque(fits, maxlen=0)
            raise

    def _processes_pay(self, seconds: float, n_done: int, n_left: int) -> bool:
        """Whether the folds that are left would be trained sooner in processes of their own."""
        if not n_done or isinstance(get_active_backend()[0], ThreadingBackend):
            return False
        n_workers = min(joblib.effective_n_jobs(self.n_jobs), n_left)
        return seconds / n_done * n_left * (1 - 1 / n_workers) > WORTH_PROCESSES


def _run(job: FoldJob, data: Data) -> FoldFit:
    """Run a job in whatever process; a failure can go back to this one."""
    try:
        fit = job.run(data)
    except errors.FitFailed as failure:
        failure.make_picklable()
        raise
    job.keep_here(fit)
    return fit


def names_backend_elsewhere(n_jobs: int | None) -> bool:
    """Whether ``joblib.parallel_config`` names a backend that is none of joblib's local ones.

    One that derives from the backend of processes leaves a single job at a time where it is, as
    Ray's does with ``n_jobs=None``.
    """
    backend = get_active_backend()[0]
    one = isinstance(backend, MultiprocessingBackend) and joblib.effective_n_jobs(n_jobs) == 1
    return type(backend) not in _LOCAL and not one


def _refuse_forks() -> None:
    """Raise where joblib would fork a process that TensorFlow has threads in: the child hangs.

    A backend that derives from the forking one may start its processes in another way.
    """
    forks = type(get_active_backend()[0]) is MultiprocessingBackend
    if "tensorflow" in sys.modules and forks:
        raise RuntimeError(
            "joblib's 'multiprocessing' backend forks this process, and TensorFlow hangs in a "
            "fork. Use joblib.parallel_config(backend='loky'), the default, or 'threading'."
        )
