"""Engines by their names."""

from collections.abc import Iterable, Iterator
from itertools import chain

from stackfuse._core import fitting, messages
from stackfuse._oof import engines
from stackfuse._oof.contributions import holds_network
from stackfuse._oof.engines.base import Engine, SequentialEngine
from stackfuse._oof.engines.joblib import JoblibEngine
from stackfuse._oof.jobs import Data, FoldFit, FoldJob


class AutoEngine:
    """Networks side by side, where that is possible and pays; everything else by another engine.

    Parameters
    ----------
    otherwise : Engine
    """

    def __init__(self, otherwise: Engine):
        self.otherwise = otherwise

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """See :class:`Engine`."""
        jobs = iter(jobs)
        for first in jobs:
            network = holds_network(first.estimator)  # others need no Keras
            engine = engines.SideBySideEngine(self.otherwise) if network else self.otherwise
            return engine.run_jobs(chain([first], jobs), data)
        return iter(())


def engine_named(engine: str | Engine, n_jobs: int | None = None) -> Engine:
    """Return the engine of that name; an engine is returned as it is.

    Parameters
    ----------
    engine : {"auto", "sequential", "fused"} or Engine
        "auto" trains the replicas of a network side by side where that is possible and pays, and
        runs several jobs of other estimators at a time where `n_jobs` asks for it.
    n_jobs : int, default=None

    Raises
    ------
    ValueError
        If there is none of that name; the message lists them all. If `n_jobs` is no number.
    """
    fitting.check_settings({"n_jobs": n_jobs}, {"n_jobs": fitting.JOBS})
    if not isinstance(engine, str):
        if isinstance(engine, type) or not callable(getattr(engine, "run_jobs", None)):
            raise TypeError(
                f"engine must be a name or an object with a method run_jobs, got {engine!r}."
            )
        return engine
    names = ("auto", "sequential", "fused")
    if engine not in names:
        raise ValueError(f"engine must be {messages.listed(names)}, got {engine!r}.")
    if engine == "sequential":
        return SequentialEngine()
    if engine == "fused":
        return engines.SideBySideEngine()
    return AutoEngine(JoblibEngine(n_jobs) if n_jobs not in (None, 1) else SequentialEngine())
