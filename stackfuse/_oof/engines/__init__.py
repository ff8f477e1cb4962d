"""How the fold replicas of one base estimator are trained."""

from stackfuse._oof.engines.base import (
    Engine,
    FoldFits,
    SequentialEngine,
    Watch,
    derived_seed,
    replica,
)
from stackfuse._oof.engines.fused import FusedEngine
from stackfuse._oof.engines.joblib import (
    JoblibEngine,
    holds_network,
)
from stackfuse._oof.engines.many import (
    Job,
    fit_many,
)
from stackfuse._oof.engines.named import engine_named

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
