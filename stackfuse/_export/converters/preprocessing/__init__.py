"""Transformers."""

__all__ = [
    "bases",
    "distributions",
    "encoding",
    "imputing",
    "neighbor_imputing",
    "preprocessing",
    "projections",
]
