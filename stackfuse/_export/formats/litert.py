"""LiteRT, for phones and small devices."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from stackfuse._core import NotConvertible
from stackfuse._export.formats.common import _quiet, _refusal
from stackfuse._export.graph.graph import Graph


def write_litert(graph: Graph, path: Path) -> None:
    # The operations of TensorFlow itself would need a runtime that few places have.
    only = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    with _quiet():
        try:
            graph.model.export(path, format="litert", verbose=False, target_spec=only)
        except Exception as error:  # the converter's own class is no public name
            raise NotConvertible(_refusal("LiteRT", error)) from error


def flatbuffer_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    end = None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            end = min(member.header_offset for member in archive.infolist())
    with open(path, "rb") as file:
        yield "model", file.read(end)
