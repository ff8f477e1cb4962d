"""Keras archives: zip files in which Keras ignores members that it does not know."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from stackfuse._export.checking.process import Runtime
from stackfuse._export.formats.archives import attach_member, attached_member
from stackfuse._export.formats.base import MANIFEST, Format
from stackfuse._export.graph.graph import Graph
from stackfuse._keras import private

#: Runs Keras archives and SavedModels.
TENSORFLOW = Runtime()


class _Keras(Format):
    name = "keras"
    suffix = ".keras"
    title = "Keras"
    runtime = TENSORFLOW

    def write(self, graph: Graph, path: Path) -> None:
        with private.without_array_warnings():
            graph.model.save(path)

    def attach(self, path: Path, manifest: str) -> None:
        attach_member(path, manifest)

    def attached(self, path: Path) -> str:
        return attached_member(path)

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        with zipfile.ZipFile(path) as archive:
            # metadata.json holds the date.
            for name in sorted(set(archive.namelist()) - {MANIFEST, "metadata.json"}):
                yield name, archive.read(name)


KERAS = _Keras()
