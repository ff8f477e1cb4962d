"""Shapes that are computed from the number of rows become constants, with -1 for that number."""

import numpy as np

from stackfuse._export.formats.shorter_onnx.constant_rows import computed, independent_of_numbers
from stackfuse._export.formats.shorter_onnx.onnx_graph import OnnxGraph

#: How many rows are tried: two numbers that share no factor.
_TRIED = 3, 7


def replace(graph: OnnxGraph) -> None:
    """Give each ``Reshape`` a constant shape if all but one of its axes have the same length."""
    nodes = [node for node in graph.graph.node if node.op_type == "Reshape"]
    targets = {node.input[1] for node in nodes} & independent_of_numbers(graph)
    if not targets:
        return
    names = sorted(targets)
    few, many = (computed(graph, names, n) for n in _TRIED)
    shapes = {name: _shape(*both) for name, *both in zip(names, few, many)}
    for node in nodes:
        shape = shapes.get(node.input[1])
        if shape is not None:
            node.input[1] = graph.constant(shape)
    graph.infer_again()


def _shape(few: np.ndarray, many: np.ndarray) -> np.ndarray | None:
    """Return the one shape that stands for both, or None."""
    changes = few != many
    grows = np.array_equal(few[changes] * _TRIED[1], many[changes] * _TRIED[0])
    if changes.sum() != 1 or not grows or (few <= 0).any():
        return None
    return np.where(changes, -1, few)
