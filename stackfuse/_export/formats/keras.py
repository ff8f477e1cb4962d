"""Keras archives: zip files in which Keras ignores members that it does not know."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stackfuse._export.formats.base import Format
from stackfuse._export.formats.table import register

if TYPE_CHECKING:  # of TensorFlow, which files are read without
    from stackfuse._export.graph.graph import Graph


@register
class Keras(Format):
    """Keras archives."""

    name = "keras"
    suffix = ".keras"
    title = "Keras"
    bitwise = True
    runs_with = ("tensorflow", "keras")

    def write(self, graph: "Graph", path: Path) -> None:
        """See :class:`Format`."""
        from stackfuse._keras import private

        with private.without_array_warnings():
            graph.model.save(path)

    @staticmethod
    def load(path: str) -> Callable[[dict[str, np.ndarray]], dict]:
        """See :class:`Format`."""
        import keras
        import tensorflow as tf

        model = keras.models.load_model(path, compile=False, safe_mode=True)
        several = isinstance(model.input, dict)
        # Compiled, as it will be served: TensorFlow rewrites arithmetic when it compiles.
        return tf.function(
            lambda rows: model(rows if several else rows["x"]),
            reduce_retracing=True,
        )

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """See :class:`Format`."""
        for name, part in super().contents(path):
            if name != "metadata.json":  # holds the date
                yield name, part
