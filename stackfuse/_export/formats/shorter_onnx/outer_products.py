"""A matrix product over an axis of length 1 is a product of numbers, and needs no transposition.

Each number of the result is one product, to which the matrix product adds nothing.
"""

from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx.onnx_graph import OnnxGraph, attribute


def replace(graph: OnnxGraph) -> None:
    """Replace such products, and the transpositions around them."""
    for node in list(graph.graph.node):
        made = _product(graph, node) or _between_transpositions(graph, node)
        if made:
            graph.replace(node, made)


def _product(graph: OnnxGraph, node: Any) -> list[Any] | None:
    """Take ``Mul`` in place of ``MatMul``, of shapes (m, n, 1) and (m, 1, k)."""
    if node.op_type != "MatMul" or node.input[1] not in graph.constants:
        return None
    left, right = (graph.shapes.get(name, ()) for name in node.input)
    if len(left) != 3 or len(right) != 3 or left[2] != 1 or right[1] != 1 or left[0] != right[0]:
        return None
    return [graph.node("Mul", list(node.input), node.output[0])]


def _between_transpositions(graph: OnnxGraph, node: Any) -> list[Any] | None:
    """Multiply by a constant that is transposed, in place of transposing there and back."""
    product = graph.made_by(node.input[0], "Mul") if node.op_type == "Transpose" else None
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
