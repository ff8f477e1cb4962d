"""LiteRT, for phones and small devices: the manifest lies in a zip archive after the model."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stackfuse._core import NotConvertible
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.conversion import lacking_message, refusal_message, silenced
from stackfuse._export.formats.recurrent import unrolled
from stackfuse._export.formats.table import register

if TYPE_CHECKING:  # of TensorFlow, which files are read without
    from stackfuse._export.graph.graph import Graph


@register
class LiteRT(Format):
    """LiteRT's flat buffers."""

    name = "litert"
    suffix = ".tflite"
    title = "LiteRT"
    runs_with = ("ai_edge_litert.interpreter",)
    precisions = ("float32",)
    takes_strings = False
    reads_text = False
    packages = ("ai_edge_litert",)
    install = "'stackfuse[litert]'"

    def check(self, graph: "Graph", owner: str) -> None:
        """See :class:`Format`."""
        super().check(graph, owner)
        if graph.half_precision:
            layer, dtype = graph.half_precision
            raise NotConvertible(
                f"The layer {layer!r} computes in {dtype}, and {self.title} in float32. Train the "
                "network in float32."
            )

    def write(self, graph: "Graph", path: Path) -> None:
        """See :class:`Format`."""
        import tensorflow as tf

        # The operations of TensorFlow itself would need a runtime that few places have.
        only = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
        # Where LiteRT lacks an operation, the converter would write pages to the standard error
        # stream. Allowed as the user's own, such operations are found in the file instead.
        settings = {"target_spec": only, "allow_custom_ops": True}
        with silenced(), unrolled(graph):
            try:
                graph.model.export(str(path), format="litert", verbose=False, **settings)
            except Exception as error:  # the converter's own class is no public name
                raise NotConvertible(refusal_message(self.title, error)) from error
        if lacking := _custom_operations(path):
            raise NotConvertible(lacking_message(self.title, ", ".join(lacking)))

    @staticmethod
    def load(path: str) -> Callable[[dict[str, np.ndarray]], dict]:
        """See :class:`Format`."""
        from ai_edge_litert.interpreter import Interpreter

        runner = Interpreter(path).get_signature_runner()
        return lambda rows: {name: y.copy() for name, y in runner(**rows).items()}


def _custom_operations(path: Path) -> list[str]:
    """Return the operations of a file that are not LiteRT's own."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    codes = [model.OperatorCodes(k).CustomCode() for k in range(model.OperatorCodesLength())]
    return sorted({code.decode() for code in codes if code is not None})
