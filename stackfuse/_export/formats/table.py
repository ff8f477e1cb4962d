"""The table of formats."""

from pathlib import Path

from stackfuse._core import messages
from stackfuse._export.checking.process import Runtime
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.keras import attach_member, read_member, write_keras, zip_contents
from stackfuse._export.formats.litert import flatbuffer_contents, write_litert
from stackfuse._export.formats.onnx import attach_property, onnx_contents, read_property, write_onnx
from stackfuse._export.formats.openvino import (
    attach_element,
    openvino_contents,
    read_element,
    write_openvino,
)
from stackfuse._export.formats.saved_model import (
    attach_file,
    folder_contents,
    read_file,
    write_saved_model,
)


def format_of(path: Path, format: str | None = None) -> Format:
    """Return the format of a path, by its name if that is given, else by the path's ending.

    Raises
    ------
    ValueError
        If there is none, or name and ending contradict each other.
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


_tensorflow = Runtime("tensorflow")

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format(
            "keras",
            ".keras",
            "Keras",
            _tensorflow,
            write_keras,
            attach_member,
            read_member,
            zip_contents,
        ),
        Format(
            "saved_model",
            "",
            "SavedModel",
            _tensorflow,
            write_saved_model,
            attach_file,
            read_file,
            folder_contents,
            may_write_files=True,
        ),
        Format(
            "onnx",
            ".onnx",
            "ONNX",
            Runtime("onnxruntime"),
            write_onnx,
            attach_property,
            read_property,
            onnx_contents,
            extra="onnx",
            packages=("onnx", "onnxruntime", "tf2onnx"),
        ),
        Format(
            "litert",
            ".tflite",
            "LiteRT",
            Runtime("ai_edge_litert"),
            write_litert,
            attach_member,
            read_member,
            flatbuffer_contents,
            precisions=("float32",),
            takes_strings=False,
            extra="litert",
            packages=("ai_edge_litert",),
        ),
        Format(
            "openvino",
            ".xml",
            "OpenVINO",
            Runtime("openvino"),
            write_openvino,
            attach_element,
            read_element,
            openvino_contents,
            precisions=("float32",),
            takes_strings=False,
            extra="openvino",
            packages=("openvino",),
            companions=(".bin",),
        ),
    )
}
