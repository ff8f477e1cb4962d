"""Rows that are the same whatever X holds become constants.

A graph reads numbers that must stay exact from a table, once for each row of X (see
``exact_constants``). In ONNX nothing rewrites arithmetic with constants. Where such rows meet a
tensor with the rows of X, one row is enough.
"""

from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx.onnx_graph import OnnxGraph, inputs_of

#: Operators that stretch one row to as many as another input has.
_STRETCHING = {
    *("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where"),
    *("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"),
}

#: How many rows are tried.
_TRIED = 1, 5


def replace(graph: OnnxGraph) -> None:
    """Give operators one row where all rows are the same."""
    independent = independent_of_numbers(graph)
    if not independent:
        return
    readers = [
        (node, k, name)
        for node in graph.graph.node
        if node.op_type in _STRETCHING and independent.isdisjoint(node.output)
        for k, name in enumerate(node.input)
        if name in independent
    ]
    if not readers:
        return
    rows = _equal_rows(graph, sorted({name for _, _, name in readers}))
    made: dict[str, str] = {}
    for node, k, name in readers:
        if name in rows and _keeps_shape(graph, node, k, rows[name].shape):
            node.input[k] = made[name] = made.get(name) or graph.constant(rows[name])


def independent_of_numbers(graph: OnnxGraph) -> set[str]:
    """Return the made tensors that depend on no more of X than its number of rows."""
    depending = {tensor.name for tensor in graph.graph.input} - set(graph.constants)
    independent = set()
    for node in graph.graph.node:
        within = any(a.HasField("g") or a.graphs for a in node.attribute)
        if within or (node.op_type != "Shape" and not depending.isdisjoint(inputs_of(node))):
            depending.update(node.output)
        else:
            independent.update(node.output)
    return independent


def _equal_rows(graph: OnnxGraph, names: list[str]) -> dict[str, np.ndarray]:
    """Return the one row, shape (1, ...), of tensors in which all rows are equal."""
    few, many = (computed(graph, names, n) for n in _TRIED)
    return {
        name: row
        for name, row, rows in zip(names, few, many)
        if row.shape[:1] == (_TRIED[0],)
        and rows.shape == (_TRIED[1], *row.shape[1:])
        and row.dtype.kind in "fib"
        and np.array_equal(np.broadcast_to(row, rows.shape), rows, equal_nan=row.dtype.kind == "f")
    }


def computed(graph: OnnxGraph, names: list[str], n_rows: int) -> list[np.ndarray]:
    """Return tensors for a number of rows in which all numbers are 0."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        graph.part(names).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(names, {e.name: _blank(e, n_rows) for e in session.get_inputs()})


def _blank(entry: Any, n_rows: int) -> np.ndarray:
    """Return zeros, or empty strings, for an input of a session."""
    shape = n_rows, *(d if isinstance(d, int) else 1 for d in entry.shape[1:])
    if entry.type == "tensor(string)":
        return np.full(shape, "", object)
    names = {"tensor(double)": "float64", "tensor(float)": "float32"}
    return np.zeros(shape, names.get(entry.type) or entry.type[len("tensor(") : -1])


def _keeps_shape(graph: OnnxGraph, node, k: int, shape: tuple[int, ...]) -> bool:
    """Whether the output of a node has the same shape if its k-th input has this one."""
    names = *node.input, *node.output
    if any(name not in graph.shapes for name in names):
        return False
    *inputs, output = (graph.shapes[name] for name in names)
    inputs[k] = shape
    return np.broadcast_shapes(*inputs) == output
