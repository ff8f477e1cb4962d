"""How the fold replicas of one base estimator are trained."""

from stackfuse.engines._base import (
    Engine,
    FoldFits,
    SequentialEngine,
    Watch,
    derived_seed,
    replica,
)
from stackfuse.engines._fused import FusedEngine
from stackfuse.engines._joblib import JoblibEngine, holds_network
from stackfuse.engines._many import Job, fit_many
from stackfuse.engines._named import engine_named

__all__ = [
    "Engine",
    "FoldFits",
    "FusedEngine",
    "Job",
    "JoblibEngine",
    "SequentialEngine",
    "Watch",
    "derived_seed",
    "engine_named",
    "fit_many",
    "holds_network",
    "replica",
]
