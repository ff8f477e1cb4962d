"""Recurrent layers, for formats that cannot run the loop over their steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # of TensorFlow, which files are read without
    from stackfuse._export.graph.graph import Graph


@contextmanager
def unrolled(graph: "Graph") -> Iterator[bool]:
    """Within, recurrent layers repeat their steps; yield whether there are any that looped."""
    import keras

    from stackfuse._keras import private

    parts = private.flatten_layers(graph.model)
    layers = [part for part in parts if isinstance(part, keras.layers.RNN) and not part.unroll]
    try:
        for layer in layers:
            layer.unroll = True
        yield bool(layers)
    finally:
        for layer in layers:
            layer.unroll = False


def holds_loop(graph: Any) -> bool:
    """Whether an ONNX graph holds a loop, which is how a recurrent layer ends without operator."""
    return any(node.op_type == "Loop" for node in graph.node)


def take_no_rows(graph: Any) -> None:
    """Make the recurrent operators of an ONNX graph take no rows: they get one more row of zeros.

    onnxruntime ends the whole process when its LSTM gets none.
    """
    from onnx import numpy_helper

    constants = {
        "one_row_more": np.array([0, 0, 0, 0, 1, 0]),
        "first_row": np.array([0]),
        "last_row": np.array([-1]),
        "axis_of_rows_1": np.array([1]),
        "axis_of_rows_2": np.array([2]),
    }
    nodes = []
    for node in graph.node:
        before, after = _around(node) if node.op_type == "LSTM" else ([], [])
        nodes += [*before, node, *after]
    if len(nodes) > len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)
        graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())


def _around(node: Any) -> tuple[list[Any], list[Any]]:
    """Return the nodes that give an LSTM one more row, and those that take it away again."""
    from onnx import helper

    before, after = [], []
    for k, name in enumerate(node.input):
        if k in (0, 5, 6) and name:  # the steps, and both states before the first one
            node.input[k] = f"{node.name}/input_{k}"
            before.append(helper.make_node("Pad", [name, "one_row_more"], [node.input[k]]))
    for k, name in enumerate(node.output):
        if name:  # all steps have four axes, the last states three
            node.output[k] = f"{node.name}/output_{k}"
            axis = "axis_of_rows_2" if k == 0 else "axis_of_rows_1"
            inputs = [node.output[k], "first_row", "last_row", axis]
            after.append(helper.make_node("Slice", inputs, [name]))
    return before, after
