"""The workers of a cluster: what is wrong with them, told before anything is sent."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from stackfuse._core import errors
from stackfuse._oof.engines.clusters import worker

#: Packages of which workers need the version of the process that fits: what is fitted there is
#: loaded here, and its numbers depend on them.
PACKAGES = ("keras", "numpy", "pandas", "scikit-learn", "scipy", "tensorflow", "cloudpickle")


class Worker(NamedTuple):
    """A worker, or what takes the place of one.

    Attributes
    ----------
    name : str
    facts : dict
        The worker's description of itself; see :func:`worker.facts_of`.
    memory : int
        Bytes; 0 where it has no limit.
    """

    name: str
    facts: dict[str, Any]
    memory: int


def check(workers: Sequence[Worker], network: bool) -> None:
    """Raise if a worker cannot run a job, or would leave other numbers than this process.

    Parameters
    ----------
    workers : sequence of Worker
    network : bool
        Whether the job holds a network.
    """
    own = worker.facts_of(PACKAGES)()
    for each in workers:
        if not each.facts["stackfuse"]:
            raise errors.EngineFailed(
                f"Worker {each.name} has no stackfuse: pip install stackfuse there."
            )
        if network and not each.facts["tensorflow"]:
            raise errors.EngineFailed(
                f"Worker {each.name} has no TensorFlow, which networks need: pip install "
                f"tensorflow=={own['versions']['tensorflow']} there."
            )
        for package, version in own["versions"].items():
            there = each.facts["versions"][package]
            if there != version and (network or package not in ("keras", "tensorflow")):
                raise errors.EngineFailed(
                    f"Worker {each.name} has {package} {there}, but this process has {version}. "
                    "Fits would differ, or could not be loaded. Install the same version there."
                )


def check_memory(workers: Sequence[Worker], arrays: dict[str, Any]) -> None:
    """Raise if a worker cannot hold the arrays that every worker is sent."""
    n_bytes = sum(array.nbytes for array in arrays.values())
    for each in workers:
        if each.memory and n_bytes > each.memory:
            raise errors.EngineFailed(
                f"The data take {n_bytes / 2**20:,.0f} MiB, but worker {each.name} has "
                f"{each.memory / 2**20:,.0f} MiB. Give workers more memory, or pass fewer rows."
            )


def common_threads(workers: Iterable[Worker]) -> dict[str, str]:
    """Return the settings of threads of all workers.

    Raises
    ------
    ValueError
        If they differ.
    """
    first, *others = workers
    for other in others:
        if other.facts["threads"] != first.facts["threads"]:
            raise ValueError(
                f"workers have other settings of threads, {first.name} {first.facts['threads']} "
                f"and {other.name} {other.facts['threads']}"
            )
    return first.facts["threads"]
