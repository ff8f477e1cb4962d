"""The tree that finds refused rows joins the trees that are added up for the same rows.

Its NaN makes their sum NaN, and so do the numbers that follow from the sum. For few rows each
operator less counts.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx import refusing_tree
from stackfuse._export.formats.shorter_onnx.onnx_graph import N_ROWS, OnnxGraph, attribute

#: Operators whose output is NaN where their first input is, or one of their inputs.
_OF_ONE = {"Neg", "Exp", "Reciprocal", "Reshape", "Squeeze", "Unsqueeze"}
_OF_ANY = {"Add", "Sub", "Mul", "Div"}

#: From here on exp is infinite, and below minus this 0.
_EXP_ENDS = 746.0


def replace(graph: OnnxGraph) -> None:
    """Let trees that find refused rows join others."""
    for node in list(graph.graph.node):
        _take_all_exponents(graph, node)
    for node in list(graph.graph.node):
        if refusing_tree.is_one(node):
            _join(graph, node)


def _take_all_exponents(graph: OnnxGraph, node: Any) -> None:
    """Leave out limits beyond which ``exp(-x)`` is 0 or infinite anyway."""
    negative: Any = graph.made_by(node.input[0], "Neg") if node.op_type == "Exp" else None
    limited = negative and graph.made_by(negative.input[0], "Clip")
    if limited is None or len(limited.input) != 3:
        return
    low, high = (graph.constants.get(name) for name in limited.input[1:])
    readers = [n for n in graph.graph.node if negative.output[0] in n.input]
    if low is None or high is None or len(readers) > 1:
        return
    if low <= -_EXP_ENDS and high >= _EXP_ENDS:
        negative.input[0] = limited.input[0]


def _join(graph: OnnxGraph, refusing: Any) -> None:
    """Put a tree that finds refused rows among other trees if all that follows is NaN by them."""
    (nan,) = refusing.output
    users = list(_users(graph, nan))
    if not _answer_all(graph, users):
        return
    nodes = list(graph.graph.node)
    first = min(nodes.index(user) for user, _ in users)
    for node in nodes[:first]:
        if node == refusing or not _is_one_sum(graph, node) or node.input[0] != refusing.input[0]:
            continue
        (total,) = node.output
        if all(_is_nan_by(graph, user, name, total) for user, name in users):
            refusing_tree.join(node, refusing)
            for user, name in users:
                _leave_out_added(graph, user, name)
            graph.read_instead(nan, total)
            return


def _answer_all(graph: OnnxGraph, users: list[tuple[Any, str]]) -> bool:
    """Whether every output of the graph is NaN or -1 for refused rows by such nodes."""
    answers = {user.output[0] for user, _ in users}
    for node in graph.graph.node:
        if node.op_type == "Where" and node.input[0] in answers:
            answers.add(node.output[0])
    return all(tensor.name in answers for tensor in graph.graph.output)


def _users(graph: OnnxGraph, name: str) -> Iterator[tuple[Any, str]]:
    """Yield the nodes that read a tensor, also in another shape, with the name they read."""
    for node in graph.graph.node:
        if name in node.input:
            if node.op_type == "Reshape":
                yield from _users(graph, node.output[0])
            else:
                yield node, name


def _is_one_sum(graph: OnnxGraph, node: Any) -> bool:
    """Whether a node adds up one number for each row in float64."""
    return (
        node.op_type == "TreeEnsemble"
        and attribute(node, "n_targets") == 1
        and graph.dtypes.get(node.output[0]) == np.float64
    )


def _is_nan_by(graph: OnnxGraph, user: Any, nan: str, total: str) -> bool:
    """Whether a node that adds NaN, or asks for it, may take it from a sum instead."""
    if user.op_type != "Add":
        return user.op_type == "IsNaN"
    others = [name for name in user.input if name != nan]
    is_output = any(tensor.name in others for tensor in graph.graph.output)
    return len(others) == 1 and not is_output and _follows(graph, others[0], total)


def _follows(graph: OnnxGraph, name: str, total: str) -> bool:
    """Whether all numbers of a row are NaN where a sum is."""
    if name == total:
        return True
    node = graph.makers.get(name)
    if node is None or graph.shapes.get(name, ())[:1] != (N_ROWS,):
        return False
    if node.op_type in _OF_ONE:
        return _follows(graph, node.input[0], total)
    if node.op_type == "Concat" and attribute(node, "axis") == 1:
        return all(_follows(graph, part, total) for part in node.input)
    return node.op_type in _OF_ANY and any(_follows(graph, part, total) for part in node.input)


def _leave_out_added(graph: OnnxGraph, user: Any, nan: str) -> None:
    """Leave out a node that only adds NaN to a tensor."""
    if user.op_type == "Add":
        (other,) = (name for name in user.input if name != nan)
        graph.graph.node.remove(user)
        graph.rename(other, user.output[0])
