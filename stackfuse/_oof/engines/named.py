"""Engines by their names."""

from stackfuse._core import messages
from stackfuse._oof.engines.base import (
    Engine,
    SequentialEngine,
)
from stackfuse._oof.engines.joblib import JoblibEngine
from stackfuse._oof.engines.side_by_side import SideBySideEngine


def engine_named(engine: str | Engine, n_jobs: int | None = None) -> Engine:
    """Return the engine of that name; an engine is returned as it is.

    Parameters
    ----------
    engine : {"auto", "sequential", "fused"} or Engine
        "auto" fuses networks where that is possible and pays, and is parallel for other estimators
        where `n_jobs` asks for it.
    n_jobs : int, default=None

    Raises
    ------
    ValueError
        If there is none of that name; the message lists them all.
    """
    if not isinstance(engine, str):
        if not callable(getattr(engine, "run_jobs", None)):
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
        return SideBySideEngine()
    return SideBySideEngine(JoblibEngine(n_jobs) if n_jobs not in (None, 1) else SequentialEngine())
