"""The file formats, one file each: a module here that registers a format is found by itself."""

import importlib
import pkgutil

from stackfuse._export.formats.base import Format
from stackfuse._export.formats.table import format_of, named, register
from stackfuse._export.graph.graph import Graph

__all__ = ["Format", "Graph", "format_of", "named", "register"]

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
