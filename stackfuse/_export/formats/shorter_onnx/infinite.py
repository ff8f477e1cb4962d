"""Where infinite and missing numbers of a tensor go."""

from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx.bounds import largest
from stackfuse._export.formats.shorter_onnx.onnx_graph import OnnxGraph


def shown_by(graph: OnnxGraph, name: str) -> list[str]:
    """Return the tensors whose infinite numbers make some of a tensor's row infinite or NaN.

    But for the last of them, behind a filling of missing numbers, so do their missing numbers.
    """
    found = []
    while (node := graph.makers.get(name)) is not None:
        if node.op_type in ("Add", "Sub", "Mul", "Div"):
            values = graph.constants.get(node.input[1])
            scales = node.op_type in ("Mul", "Div")
            if values is None or not np.isfinite(values).all() or (scales and 0 in values):
                break
            name = node.input[0]
        elif fills(graph, node):
            name = node.input[2]
        else:
            break
        found.append(name)
    return found


def shown_by_missing(graph: OnnxGraph, name: str) -> str | None:
    """Return the tensor whose infinite and missing numbers make some of a tensor's row NaN.

    An infinite number makes all products with it infinite or NaN. If all logits are, softmax gives
    NaN.
    """
    softmax = graph.made_by(name, "Softmax")
    logits = softmax.input[0] if softmax is not None else ""
    total = graph.made_by(logits, "Add")
    if total is not None and total.input[1] in graph.constants:
        logits = total.input[0]
    product = graph.made_by(logits, "MatMul")
    if product is None:
        return None
    weights = graph.constants.get(product.input[1])
    if weights is None or weights.ndim != 2 or not np.isfinite(weights).all():
        return None
    return product.input[0]


def fills(graph: OnnxGraph, node: Any) -> bool:
    """Whether a node puts constants in the place of missing numbers of a tensor."""
    if node is None or node.op_type != "Where" or node.input[1] not in graph.constants:
        return False
    mask = graph.made_by(node.input[0], "IsNaN")
    values = graph.constants[node.input[1]]
    return mask is not None and mask.input[0] == node.input[2] and not np.isnan(values).any()


def filled(graph: OnnxGraph, name: str, limit: float) -> str | None:
    """Return a tensor with constants below a limit in the place of another one's missing numbers.

    None if the graph has no such tensor.
    """
    for node in graph.graph.node:
        if node.op_type == "Where" and node.input[2] == name and fills(graph, node):
            if largest(graph.constants[node.input[1]]) < limit:
                return node.output[0]
    return None
