"""stackfuse's own estimators."""

from stackfuse._export.converters.ours import (
    input_steps,
    meta_learners,
    networks,
    stacks,
)

__all__ = [
    "input_steps",
    "meta_learners",
    "networks",
    "stacks",
]
