"""Jobs on the workers of Dask, by the current client of ``distributed``."""

import time
import uuid
from queue import Empty, SimpleQueue
from typing import Any

from stackfuse._core import errors
from stackfuse._oof.engines.clusters import worker
from stackfuse._oof.engines.clusters.cluster import KILLED, LOOK, ClusterEngine, Lost
from stackfuse._oof.engines.clusters.workers import PACKAGES, Worker


class DaskEngine(ClusterEngine):
    """Fits on the workers of the current ``distributed.Client``."""

    title = "Dask"

    def is_within_a_job(self):
        """See :class:`ClusterEngine`; a search may have sent the job, by joblib."""
        import distributed

        try:
            distributed.get_worker()
        except ValueError:
            return False
        return True

    def connect(self):
        """See :class:`ClusterEngine`."""
        import distributed

        try:
            self._client: Any = distributed.get_client()
        except ValueError as error:
            raise ValueError(
                "engine='dask' uses the current client of distributed, but there is none. Make "
                "one before fit: client = distributed.Client(address)."
            ) from error
        self._arrived: SimpleQueue = SimpleQueue()

    @property
    def session(self):
        """See :class:`ClusterEngine`."""
        return self._client.id

    def workers(self):
        """See :class:`ClusterEngine`."""
        self.check_alive()
        while not (about := self._about()):
            self.check_alive()
            time.sleep(0.1)
        facts = self._client.run(worker.facts_of(PACKAGES), workers=list(about))
        return [Worker(name, facts[name], about[name]["memory_limit"] or 0) for name in facts]

    def put(self, arrays):
        """See :class:`ClusterEngine`."""
        names = {f"{name}-{uuid.uuid4().hex}": name for name in arrays}  # Dask saw none before
        there = self._client.scatter({k: arrays[n] for k, n in names.items()}, broadcast=True)
        return {name: there[key] for key, name in names.items()}

    def submit(self, message, handles):
        """See :class:`ClusterEngine`."""
        future = self._client.submit(worker.run, message, *handles, pure=False)
        future.add_done_callback(self._arrived.put)
        return future

    def done(self, waiting, seconds):
        """See :class:`ClusterEngine`."""
        found = []
        try:
            found.append(self._arrived.get(timeout=seconds))
            while True:
                found.append(self._arrived.get_nowait())
        except Empty:
            return found

    def answer(self, future):
        """See :class:`ClusterEngine`."""
        import distributed

        error = None if future.cancelled() else self._within(future.exception)
        if isinstance(error, distributed.KilledWorker):
            raise errors.FitFailed("", RuntimeError(KILLED)) from error
        if error is not None:
            raise errors.EngineFailed(f"Dask could not run a job: {error!r}") from error
        if future.status != "finished":
            raise Lost("Dask lost the data of a job with a worker")
        return self._within(future.result)

    def check_alive(self):
        """See :class:`ClusterEngine`."""
        if self._client.status != "running":
            raise errors.EngineFailed(
                "The scheduler of Dask is gone. Start a cluster and a client, and fit again. "
                "Fits kept by memory= are not repeated."
            )
        address = self._client.scheduler.address
        self.check_any_worker(bool(self._about(1)), f"dask worker {address} in a shell")

    def cancel(self, futures):
        """See :class:`ClusterEngine`."""
        if futures and self._client.status == "running":
            self._client.cancel(futures, force=True)

    def _within(self, ask):
        """Return what is asked for; it may be lost with its worker, and with it all others."""
        while True:
            try:
                return ask(timeout=LOOK)
            except TimeoutError:
                self.check_alive()

    def _about(self, n_workers=-1):
        return self._client.scheduler_info(n_workers=n_workers)["workers"]
