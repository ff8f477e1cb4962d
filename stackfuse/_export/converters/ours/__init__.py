"""stackfuse's own estimators."""

__all__ = [
    "meta_learners",
    "networks",
    "stacks",
]
