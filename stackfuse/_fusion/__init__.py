"""Fusion strategies, and ``fuse``: trained models joined into one."""

from stackfuse._fusion.fuse import fuse
from stackfuse._fusion.strategies import fusion_named

__all__ = ["fuse", "fusion_named"]
