"""The label and the two probabilities of a sum over trees, by fewer operators."""

from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx import refusing_tree
from stackfuse._export.formats.shorter_onnx.onnx_graph import N_ROWS, OnnxGraph, attribute


def replace(graph: OnnxGraph) -> None:
    """Replace what follows from one sum over trees."""
    if not any(node.op_type == "TreeEnsemble" for node in graph.graph.node):
        return
    for node in list(graph.graph.node):
        made = label_by_sign(graph, node) or logistic_shares(graph, node)
        if made:
            graph.replace(node, made)


def logistic_shares(graph: OnnxGraph, node: Any) -> list[Any] | None:
    """Compute ``1 / (1 + exp([x, -x]))`` in place of ``p = 1 / (1 + exp(-x))`` and ``1 - p``.

    The first one has more digits where it is small. So only outputs of the graph are replaced:
    somebody who takes its logarithm expects those of ``1 - p``.
    """
    if node.op_type != "Concat" or attribute(node, "axis") != 1 or len(node.input) != 2:
        return None
    is_output = any(tensor.name == node.output[0] for tensor in graph.graph.output)
    is_read = any(node.output[0] in other.input for other in graph.graph.node)
    rest: Any = graph.made_by(node.input[0], "Sub") if is_output and not is_read else None
    if rest is None or rest.input[1] != node.input[1] or not graph.is_number(rest.input[0], 1):
        return None
    share = graph.made_by(node.input[1], "Reciprocal")
    total: Any = share and graph.made_by(share.input[0], "Add")
    power: Any = total and graph.made_by(total.input[0], "Exp")
    negative: Any = power and graph.made_by(power.input[0], "Neg")
    if negative is None or not graph.is_number(total.input[1], 1):
        return None
    if graph.shapes.get(negative.input[0]) != (N_ROWS, 1):
        return None
    signs = graph.constant(np.array([[1, -1]], graph.dtypes[negative.input[0]]))
    both = graph.node("Mul", [negative.input[0], signs])
    powers = graph.node("Exp", both.output)
    totals = graph.node("Add", [powers.output[0], total.input[1]])
    return [both, powers, totals, graph.node("Reciprocal", totals.output, node.output[0])]


def label_by_sign(graph: OnnxGraph, node: Any) -> list[Any] | None:
    """Choose by one tree between -1 for NaN, 1 for a sum of at least 0, and 0."""
    if node.op_type != "Where" or not graph.is_number(node.input[1], -1):
        return None
    refused, label = graph.made_by(node.input[0], "IsNaN"), graph.made_by(node.input[2], "Cast")
    is_second: Any = label and graph.made_by(label.input[0], "GreaterOrEqual")
    if refused is None or is_second is None or not graph.is_number(is_second.input[1], 0):
        return None
    sums = {_column_before(graph, name) for name in (refused.input[0], is_second.input[0])}
    total = sums.pop()
    if sums or total is None or graph.dtypes.get(total) != np.float64:
        return None
    signs = graph.node(
        "TreeEnsemble", [total], domain="ai.onnx.ml", n_targets=1, **refusing_tree.signs()
    )
    whole = graph.node("Cast", signs.output, to=attribute(label, "to"))
    axis = graph.constant(np.array([1]))
    return [signs, whole, graph.node("Squeeze", [whole.output[0], axis], node.output[0])]


def _column_before(graph: OnnxGraph, name: str) -> str | None:
    """Return the column, shape (batch, 1), from which a tensor of shape (batch,) is made."""
    node = graph.made_by(name, "Reshape", "Squeeze")
    if node is None or graph.shapes.get(name) != (N_ROWS,):
        return None
    return node.input[0] if graph.shapes.get(node.input[0]) == (N_ROWS, 1) else None
