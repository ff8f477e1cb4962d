"""stackfuse's own estimators."""

from stackfuse._export.converters.ours import (
    meta_learners,
    networks,
    stacks,
)

__all__ = [
    "meta_learners",
    "networks",
    "stacks",
]
