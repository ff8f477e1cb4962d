"""How each estimator becomes a part of a graph, one family a folder."""

__all__ = [
    "compositions",
    "kernels",
    "linear",
    "ours",
    "preprocessing",
    "trees",
]
