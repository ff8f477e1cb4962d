"""The table of formats."""

import hashlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stackfuse._core.targets import listed
from stackfuse._export.checking.process import Runtime
from stackfuse._export.formats import common as _writing
from stackfuse._export.graph.graph import Graph


@dataclass(frozen=True)
class Format:
    """One format of exported files.

    Attributes
    ----------
    name, suffix, title : str
        As in ``format=``, the ending of its files, and its name in messages.
    runtime : Runtime
        The process that loads such files.
    write : callable
        Writes a graph to a path.
    attach, manifest : callable
        Put a text into a written file; get it out again, or raise KeyError if there is none.
    contents : callable
        Yields the parts of a file that compute, by name, without the manifest.
    precisions : tuple of str
        What its graphs can compute in, the default first.
    takes_strings : bool
    extra : str or None
        The extra of this package that installs what is needed.
    packages : tuple of str
        The modules of that extra.
    companions : tuple of str
        Endings of further files that belong to one of this format.
    """

    name: str
    suffix: str
    title: str
    runtime: Runtime
    write: Callable[[Graph, Path], None]
    attach: Callable[[Path, str], None]
    manifest: Callable[[Path], str]
    contents: Callable[[Path], Iterator[tuple[str, bytes]]]
    precisions: tuple[str, ...] = ("float64", "float32")
    takes_strings: bool = True
    extra: str | None = None
    packages: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()

    def check_installed(self) -> None:
        """Raise ModuleNotFoundError, with the line that installs it, if a package is missing."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise ModuleNotFoundError(
                f"{self.title} files need {' and '.join(missing)}, which {_is(missing)} not "
                f"installed: pip install 'stackfuse[{self.extra}]'.",
                name=missing[0],
            )

    def files(self, path: Path) -> list[Path]:
        """Return all files of an export; the one at the path is the last."""
        if path.is_dir():
            return [file for file in path.rglob("*") if file.is_file()]
        beside = [path.with_suffix(suffix) for suffix in self.companions]
        return [file for file in (*beside, path) if file.is_file()]

    def size(self, path: Path) -> int:
        """Return the size of an export in bytes."""
        return sum(file.stat().st_size for file in self.files(path))

    def digests(self, path: Path) -> dict[str, str]:
        """Return the SHA-256 of every part of a file that computes."""
        return {name: hashlib.sha256(part).hexdigest() for name, part in self.contents(path)}

    def remove(self, path: Path) -> None:
        """Delete an export, or what there is of one."""
        for file in self.files(path):
            file.unlink()
        if path.is_dir():
            shutil.rmtree(path)


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
            raise ValueError(f"format must be {listed(list(FORMATS))}, got {format!r}.")
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


def _is(things: list) -> str:
    return "is" if len(things) == 1 else "are"


_tensorflow = Runtime("tensorflow")

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format(
            "keras",
            ".keras",
            "Keras",
            _tensorflow,
            _writing.write_keras,
            _writing.attach_member,
            _writing.read_member,
            _writing.zip_contents,
        ),
        Format(
            "saved_model",
            "",
            "SavedModel",
            _tensorflow,
            _writing.write_saved_model,
            _writing.attach_file,
            _writing.read_file,
            _writing.folder_contents,
        ),
        Format(
            "onnx",
            ".onnx",
            "ONNX",
            Runtime("onnxruntime"),
            _writing.write_onnx,
            _writing.attach_property,
            _writing.read_property,
            _writing.onnx_contents,
            extra="onnx",
            packages=("onnx", "onnxruntime", "tf2onnx"),
        ),
        Format(
            "litert",
            ".tflite",
            "LiteRT",
            Runtime("ai_edge_litert"),
            _writing.write_litert,
            _writing.attach_member,
            _writing.read_member,
            _writing.flatbuffer_contents,
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
            _writing.write_openvino,
            _writing.attach_element,
            _writing.read_element,
            _writing.openvino_contents,
            precisions=("float32",),
            takes_strings=False,
            extra="openvino",
            packages=("openvino",),
            companions=(".bin",),
        ),
    )
}
