"""Engines by their names."""

import importlib.util
from collections.abc import Iterable, Iterator
from itertools import chain

import joblib

from stackfuse._core import fitting, messages
from stackfuse._oof import engines
from stackfuse._oof.contributions import holds_network
from stackfuse._oof.engines import clusters
from stackfuse._oof.engines.base import Engine, SequentialEngine
from stackfuse._oof.engines.joblib import JoblibEngine, names_backend_elsewhere
from stackfuse._oof.jobs import Data, FoldFit, FoldJob


class AutoEngine:
    """Networks side by side, where that is possible and pays; everything else by another engine.

    Parameters
    ----------
    otherwise : Engine
    takes_all : bool, default=False
        Whether the other engine runs everything, networks too.
    """

    def __init__(self, otherwise: Engine, takes_all: bool = False):
        self.otherwise, self.takes_all = otherwise, takes_all

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """See :class:`Engine`."""
        jobs = iter(jobs)
        for first in jobs:
            network = not self.takes_all and holds_network(first.estimator)  # others need no Keras
            engine = engines.SideBySideEngine(self.otherwise) if network else self.otherwise
            return engine.run_jobs(chain([first], jobs), data)
        return iter(())


def engine_named(engine: str | Engine, n_jobs: int | None = None) -> Engine:
    """Return the engine of that name; an engine is returned as it is.

    Parameters
    ----------
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine
        "auto" trains the replicas of a network side by side where that is possible and saves time,
        and runs `n_jobs` jobs of other estimators at a time. "sequential" runs one job after
        another. "fused" trains all replicas side by side, or raises an error. "dask" and "ray" run
        jobs on the workers of the current client of ``distributed``, or of the running Ray.
    n_jobs : int, default=None
        The number of jobs at a time, as in joblib. None takes it from ``joblib.parallel_config``.

    Returns
    -------
    engine : Engine
        The engine.

    Raises
    ------
    ValueError
        If there is no engine of that name, or `n_jobs` is no number of jobs.
    TypeError
        If `engine` is neither a name nor an engine.
    ImportError
        If the package of a cluster is not installed.

    Examples
    --------
    >>> import stackfuse as sf
    >>> type(sf.engines.engine_named("sequential")).__name__
    'SequentialEngine'
    """
    fitting.check_settings({"n_jobs": n_jobs}, {"n_jobs": fitting.JOBS})
    if not isinstance(engine, str):
        if isinstance(engine, type) or not callable(getattr(engine, "run_jobs", None)):
            raise TypeError(
                f"engine must be a name or an object with a method run_jobs, got {engine!r}."
            )
        return engine
    names = ("auto", "sequential", "fused", "dask", "ray")
    if engine not in names:
        raise ValueError(f"engine must be {messages.listed(names)}, got {engine!r}.")
    if engine in ("dask", "ray"):
        return _of_cluster(engine)
    if engine == "sequential":
        return SequentialEngine()
    if engine == "fused":
        return engines.SideBySideEngine()
    elsewhere = n_jobs != 1 and names_backend_elsewhere(n_jobs)
    if elsewhere or joblib.effective_n_jobs(n_jobs) > 1:
        return AutoEngine(JoblibEngine(n_jobs), takes_all=elsewhere)
    return AutoEngine(SequentialEngine())


def _of_cluster(name: str) -> Engine:
    package = {"dask": "distributed", "ray": "ray"}[name]
    if importlib.util.find_spec(package) is None:
        raise ImportError(
            f"engine={name!r} needs the package {package}, which is not installed: "
            f"pip install 'stackfuse[{name}]'."
        )
    return clusters.DaskEngine() if name == "dask" else clusters.RayEngine()
