"""Patterns of a few operators, each with fewer operators that give the same numbers."""

from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx.onnx_graph import INT64, OnnxGraph, attribute


def replace(graph: OnnxGraph) -> None:
    """Replace patterns by fewer operators."""
    for node in list(graph.graph.node):
        made = (
            nan_where_refused(graph, node)
            or number_of_largest(graph, node)
            or number_from_itself(graph, node)
            or between_limits(graph, node)
            or product_over_one(graph, node)
            or between_transpositions(graph, node)
        )
        if made:
            graph.replace(node, made)


def nan_where_refused(graph: OnnxGraph, node) -> list[Any] | None:
    """Choose NaN or y in place of ``y * kept / kept``, where kept is 0 or 1."""
    product = graph.made_by(node.input[0], "Mul") if node.op_type == "Div" else None
    if product is None or product.input[1] != node.input[1]:
        return None
    column = graph.made_by(node.input[1], "Reshape")
    kept = graph.made_by(node.input[1] if column is None else column.input[0], "Where")
    if kept is None or not graph.is_number(kept.input[1], 0):
        return None
    if not graph.is_number(kept.input[2], 1):
        return None
    nan = graph.constant(np.full(1, np.nan, graph.constants[kept.input[1]].dtype))
    refused, made = kept.input[0], []
    if column is not None:
        made = [graph.node("Reshape", [refused, column.input[1]])]
        refused = made[0].output[0]
    return [*made, graph.node("Where", [refused, nan, product.input[0]], node.output[0])]


def number_of_largest(graph: OnnxGraph, node) -> list[Any] | None:
    """Take ``ArgMax`` in place of the smallest number of the columns that equal the largest.

    Rows of NaN, which have no largest column, may get the number of another one.
    """
    if node.op_type != "Cast" or node.attribute[0].i != INT64:
        return None
    least = graph.made_by(node.input[0], "Min")
    first = least and graph.made_by(least.input[0], "ReduceMin")
    choice: Any = first and graph.made_by(first.input[0], "Where")
    equal: Any = choice and graph.made_by(choice.input[0], "Equal")
    largest = equal and graph.made_by(equal.input[1], "ReduceMax")
    if largest is None or largest.input[0] != equal.input[0]:
        return None
    numbers = graph.constants.get(choice.input[1])
    if numbers is None or not np.array_equal(numbers, np.arange(numbers.size)):
        return None
    if not graph.is_number(choice.input[2], numbers.size):
        return None
    return [graph.node("ArgMax", [equal.input[0]], node.output[0], axis=1, keepdims=0)]


def number_from_itself(graph: OnnxGraph, node) -> list[Any] | None:
    """Keep the number of a column that is looked up in a table where it stands for itself."""
    total = graph.made_by(node.input[0], "ReduceSum") if node.op_type == "Cast" else None
    choice: Any = total and graph.made_by(total.input[0], "Where")
    equal: Any = choice and graph.made_by(choice.input[0], "Equal")
    column: Any = equal and graph.made_by(equal.input[0], "Reshape")
    if column is None or graph.made_by(column.input[0], "ArgMax") is None:
        return None
    numbers, table = (graph.constants.get(n) for n in (equal.input[1], choice.input[1]))
    if numbers is None or table is None or not graph.is_number(choice.input[2], 0):
        return None
    if not np.array_equal(numbers, table) or node.attribute[0].i != INT64:
        return None
    if not np.array_equal(numbers, np.arange(numbers.size)):
        return None
    return [graph.node("Identity", [column.input[0]], node.output[0])]


def between_limits(graph: OnnxGraph, node) -> list[Any] | None:
    """Take ``Clip`` in place of a maximum and a minimum."""
    above = graph.made_by(node.input[0], "Max") if node.op_type == "Min" else None
    if above is None or len(above.input) != 2 or len(node.input) != 2:
        return None
    names = above.input[1], node.input[1]
    limits = [graph.constants[name] for name in names if name in graph.constants]
    if len(limits) < 2 or any(limit.shape not in ((), (1,)) for limit in limits):
        return None
    low, high = (np.reshape(limit, ()) for limit in limits)
    if not low <= high or not graph.shapes.get(above.input[0]):
        return None
    ends = [graph.constant(low), graph.constant(high)]
    return [graph.node("Clip", [above.input[0], *ends], node.output[0])]


def product_over_one(graph: OnnxGraph, node) -> list[Any] | None:
    """Take ``Mul`` in place of ``MatMul``, of shapes (m, n, 1) and (m, 1, k).

    Each number of the result is one product, to which the matrix product adds nothing.
    """
    if node.op_type != "MatMul" or node.input[1] not in graph.constants:
        return None
    left, right = (graph.shapes.get(name, ()) for name in node.input)
    if len(left) != 3 or len(right) != 3 or left[2] != 1 or right[1] != 1 or left[0] != right[0]:
        return None
    return [graph.node("Mul", list(node.input), node.output[0])]


def between_transpositions(graph: OnnxGraph, node) -> list[Any] | None:
    """Multiply by a constant that is transposed, in place of transposing there and back."""
    product: Any = graph.made_by(node.input[0], "Mul") if node.op_type == "Transpose" else None
    first: Any = product and graph.made_by(product.input[0], "Transpose")
    if first is None or product.input[1] not in graph.constants:
        return None
    there, back = (list(attribute(n, "perm", [])) for n in (first, node))
    values = graph.constants[product.input[1]]
    is_undone = there and [there[axis] for axis in back] == list(range(len(there)))
    if not is_undone or values.ndim != len(there):
        return None
    factor = graph.constant(np.ascontiguousarray(values.transpose(back)))
    return [graph.node("Mul", [first.input[0], factor], node.output[0])]
