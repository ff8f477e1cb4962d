"""LiteRT, for phones and small devices: the manifest lies in a zip archive after the model."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from stackfuse._core import NotConvertible
from stackfuse._export.checking.process import LIGHT
from stackfuse._export.formats.archives import attach_member, attached_member
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.conversion import refusal_message, silenced
from stackfuse._export.graph.graph import Graph


class _LiteRT(Format):
    name = "litert"
    suffix = ".tflite"
    title = "LiteRT"
    runtime = LIGHT
    precisions = ("float32",)
    takes_strings = False
    reads_text = False
    extra = "litert"
    packages = ("ai_edge_litert",)

    def write(self, graph: Graph, path: Path) -> None:
        # The operations of TensorFlow itself would need a runtime that few places have.
        only = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
        with silenced():
            try:
                graph.model.export(str(path), format="litert", verbose=False, target_spec=only)
            except Exception as error:  # the converter's own class is no public name
                raise NotConvertible(refusal_message(self.title, error)) from error

    def attach(self, path: Path, manifest: str) -> None:
        attach_member(path, manifest)

    def attached(self, path: Path) -> str:
        return attached_member(path)

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        end = None
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                end = min(member.header_offset for member in archive.infolist())
        with open(path, "rb") as file:
            yield "model", file.read(end)


LITERT = _LiteRT()
