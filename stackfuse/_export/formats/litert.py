"""LiteRT, for phones and small devices: the manifest lies in a zip archive after the model."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from stackfuse._core import NotConvertible
from stackfuse._export.checking.process import LIGHT
from stackfuse._export.formats.archives import attach_member, attached_member
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.conversion import refusal_message, silenced
from stackfuse._export.graph.graph import Graph
from stackfuse._keras import private


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
        with silenced(), _unrolled(graph):
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


@contextmanager
def _unrolled(graph: Graph) -> Iterator[None]:
    """Within, recurrent layers repeat their steps: LiteRT has no kernel for their loop."""
    layers = [part for part in private.flatten_layers(graph.model) if _loops(part)]
    try:
        for layer in layers:
            layer.unroll = True
        yield
    finally:
        for layer in layers:
            layer.unroll = False


def _loops(layer) -> bool:
    return isinstance(layer, keras.layers.RNN) and not layer.unroll


LITERT = _LiteRT()
