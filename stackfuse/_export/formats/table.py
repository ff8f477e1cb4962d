"""The table of formats."""

from pathlib import Path

from stackfuse._core import messages
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.keras import KERAS
from stackfuse._export.formats.litert import LITERT
from stackfuse._export.formats.onnx import ONNX
from stackfuse._export.formats.openvino import OPENVINO
from stackfuse._export.formats.saved_model import SAVED_MODEL

FORMATS: dict[str, Format] = {
    form.name: form for form in (KERAS, SAVED_MODEL, ONNX, LITERT, OPENVINO)
}


def format_of(path: Path, format: str | None = None) -> Format:
    """Return the format of a path, by its name if that is given, else by the path's ending.

    Raises
    ------
    ValueError
        If no format has this name or ending, or they contradict each other.
    """
    if not path.name or path.name == "..":
        raise ValueError(f"The path {str(path)!r} names no file.")
    if format is not None:
        if format not in FORMATS:
            raise ValueError(f"format must be {messages.listed(list(FORMATS))}, got {format!r}.")
        form = FORMATS[format]
        if form.suffix and path.suffix != form.suffix:
            raise ValueError(
                f"A path for format={format!r} must end in {form.suffix!r}, got {path}."
            )
        return form
    for form in FORMATS.values():
        if path.suffix == form.suffix:
            return form
    endings = ", ".join(form.suffix for form in FORMATS.values() if form.suffix)
    raise ValueError(
        f"The ending of {str(path)!r} names no format. Use {endings}, or a path without an ending "
        "for a SavedModel directory."
    )
