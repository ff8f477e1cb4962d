"""SavedModels: folders, for TensorFlow Serving."""

from collections.abc import Iterator
from pathlib import Path

from stackfuse._export.formats.common import MANIFEST
from stackfuse._export.graph.graph import Graph

#: The directory that TensorFlow keeps for others' files in a SavedModel.
EXTRA = "assets.extra"


def write_saved_model(graph: Graph, path: Path) -> None:
    graph.model.export(path, format="tf_saved_model", verbose=False)


def attach_file(path: Path, manifest: str) -> None:
    extra = path / EXTRA
    extra.mkdir()
    (extra / MANIFEST).write_text(manifest)


def read_file(path: Path) -> str:
    file = path / EXTRA / MANIFEST
    if not file.is_file():
        raise KeyError(MANIFEST)
    return file.read_text()


def folder_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.is_file() and name.parts[0] != EXTRA and name != Path("fingerprint.pb"):
            yield name.as_posix(), file.read_bytes()
