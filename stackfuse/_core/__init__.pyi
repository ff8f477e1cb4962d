from . import (
    errors,
    files,
    messages,
    multi_input,
    numeric,
    progress,
    sampling,
    sklearn_private,
    strings,
    targets,
)
from .errors import NotConvertible
from .multi_input import MultiInput

__all__ = [
    "MultiInput",
    "NotConvertible",
    "errors",
    "files",
    "messages",
    "multi_input",
    "numeric",
    "progress",
    "sampling",
    "sklearn_private",
    "strings",
    "targets",
]
