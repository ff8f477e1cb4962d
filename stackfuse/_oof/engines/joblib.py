"""The loop over joblib: folds side by side, in whatever ``joblib.parallel_config`` names."""

import pickle
import sys
import time
from contextlib import nullcontext

import joblib
from joblib.parallel import MultiprocessingBackend, ThreadingBackend, get_active_backend
from sklearn.utils.parallel import Parallel, delayed

from stackfuse._core import errors
from stackfuse._oof.contributions import holds_network
from stackfuse._oof.engines.base import fit_fold
from stackfuse._oof.fits import FoldFits
from stackfuse._oof.replicas import replica

#: Seconds that processes must save before networks are trained in them: each imports TensorFlow.
WORTH_PROCESSES = 45.0


class JoblibEngine:
    """Folds side by side.

    Networks are trained one after another until it shows that processes would pay: TensorFlow uses
    all cores for one network as it is, every further process takes many seconds to import it, and
    threads that train at once are slower.
    """

    def __init__(self, n_jobs: int):
        self.n_jobs = n_jobs

    def fit_folds(
        self,
        estimator,
        X,
        y,
        folds,
        *,
        method,
        fit_params=None,
        seeds=None,
        watch=None,
        entries=None,
        keep=None,
    ) -> FoldFits:
        """See :class:`stackfuse.engines.Engine`."""
        _refuse_forks()
        n_folds = len(folds)
        seeds, entries = seeds or [None] * n_folds, entries or [None] * n_folds
        keep = keep or [True] * n_folds
        twins = [replica(estimator, seeds[k], folds, k) for k in range(n_folds)]
        jobs = [
            (twins[k], X, y, folds, k, method, fit_params, entries[k], keep[k])
            for k in range(n_folds)
        ]
        fits, start, n_done = FoldFits([], [], []), time.perf_counter(), 0
        while holds_network(estimator) and n_done < len(jobs):
            if self._processes_pay(time.perf_counter() - start, n_done, len(jobs) - n_done):
                break
            with watch(n_done, twins[n_done]) if watch else nullcontext():
                fits.append(fit_fold(*jobs[n_done]))
            n_done += 1
        rest = Parallel(n_jobs=self.n_jobs, return_as="generator")(
            delayed(_fit_fold)(*job) for job in jobs[n_done:]
        )
        for k, fit in enumerate(rest, n_done):
            with watch(k, fit.estimator) if watch else nullcontext():  # told when it is done
                fits.append(fit)
        return fits

    def _processes_pay(self, seconds: float, n_done: int, n_left: int) -> bool:
        """Whether the folds that are left would be trained sooner in processes of their own."""
        if not n_done or isinstance(get_active_backend()[0], ThreadingBackend):
            return False
        n_workers = min(joblib.effective_n_jobs(self.n_jobs), n_left)
        return seconds / n_done * n_left * (1 - 1 / n_workers) > WORTH_PROCESSES


def _fit_fold(*job):
    """Fit one fold in a process; an error that could not come back is told by another."""
    try:
        return fit_fold(*job)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            told = RuntimeError(f"{type(error).__name__}: {errors.message_of(error)}")
            vars(told)["fold"] = vars(error).get("fold")
            raise told from None
        raise


def _refuse_forks() -> None:
    """Raise where joblib would fork a process that TensorFlow has threads in: the child hangs."""
    if "tensorflow" in sys.modules and isinstance(get_active_backend()[0], MultiprocessingBackend):
        raise RuntimeError(
            "joblib's 'multiprocessing' backend forks this process, and TensorFlow hangs in a "
            "fork. Use joblib.parallel_config(backend='loky'), the default, or 'threading'."
        )
