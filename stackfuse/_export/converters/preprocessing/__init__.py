"""Transformers."""

from stackfuse._export.converters.preprocessing import (
    distributions,
    encoding,
    expansions,
    imputing,
    neighbor_imputing,
    preprocessing,
    projections,
)

__all__ = [
    "distributions",
    "encoding",
    "expansions",
    "imputing",
    "neighbor_imputing",
    "preprocessing",
    "projections",
]
