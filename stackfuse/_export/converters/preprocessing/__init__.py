"""Transformers."""

__all__ = [
    "bases",
    "binning",
    "distributions",
    "encoding",
    "imputing",
    "iterative_imputing",
    "neighbor_imputing",
    "polynomial",
    "powers",
    "preprocessing",
    "projections",
    "sparse_coding",
]
