"""How each estimator becomes a part of a graph, one family a folder."""

from stackfuse._export.converters import (
    compositions,
    kernels,
    linear,
    ours,
    preprocessing,
    trees,
)

__all__ = [
    "compositions",
    "kernels",
    "linear",
    "ours",
    "preprocessing",
    "trees",
]
