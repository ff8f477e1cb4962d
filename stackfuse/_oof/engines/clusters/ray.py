"""Jobs on the workers of the Ray that this process is connected to."""

import socket
import time

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stackfuse._core import errors
from stackfuse._oof.engines.clusters import worker
from stackfuse._oof.engines.clusters.cluster import KILLED, PATIENCE, ClusterEngine, Lost
from stackfuse._oof.engines.clusters.workers import PACKAGES, Worker

#: Seconds in which a node starts a process that says what is installed there.
_START = 60.0


class RayEngine(ClusterEngine):
    """Fits on the workers of Ray, one for each processor that it has."""

    title = "Ray"

    def connect(self):
        """See :class:`ClusterEngine`."""
        if not ray.is_initialized():
            raise ValueError(
                "engine='ray' uses a running Ray, but this process is not connected to one. "
                "Connect before fit: ray.init(address)."
            )
        context = ray.get_runtime_context()
        self._head, self._job = context.gcs_address, (context.get_node_id(), context.get_job_id())

    @property
    def session(self):
        """See :class:`ClusterEngine`."""
        return self._job

    def workers(self):
        """See :class:`ClusterEngine`."""
        self.check_alive()
        while not (nodes := _nodes_that_compute()):
            self.check_alive()
            time.sleep(0.1)
        ask = ray.remote(worker.facts_of(PACKAGES))
        asked = [
            ask.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(n["NodeID"], False)
            ).remote()
            for n in nodes
        ]
        try:
            facts = ray.get(asked, timeout=_START)
        except exceptions.RayError as error:
            raise errors.EngineFailed(f"A node of Ray does not answer: {error}") from error
        return [
            Worker(node["NodeName"], about, int(node["Resources"]["object_store_memory"]))
            for node, about in zip(nodes, facts)
            for _ in range(int(node["Resources"]["CPU"]))
        ]

    def put(self, arrays):
        """See :class:`ClusterEngine`."""
        return {name: ray.put(array) for name, array in arrays.items()}

    def submit(self, message, handles):
        """See :class:`ClusterEngine`."""
        return ray.remote(worker.run).remote(message, *handles)

    def done(self, waiting, seconds):
        """See :class:`ClusterEngine`."""
        if not ray.wait(waiting, num_returns=1, timeout=seconds)[0]:
            return []
        return ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]

    def answer(self, future):
        """See :class:`ClusterEngine`."""
        died = (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError)
        try:
            return ray.get(future)
        except (exceptions.ObjectLostError, exceptions.NodeDiedError) as error:
            raise Lost("Ray lost the data of a job with a node") from error
        except died as error:
            raise errors.FitFailed("", RuntimeError(KILLED)) from error
        except exceptions.RayError as error:
            raise errors.EngineFailed(f"Ray could not run a job: {error}") from error

    def check_alive(self):
        """See :class:`ClusterEngine`."""
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=PATIENCE).close()
        except OSError as error:
            raise errors.EngineFailed(
                "The head of Ray is gone. Start Ray and connect, ray.init(address), and fit "
                "again. Fits kept by memory= are not repeated."
            ) from error
        self.check_any_worker(
            bool(_nodes_that_compute()),
            f"ray start --address={self._head} in a shell, or ray.init(num_cpus=2)",
        )

    def cancel(self, futures):
        """See :class:`ClusterEngine`."""
        for future in futures if ray.is_initialized() else ():
            ray.cancel(future, force=True)


def _nodes_that_compute() -> list[dict]:
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
