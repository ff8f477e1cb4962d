"""The label and the two probabilities of a sum over trees, by fewer operators."""

from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx.onnx_graph import INT64, N_ROWS, OnnxGraph, attribute


def replace(graph: OnnxGraph) -> None:
    """Replace what follows from one sum over trees."""
    if not any(node.op_type == "TreeEnsemble" for node in graph.graph.node):
        return
    for node in list(graph.graph.node):
        made = label_by_tree(graph, node) or logistic_shares(graph, node)
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


def label_by_tree(graph: OnnxGraph, node: Any) -> list[Any] | None:
    """Choose by one tree between -1 for NaN, 1 for the second class, and 0."""
    if node.op_type != "Where" or not graph.is_number(node.input[1], -1):
        return None
    refused = graph.made_by(node.input[0], "IsNaN")
    total = _column_before(graph, refused.input[0]) if refused is not None else None
    if total is None or graph.dtypes.get(total) != np.float64:
        return None
    asked = _asked_by_sign(graph, node, total) or _asked_by_share(graph, node, total)
    if asked is None:
        return None
    name, question = asked
    tree = graph.node("TreeEnsemble", [name], domain="ai.onnx.ml", n_targets=1, **question)
    whole = graph.node("Cast", tree.output, to=INT64)
    axis = graph.constant(np.array([1]))
    return [tree, whole, graph.node("Squeeze", [whole.output[0], axis], node.output[0])]


def _asked_by_sign(graph: OnnxGraph, node: Any, total: str) -> tuple[str, dict] | None:
    """Return a sum and the question to it if the label is whether the sum is at least 0."""
    label = graph.made_by(node.input[2], "Cast")
    is_second: Any = label and graph.made_by(label.input[0], "GreaterOrEqual")
    if is_second is None or not graph.is_number(is_second.input[1], 0):
        return None
    if _column_before(graph, is_second.input[0]) != total or attribute(label, "to") != INT64:
        return None
    return total, _sides(0, 0.0, upper_has_limit=True)


def _asked_by_share(graph: OnnxGraph, node: Any, total: str) -> tuple[str, dict] | None:
    """Return shares and the question to them if the label is the larger of p and 1 - p."""
    label = graph.made_by(node.input[2], "ArgMax")
    shares: Any = label and graph.made_by(label.input[0], "Add")
    divided: Any = shares and graph.made_by(shares.input[0], "Div")
    if divided is None or divided.input[0] != total or attribute(label, "axis") != 1:
        return None
    added, divisors = (graph.constants.get(n.input[1]) for n in (shares, divided))
    if added is None or divisors is None or divisors.shape != (2,):
        return None
    if not np.array_equal(added, [1, 0]) or not -divisors[0] == divisors[1] > 0:
        return None
    return shares.output[0], _sides(1, 0.5, upper_has_limit=False)


def _column_before(graph: OnnxGraph, name: str) -> str | None:
    """Return the column, shape (batch, 1), from which a tensor of shape (batch,) is made."""
    node = graph.made_by(name, "Reshape", "Squeeze")
    if node is None or graph.shapes.get(name) != (N_ROWS,):
        return None
    return node.input[0] if graph.shapes.get(node.input[0]) == (N_ROWS, 1) else None


def _sides(column: int, limit: float, *, upper_has_limit: bool) -> dict[str, Any]:
    """Return the attributes of a tree in float64 that tells on which side of a limit numbers are.

    It gives 1 above the limit, 0 below it, and -1 for NaN.

    Parameters
    ----------
    column : int
    limit : float
    upper_has_limit : bool
        Whether the limit itself counts as above.
    """
    from onnx.numpy_helper import from_array

    greater, greater_or_equal, less, less_or_equal = 3, 2, 1, 0  # as ONNX numbers them
    modes = (greater_or_equal, less) if upper_has_limit else (greater, less_or_equal)
    return {
        "nodes_featureids": [column, column],
        "nodes_splits": from_array(np.full(2, limit)),
        "nodes_modes": from_array(np.array(modes, np.uint8)),
        "nodes_truenodeids": [0, 1],
        "nodes_trueleafs": [1, 1],
        "nodes_falsenodeids": [1, 2],
        "nodes_falseleafs": [0, 1],
        "tree_roots": [0],
        "leaf_targetids": [0, 0, 0],
        "leaf_weights": from_array(np.array([1.0, 0.0, -1.0])),
        "aggregate_function": 1,  # the sum
        "post_transform": 0,  # none
    }
