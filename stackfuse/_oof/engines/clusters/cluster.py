"""The jobs of bases on the workers of a cluster: all that Dask and Ray have in common."""

import pickle
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import sklearn

from stackfuse._core import errors, messages
from stackfuse._oof.contributions import holds_network
from stackfuse._oof.engines.clusters import worker, workers
from stackfuse._oof.engines.clusters.parcels import Packer
from stackfuse._oof.engines.clusters.workers import Worker
from stackfuse._oof.jobs import Data, FoldFit, FoldJob

#: Seconds that an answer is waited for before the cluster is looked at, and how often a group of
#: jobs is sent again whose data were lost with a worker.
LOOK, _TRIES = 1.0, 3

#: Seconds that a worker is waited for while there is none, and where there was one: a worker that
#: was killed is started again, which takes a busy machine a while.
PATIENCE, _PATIENCE_AGAIN = 5.0, 60.0

#: The message for a job that ends every process that runs it.
KILLED = (
    "the workers that ran it were killed, one after another: it may need more memory than a "
    "worker has, or end its process"
)


class Lost(Exception):
    """Raised if data of a job were lost with a worker; they have to be sent again."""


class _Sent(NamedTuple):
    """A group of jobs that is with the cluster."""

    group: list[int]
    message: bytes
    names: list[str]
    answers: deque
    n_tries: int = 1


#: For each kind of cluster a session, and the handles of the arrays of its last fit: these stay
#: with the workers for the next fit.
_latest: dict[type, tuple[Any, dict[str, Any]]] = {}


class ClusterEngine(ABC):
    """Runs jobs on the workers of a cluster, those of several bases at the same time.

    Data go to each worker once. Each job runs the code of ``job.run``; several networks in one
    job are trained side by side. A subclass knows one kind of cluster.
    """

    #: How the cluster is called.
    title: ClassVar[str]

    def __init__(self):
        if worker.runs_jobs() or self.is_within_a_job():
            raise ValueError(
                f"engine={self.title.lower()!r} inside a job of a cluster would wait for its own "
                "worker. Give the stack there engine='auto'."
            )
        self.connect()
        self._packer = Packer()
        session, kept = _latest.get(type(self), (None, {}))
        self._handles: dict[str, Any] = dict(kept) if session == self.session else {}
        self._sent: dict[Any, _Sent] = {}
        self._workers: list[Worker] | None = None
        self._last_seen, self._patience = time.monotonic(), PATIENCE
        self._checked: set[bool] = set()

    def is_within_a_job(self) -> bool:
        """Whether this process is a worker whose other jobs would wait for the present one."""
        return False

    @abstractmethod
    def connect(self) -> None:
        """Take the present connection to a cluster.

        Raises
        ------
        ValueError
            If there is none.
        """

    @property
    @abstractmethod
    def session(self) -> Any:
        """The identity of a connection to a cluster."""

    @abstractmethod
    def workers(self) -> list[Worker]:
        """Return the workers of the cluster, with their own description of themselves."""

    @abstractmethod
    def put(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """Bring arrays to the workers; return what stands for each in :meth:`submit`."""

    @abstractmethod
    def submit(self, message: bytes, handles: list[Any]) -> Any:
        """Have ``worker.run(message, *arrays)`` called; return what stands for its answer."""

    @abstractmethod
    def done(self, waiting: list[Any], seconds: float) -> list[Any]:
        """Return those answers that are there, after so many seconds at most."""

    @abstractmethod
    def answer(self, future: Any) -> bytes:
        """Return an answer that is there.

        Raises
        ------
        Lost
            If it is worth another try.
        FitFailed
            If it is not: the worker was killed by each, for example.
        """

    @abstractmethod
    def check_alive(self) -> None:
        """Raise EngineFailed if nobody is left who could answer."""

    @abstractmethod
    def cancel(self, futures: list[Any]) -> None:
        """Give jobs up."""

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """See :class:`stackfuse.engines.Engine`."""
        return (answer for answer in self.poll_jobs(jobs, data) if answer is not None)

    def poll_jobs(
        self, jobs: Iterable[FoldJob], data: Data, n_networks: int = 1
    ) -> Iterator[tuple[int, FoldFit] | None]:
        """Run jobs as ``run_jobs`` does, and yield None where another base may be asked.

        Parameters
        ----------
        jobs : iterable of FoldJob
        data : Data
        n_networks : int, default=1
            So many networks share the workers.
        """
        jobs, answers = list(jobs), deque()
        if not jobs:
            return
        n_workers = len(self._ready(jobs[0]))
        groups = [[number] for number in range(len(jobs))]
        if holds_network(jobs[0].estimator):
            from stackfuse._oof.engines.clusters.sizing import in_groups  # loads TensorFlow

            groups = in_groups(jobs, data, n_workers, n_networks)
        try:
            self._send(jobs, groups, data, answers)
            yield None
            left = len(groups)
            while left:
                if not answers:
                    self._collect()
                if not answers:
                    yield None
                    continue
                group, fits = answers.popleft()
                left -= 1
                for fit in fits:
                    if isinstance(fit, errors.FitFailed):
                        raise fit
                    yield group[fit[0]], self._told(fit[1], len(jobs), len(groups), n_workers)
        finally:
            mine = [future for future, sent in self._sent.items() if sent.answers is answers]
            for future in mine:
                del self._sent[future]
            self.cancel(mine)

    def check_any_worker(self, there: bool, what_to_type: str) -> None:
        """Raise if there has been no worker for some seconds."""
        if there:
            self._last_seen, self._patience = time.monotonic(), _PATIENCE_AGAIN
        elif time.monotonic() - self._last_seen > self._patience:
            raise errors.EngineFailed(
                f"{self.title} has had no worker for {self._patience:g} seconds. Start some: "
                f"{what_to_type}."
            )

    def circumstances(self) -> dict[str, str]:
        """Return the settings of threads that fits depend on, which all workers have to share."""
        return workers.common_threads(self._found())

    def _told(self, fit: FoldFit, n_fits: int, n_jobs: int, n_workers: int) -> FoldFit:
        parts = [messages.counted(n_fits, "fit"), messages.counted(n_jobs, "job")]
        how = f"by {self.title} on {messages.counted(n_workers, 'worker')}, {' in '.join(parts)}"
        return fit._replace(how=how if n_jobs == n_fits else f"{how}, {fit.how}")

    def _found(self) -> list[Worker]:
        if self._workers is None:
            self._workers = self.workers()
        return self._workers

    def _ready(self, job: FoldJob) -> list[Worker]:
        """Return the workers, if they can run a job."""
        network = holds_network(job.estimator)
        if network not in self._checked:
            workers.check(self._found(), network)
            self._checked.add(network)
        return self._found()

    def _send(
        self, jobs: list[FoldJob], groups: list[list[int]], data: Data, answers: deque
    ) -> None:
        settings = {"sklearn": sklearn.get_config()}
        if holds_network(jobs[0].estimator):
            settings["keras"] = worker.keras_settings()
        try:
            of_data = self._packer.pack(data)
            parcels = [self._packer.pack([jobs[number] for number in group]) for group in groups]
        except Exception as error:  # what a class does when it is pickled
            what = f"It cannot be sent to a worker, because it cannot be pickled: {error}"
            raise errors.FitFailed("", TypeError(what)) from error
        workers.check_memory(self._found(), self._packer.arrays)
        for group, parcel in zip(groups, parcels):
            names = list(dict.fromkeys([*parcel.names, *of_data.names]))
            message = pickle.dumps(([parcel, of_data], settings, names))
            self._submit(_Sent(group, message, names, answers))

    def _submit(self, sent: _Sent) -> None:
        missing = {n: self._packer.arrays[n] for n in sent.names if n not in self._handles}
        if missing:
            self._handles |= self.put(missing)
            used = {n: h for n, h in self._handles.items() if n in self._packer.arrays}
            _latest[type(self)] = self.session, used
        handles = [self._handles[name] for name in sent.names]
        self._sent[self.submit(sent.message, handles)] = sent

    def _collect(self) -> None:
        """Wait for an answer of any base, and lay out what is there for those who asked."""
        done = [f for f in self.done(list(self._sent), LOOK) if f in self._sent]
        if not done:
            self.check_alive()
        for future in done:
            sent = self._sent.pop(future)
            try:
                sent.answers.append((sent.group, pickle.loads(self.answer(future))))
            except errors.FitFailed as failure:
                sent.answers.append((sent.group, [failure]))
            except Lost as loss:
                self.check_alive()
                if sent.n_tries == _TRIES:
                    raise errors.EngineFailed(f"{loss}, {_TRIES} times.") from loss
                self._handles.clear()
                self._submit(sent._replace(n_tries=sent.n_tries + 1))
