"""Questions of refusing masks about the numbers of tensors; needless ones are left out."""

from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx import infinite
from stackfuse._export.formats.shorter_onnx.bounds import Bounds
from stackfuse._export.formats.shorter_onnx.onnx_graph import N_ROWS, OnnxGraph, attribute
from stackfuse._export.graph.build import LARGEST, SMALL

#: The kinds of numbers. Those that are too large for float32 are asked with the infinite ones.
MISSING, INFINITE, TOO_LARGE = "missing", "infinite", "too large"

#: Kinds of numbers by the tensors that are asked for them.
Questions = dict[str, set[str]]


def question_of(graph: OnnxGraph, mask: str) -> tuple[str, set[str]] | None:
    """Return the tensor that a mask asks for numbers, and their kinds; None for other masks."""
    node = graph.made_by(mask, "IsNaN", "Greater")
    size = graph.made_by(node.input[0], "Abs") if node is not None else None
    if size is not None:
        return _question_of_sum(graph, node, size)
    if node is None or node.op_type == "IsNaN" or not graph.is_number(node.input[1], 0):
        return None
    total = graph.made_by(node.input[0], "ReduceSum")
    numbers = graph.made_by(total.input[0], "Cast") if _sums_columns(graph, total) else None
    each = graph.made_by(numbers.input[0], "IsNaN", "Less") if numbers is not None else None
    if each is None or each.op_type == "IsNaN":
        return None if each is None else (each.input[0], {MISSING})
    limit, size = graph.constants.get(each.input[0]), graph.made_by(each.input[1], "Abs")
    if limit is None or size is None or limit.dtype.kind != "f":
        return None
    if np.all(limit == np.finfo(limit.dtype).max):
        return size.input[0], {INFINITE}
    return (size.input[0], {INFINITE, TOO_LARGE}) if np.all(limit == LARGEST) else None


def _question_of_sum(graph: OnnxGraph, node: Any, size: Any) -> tuple[str, set[str]] | None:
    """Return the question of a mask that asks the sum of a table's columns."""
    total = graph.made_by(size.input[0], "ReduceSum")
    small = graph.made_by(total.input[0], "Mul") if _sums_columns(graph, total) else None
    if small is None or not graph.is_number(small.input[1], SMALL):
        return None
    if node.op_type == "IsNaN":
        return small.input[0], {MISSING}
    limit = graph.constants.get(node.input[1])
    is_last = limit is not None and np.all(limit == np.finfo(limit.dtype).max)
    return (small.input[0], {INFINITE}) if is_last else None


def _sums_columns(graph: OnnxGraph, node: Any) -> bool:
    """Whether a node adds up the columns of a table."""
    if node is None or len(node.input) < 2:
        return False
    axes, shape = graph.constants.get(node.input[1]), graph.shapes.get(node.input[0], ())
    is_table = len(shape) == 2 and shape[0] == N_ROWS and not attribute(node, "keepdims", 1)
    return is_table and axes is not None and axes.tolist() in ([1], [-1])


def needed(graph: OnnxGraph, questions: Questions) -> Questions:
    """Return questions with the same answer, in rows: fewer of them, and to other tensors."""
    asked = {tensor: set(kinds) for tensor, kinds in questions.items()}
    _ask_where_filled(graph, asked)
    _ask_parts(graph, asked)
    _leave_out_impossible(graph, asked)
    _leave_out_implied(graph, asked)
    return {tensor: kinds for tensor, kinds in asked.items() if kinds}


def is_filled(graph: OnnxGraph, tensor: str) -> bool:
    """Whether a tensor has constants in the place of missing numbers."""
    return infinite.fills(graph, graph.makers.get(tensor))


def _ask_where_filled(graph: OnnxGraph, asked: Questions) -> None:
    """Ask copies in which missing numbers are filled in: what follows from them has bounds."""
    for tensor in list(asked):
        copy = infinite.filled(graph, tensor, LARGEST)
        if copy is not None and MISSING not in asked[tensor]:
            asked.setdefault(copy, set()).update(asked.pop(tensor))


def _ask_parts(graph: OnnxGraph, asked: Questions) -> None:
    """Ask the parts of a table, most of which cannot hold such numbers."""
    for tensor in list(asked):
        node = graph.made_by(tensor, "Concat")
        if node is not None and attribute(node, "axis") == 1:
            kinds = asked.pop(tensor)
            for part in node.input:
                asked.setdefault(part, set()).update(kinds)


def _leave_out_impossible(graph: OnnxGraph, asked: Questions) -> None:
    """Ask no tensor for numbers that it cannot hold, in rows that are not refused anyway."""
    large = [t for t, kinds in asked.items() if TOO_LARGE in kinds and is_filled(graph, t)]
    bounds = Bounds(graph, dict.fromkeys(large, LARGEST))
    for tensor, kinds in asked.items():
        if tensor in large:
            continue
        if bounds.of(tensor) <= LARGEST:
            kinds -= {TOO_LARGE}
        if np.isfinite(bounds.of(tensor)) and TOO_LARGE not in kinds:
            kinds -= {INFINITE}
        if bounds.never_missing(tensor):
            kinds -= {MISSING}


def _leave_out_implied(graph: OnnxGraph, asked: Questions) -> None:
    """Ask no tensor for numbers that show in another one."""
    for tensor, kinds in asked.items():
        shown = infinite.shown_by_missing(graph, tensor)
        if MISSING in kinds and shown in asked and TOO_LARGE not in asked[shown]:
            asked[shown] -= {MISSING, INFINITE}
            sources = infinite.shown_by(graph, shown)
        elif {MISSING, INFINITE} <= kinds:
            sources = infinite.shown_by(graph, tensor)
        else:
            continue
        for source in sources:
            if TOO_LARGE not in asked.get(source, {TOO_LARGE}):
                asked[source] -= {INFINITE}
