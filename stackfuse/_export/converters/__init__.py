"""How each estimator becomes a part of a graph, one family a folder.

Import :func:`convert` from here: then all converters are registered.
"""

from stackfuse._export.converters import (
    compositions,
    kernels,
    linear,
    ours,
    preprocessing,
    trees,
)
from stackfuse._export.graph.convert import convert, converter_for
from stackfuse._export.graph.graph import to_keras

__all__ = [
    "compositions",
    "convert",
    "converter_for",
    "kernels",
    "linear",
    "ours",
    "preprocessing",
    "to_keras",
    "trees",
]
