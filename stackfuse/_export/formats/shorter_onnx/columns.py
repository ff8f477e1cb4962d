"""Columns that are put into a table, and taken out of it again, are taken from where they are."""

from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx.onnx_graph import OnnxGraph, attribute

#: The number that stands for the end of an axis.
_END = 2**31 - 1

#: Operators that keep all numbers in their order.
_RESHAPING = {"Reshape", "Squeeze", "Unsqueeze", "Flatten"}


def replace(graph: OnnxGraph) -> None:
    """Take tensors from where they were made."""
    outputs = {tensor.name for tensor in graph.graph.output}
    same: dict[str, str] = {}
    for node in list(graph.graph.node):
        for k, name in enumerate(node.input):
            node.input[k] = same.get(name, name)
        output = node.output[0] if node.output else ""
        unchanged = _before_reshaping(graph, node)
        if unchanged is not None and output not in outputs:
            same[output] = unchanged
        taken = _taken_columns(graph, node)
        if taken is None:
            continue
        source, columns, dtype = _where_made(graph, node.input[0], taken)
        is_whole = columns == list(range(graph.shapes[source][1]))
        if is_whole and dtype is None and output not in outputs:
            same[output] = source
        elif is_whole and dtype is not None:
            graph.replace(node, [graph.node("Cast", [source], output, to=dtype)])
        elif source != node.input[0]:
            numbers = graph.constant(np.array(columns, np.int64))
            made = [graph.node("Gather", [source, numbers], None if dtype else output, axis=1)]
            if dtype is not None:
                made.append(graph.node("Cast", made[0].output, output, to=dtype))
            graph.replace(node, made)


def _before_reshaping(graph: OnnxGraph, node: Any) -> Any:
    """Return the tensor that a node gives its first shape again, or None.

    A ``Reshape`` reads the first of the tensors from which it is made by reshaping.
    """
    shape = graph.shapes.get(node.output[0]) if node.output else None
    source: Any = node
    first = None
    while shape is not None and _only_reshapes(graph, source):
        first = source.input[0]
        if graph.shapes.get(first) == shape:
            return first
        source = graph.makers.get(first)
    if first is not None and node.op_type == "Reshape":
        target = graph.constants.get(node.input[1])
        if target is not None and 0 not in target:
            node.input[0] = first
    return None


def _only_reshapes(graph: OnnxGraph, node: Any) -> bool:
    """Whether a node keeps all numbers in their order."""
    if node is None or node.op_type != "Slice":
        return node is not None and node.op_type in _RESHAPING
    shapes = [graph.shapes.get(name) for name in (node.input[0], node.output[0])]
    forward = len(node.input) < 5 or graph.is_number(node.input[4], 1)
    return forward and shapes[0] is not None and shapes[0] == shapes[1]


def _where_made(
    graph: OnnxGraph, name: str, columns: list[int]
) -> tuple[str, list[int], int | None]:
    """Return the narrowest table that columns of a table come from, and their places there.

    The third is ONNX's number of the dtype that they were cast to on the way, or None.
    """
    dtype = None
    while (node := graph.made_by(name, "Concat", "Gather", "Slice", "Cast")) is not None:
        if node.op_type == "Cast":
            if dtype is not None or name not in graph.shapes:
                break
            name, dtype = node.input[0], attribute(node, "to")
        elif node.op_type == "Concat":
            part = _part(graph, node, columns)
            if part is None:
                break
            name, columns = part
        else:
            taken = _taken_columns(graph, node)
            if taken is None:
                break
            name, columns = node.input[0], [taken[k] for k in columns]
    return name, columns, dtype


def _part(graph: OnnxGraph, node, columns: list[int]) -> tuple[str, list[int]] | None:
    """Return the input of a ``Concat`` that holds all of some columns, and their places in it."""
    if attribute(node, "axis") != 1:
        return None
    first = 0
    for name in node.input:
        width = _width(graph, name)
        if width is None:
            return None
        if all(first <= column < first + width for column in columns):
            return name, [column - first for column in columns]
        first += width
    return None


def _taken_columns(graph: OnnxGraph, node: Any) -> list[int] | None:
    """Return the columns of its first input that a node takes, all rows of them, or None."""
    if node.op_type not in ("Gather", "Slice"):
        return None
    width = _width(graph, node.input[0])
    if width is None:
        return None
    if node.op_type == "Gather":
        numbers = graph.constants.get(node.input[1])
        if attribute(node, "axis", 0) != 1 or numbers is None or numbers.ndim != 1:
            return None
        return np.arange(width)[numbers].tolist() or None
    parts = [graph.constants[name].tolist() for name in node.input[1:] if name in graph.constants]
    if len(parts) < 3 or len(parts) < len(node.input) - 1:
        return None
    steps = parts[3] if len(parts) > 3 else [1] * len(parts[0])
    taken = slice(None)
    for start, end, axis, step in zip(*parts[:3], steps):
        if axis == 1:
            taken = slice(start, end, step)
        elif axis != 0 or start != 0 or end < _END or step != 1:
            return None
    return np.arange(width)[taken].tolist() or None


def _width(graph: OnnxGraph, name: str) -> int | None:
    """Return the number of columns of a table."""
    shape = graph.shapes.get(name)
    return shape[1] if shape is not None and len(shape) == 2 else None
