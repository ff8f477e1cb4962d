"""Trees of every library."""

from stackfuse._export.converters.trees import (
    histogram,
    trees,
)

__all__ = [
    "histogram",
    "trees",
]
