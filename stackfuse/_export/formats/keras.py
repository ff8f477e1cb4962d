"""Keras archives."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from stackfuse._export.formats.common import MANIFEST
from stackfuse._export.graph.graph import Graph


def write_keras(graph: Graph, path: Path) -> None:
    graph.model.save(path)


def attach_member(path: Path, manifest: str) -> None:
    """Append to a zip archive; to any other file, a zip archive.

    Keras ignores members that it does not know. Files of LiteRT carry whatever is associated with
    them in an archive after the end of the model.
    """
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, (1980, 1, 1, 0, 0, 0)), manifest)


def read_member(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        raise KeyError(MANIFEST)
    with zipfile.ZipFile(path) as archive:
        return archive.read(MANIFEST).decode()


def zip_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        # metadata.json holds the date.
        for name in sorted(set(archive.namelist()) - {MANIFEST, "metadata.json"}):
            yield name, archive.read(name)
