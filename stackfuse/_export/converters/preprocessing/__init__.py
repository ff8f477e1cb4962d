"""Transformers."""

from stackfuse._export.converters.preprocessing import (
    bases,
    distributions,
    encoding,
    imputing,
    neighbor_imputing,
    preprocessing,
    projections,
)

__all__ = [
    "bases",
    "distributions",
    "encoding",
    "imputing",
    "neighbor_imputing",
    "preprocessing",
    "projections",
]
