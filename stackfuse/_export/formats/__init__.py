"""The file formats, one file each: a module here that registers a format is found by itself."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from stackfuse._export.formats.base import Format
from stackfuse._export.formats.table import format_of, named, register

if TYPE_CHECKING:
    from stackfuse._export.graph.graph import Graph

__all__ = ["Format", "Graph", "format_of", "named", "register"]

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)


def __getattr__(name: str) -> Any:
    """Import ``Graph``, and TensorFlow with it, when it is first used."""
    if name == "Graph":
        from stackfuse._export.graph.graph import Graph

        return Graph
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
