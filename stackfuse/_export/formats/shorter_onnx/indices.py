"""Numbers of rows of a table that are never negative are used as they are.

Keras counts negative ones from the end of the table, which takes four operators.
"""

from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx.onnx_graph import OnnxGraph, attribute

#: Operators that keep all numbers.
_KEEPING = {"Cast", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity"}


def replace(graph: OnnxGraph) -> None:
    """Let each ``Gather`` read numbers that are never negative from where they were made."""
    for node in graph.graph.node:
        if node.op_type == "Gather":
            numbers = _before_wrapping(graph, node.input[1])
            if numbers is not None and _never_negative(graph, numbers):
                node.input[1] = numbers


def _before_wrapping(graph: OnnxGraph, name: str) -> str | None:
    """Return i of ``where(i < 0, i + n, i)``."""
    choice = graph.made_by(name, "Where")
    question: Any = choice and graph.made_by(choice.input[0], "Less")
    if question is None or not graph.is_number(question.input[1], 0):
        return None
    asked, cast = question.input[0], graph.made_by(question.input[0], "Cast")
    numbers = choice.input[2]
    return numbers if numbers in (asked, cast and cast.input[0]) else None


def _never_negative(graph: OnnxGraph, name: str) -> bool:
    """Whether all of a tensor's numbers are at least 0."""
    from onnx import numpy_helper

    if name in graph.constants:
        return bool(np.all(graph.constants[name] >= 0))
    node = graph.makers.get(name)
    if node is None:
        return False
    if node.op_type == "TreeEnsemble":
        return bool(np.all(numpy_helper.to_array(attribute(node, "leaf_weights")) >= 0))
    if node.op_type in _KEEPING:
        return _never_negative(graph, node.input[0])
    return node.op_type == "Add" and all(_never_negative(graph, n) for n in node.input)
