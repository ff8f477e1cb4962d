"""How the fold replicas of one base estimator are trained."""

from stackfuse._oof.contributions import holds_network
from stackfuse._oof.engines.base import (
    Engine,
    SequentialEngine,
    Watch,
)
from stackfuse._oof.engines.joblib import JoblibEngine
from stackfuse._oof.engines.many import (
    Job,
    fit_many,
)
from stackfuse._oof.engines.named import engine_named
from stackfuse._oof.engines.side_by_side import SideBySideEngine
from stackfuse._oof.fits import FoldFits
from stackfuse._oof.replicas import (
    derived_seed,
    replica,
)

__all__ = [
    "Engine",
    "FoldFits",
    "Job",
    "JoblibEngine",
    "SequentialEngine",
    "SideBySideEngine",
    "Watch",
    "derived_seed",
    "engine_named",
    "fit_many",
    "holds_network",
    "replica",
]
