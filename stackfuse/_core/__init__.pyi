from . import (
    errors,
    files,
    fitting,
    messages,
    multi_input,
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
    "fitting",
    "messages",
    "multi_input",
    "progress",
    "sampling",
    "sklearn_private",
    "strings",
    "targets",
]
