"""Trees of every library."""

__all__ = [
    "histogram",
    "trees",
]
