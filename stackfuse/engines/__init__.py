"""How the fold replicas of one base estimator are trained."""

from stackfuse.engines._base import (
    Engine,
    FoldFits,
    SequentialEngine,
    derived_seed,
    engine_named,
    replica,
)

__all__ = ["Engine", "FoldFits", "SequentialEngine", "derived_seed", "engine_named", "replica"]
