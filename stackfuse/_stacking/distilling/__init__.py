"""One small model that learns what a fitted stack answers."""

from stackfuse._stacking.distilling.distill import distill

__all__ = ["distill"]
