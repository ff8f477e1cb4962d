"""What all rooms share: errors, messages, targets, MultiInput, files, progress."""

from stackfuse._core import (
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
from stackfuse._core.errors import NotConvertible
from stackfuse._core.multi_input import MultiInput

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
