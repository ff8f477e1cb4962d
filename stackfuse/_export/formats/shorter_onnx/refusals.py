"""Rows with missing, infinite or too large numbers are found by a tree, or a product with zeros.

Such a row gives NaN, since 0 times NaN or infinity is NaN; any other gives 0. Added to the outputs,
0 changes nothing, and NaN is the answer to a row that is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx import infinite, refusing_tree
from stackfuse._export.formats.shorter_onnx.bounds import Bounds
from stackfuse._export.formats.shorter_onnx.onnx_graph import N_ROWS, OnnxGraph, attribute

#: What a mask finds in the numbers of a tensor.
_MISSING, _INFINITE, _TOO_LARGE = "missing", "infinite", "too large"

#: The largest float64 that does not become infinite in float32.
_LARGEST = float(np.nextafter(float(np.finfo(np.float32).max) + 2.0**103, 0.0))

#: Tensors with more columns are asked by no tree: for many rows a product takes less time.
_MAX_WIDTH = 64


def replace(graph: OnnxGraph) -> None:
    """Find refused rows by few operators."""
    choices = [node for node in graph.graph.node if _is_refusal(graph, node)]
    masks = {_mask_of(graph, node) for node in choices}
    if len(masks) != 1:
        return
    found = {name: _check_of(graph, name) for name in _alternatives(graph, masks.pop())}
    asked: dict[str, set[str]] = {}
    for check in found.values():
        if check is not None:
            asked.setdefault(check[0], set()).update(check[1])
    _ask_where_filled(graph, asked)
    _ask_parts(graph, asked)
    _leave_out_impossible(graph, asked)
    _leave_out_implied(graph, asked)
    by_number = {t: asked[t] for t in sorted(asked) if _is_asked_by_number(graph, t, asked[t])}
    others = [
        name
        for name, check in found.items()
        if check is None or (check[0] not in by_number and check[1] & asked.get(check[0], set()))
    ]
    by_mask = {}
    for check in (found[name] for name in others):
        if check is not None:
            by_mask.setdefault(check[0], set()).update(check[1])
    if not by_number or any(
        not kinds <= by_mask.get(tensor, set())
        for tensor, kinds in asked.items()
        if tensor not in by_number
    ):
        return
    place = min(list(graph.graph.node).index(node) for node in choices)
    floats = [d for node in choices if (d := _dtype_of_answer(graph, node)).kind == "f"]
    writer = _Writer(graph, floats[0] if floats else np.dtype(np.float32))
    nan = writer.numbers(by_number)
    if others:
        writer.choose(choices, writer.mask(nan, others))
    else:
        writer.answer(choices, nan)
    for k, node in enumerate(writer.nodes):
        graph.graph.node.insert(place + k, node)


def _is_refusal(graph: OnnxGraph, node) -> bool:
    """Whether a node chooses NaN, or -1, for the rows of a mask."""
    chosen = graph.constants.get(node.input[1]) if node.op_type == "Where" else None
    if chosen is None or chosen.size != 1 or chosen.dtype.kind not in "fi":
        return False
    return bool(np.all(np.isnan(chosen) if chosen.dtype.kind == "f" else chosen == -1))


def _mask_of(graph: OnnxGraph, node) -> str:
    """Return the mask by which a node chooses, of shape (batch,)."""
    column = graph.made_by(node.input[0], "Reshape")
    return node.input[0] if column is None else column.input[0]


def _dtype_of_answer(graph: OnnxGraph, node) -> np.dtype:
    return graph.constants[node.input[1]].dtype


def _alternatives(graph: OnnxGraph, name: str) -> Iterator[str]:
    """Yield the masks of which a mask is true where any is."""
    node = graph.made_by(name, "Or")
    if node is None:
        yield name
    else:
        for part in node.input:
            yield from _alternatives(graph, part)


def _check_of(graph: OnnxGraph, name: str) -> tuple[str, set[str]] | None:
    """Return the tensor that a mask asks for numbers, and for which kinds; None for other masks."""
    node = graph.made_by(name, "IsNaN", "Greater")
    size = node and graph.made_by(node.input[0], "Abs")
    if node is not None and size is not None:  # that of a sum
        total = graph.made_by(size.input[0], "ReduceSum")
        if total is None or not _sums_columns(graph, total):
            return None
        if node.op_type == "IsNaN":
            return total.input[0], {_MISSING}
        limit = graph.constants.get(node.input[1])
        is_last = limit is not None and np.all(limit == np.finfo(limit.dtype).max)
        return (total.input[0], {_INFINITE}) if is_last else None
    total = node and graph.made_by(node.input[0], "ReduceSum")
    if total is None or node.op_type != "Greater" or not graph.is_number(node.input[1], 0):
        return None
    numbers = graph.made_by(total.input[0], "Cast") if _sums_columns(graph, total) else None
    mask: Any = numbers and graph.made_by(numbers.input[0], "IsNaN", "Less")
    if mask is None:
        return None
    if mask.op_type == "IsNaN":
        return mask.input[0], {_MISSING}
    limit, size = graph.constants.get(mask.input[0]), graph.made_by(mask.input[1], "Abs")
    if limit is None or size is None or limit.dtype.kind != "f":
        return None
    if np.all(limit == np.finfo(limit.dtype).max):
        return size.input[0], {_INFINITE}
    return (size.input[0], {_INFINITE, _TOO_LARGE}) if np.all(limit == _LARGEST) else None


def _sums_columns(graph: OnnxGraph, node) -> bool:
    """Whether a node adds up the columns of a table."""
    axes = graph.constants.get(node.input[1]) if len(node.input) > 1 else None
    shape = graph.shapes.get(node.input[0], ())
    is_table = len(shape) == 2 and shape[0] == N_ROWS
    return is_table and axes is not None and axes.tolist() in ([1], [-1])


def _ask_where_filled(graph: OnnxGraph, asked: dict[str, set[str]]) -> None:
    """Ask copies in which missing numbers are filled in: there, a product finds large ones."""
    for tensor in list(asked):
        copy = infinite.filled(graph, tensor, _LARGEST)
        if copy is not None and _MISSING not in asked[tensor]:
            asked.setdefault(copy, set()).update(asked.pop(tensor))


def _ask_parts(graph: OnnxGraph, asked: dict[str, set[str]]) -> None:
    """Ask the parts of a table, most of which cannot hold such numbers."""
    for tensor in list(asked):
        node = graph.made_by(tensor, "Concat")
        if node is not None and attribute(node, "axis") == 1:
            kinds = asked.pop(tensor)
            for part in node.input:
                asked.setdefault(part, set()).update(kinds)


def _leave_out_impossible(graph: OnnxGraph, asked: dict[str, set[str]]) -> None:
    """Ask no tensor for numbers that it cannot hold, in rows that are not refused anyway."""
    large = [t for t, kinds in asked.items() if _TOO_LARGE in kinds and is_filled(graph, t)]
    bounds = Bounds(graph, dict.fromkeys(large, _LARGEST))
    for tensor, kinds in asked.items():
        if tensor in large:
            continue
        if bounds.of(tensor) <= _LARGEST:
            kinds -= {_TOO_LARGE}
        if np.isfinite(bounds.of(tensor)):
            kinds -= {_INFINITE}
        if bounds.never_missing(tensor):
            kinds -= {_MISSING}


def _leave_out_implied(graph: OnnxGraph, asked: dict[str, set[str]]) -> None:
    """Ask no tensor for numbers that show in another one."""
    for tensor, kinds in asked.items():
        shown = infinite.shown_by_missing(graph, tensor)
        if shown in asked and _MISSING in kinds:
            asked[shown] -= {_MISSING, _INFINITE}
            shown_too = infinite.shown_by(graph, shown)
        elif {_MISSING, _INFINITE} <= kinds:
            shown_too = infinite.shown_by(graph, tensor)
        else:
            continue
        for source in shown_too:
            if source in asked:
                asked[source] -= {_INFINITE}


def is_filled(graph: OnnxGraph, tensor: str) -> bool:
    """Whether a tensor has constants in the place of missing numbers."""
    return infinite.fills(graph, graph.makers.get(tensor))


def _is_asked_by_number(graph: OnnxGraph, tensor: str, kinds: set[str]) -> bool:
    """Whether a tree or a product can give NaN for exactly those rows with such numbers."""
    return bool(kinds) and (
        _is_asked_by_tree(graph, tensor) or _is_asked_by_product(graph, tensor, kinds)
    )


def _is_asked_by_tree(graph: OnnxGraph, tensor: str) -> bool:
    shape = graph.shapes.get(tensor, ())
    is_small = graph.dtypes.get(tensor) == np.float64 and len(shape) == 2 and shape[1] <= _MAX_WIDTH
    return is_small and any(node.op_type == "TreeEnsemble" for node in graph.graph.node)


def _is_asked_by_product(graph: OnnxGraph, tensor: str, kinds: set[str]) -> bool:
    if graph.dtypes.get(tensor) not in (np.float32, np.float64):
        return False
    bounds = Bounds(graph)
    missing = _MISSING in kinds or is_filled(graph, tensor) or bounds.never_missing(tensor)
    return missing and (_INFINITE in kinds or bool(np.isfinite(bounds.of(tensor))))


@dataclass
class _Writer:
    """Makes the nodes that find refused rows, and lets those that choose answers use them."""

    graph: OnnxGraph
    dtype: np.dtype
    nodes: list[Any] = field(default_factory=list)

    def numbers(self, asked: dict[str, set[str]]) -> str:
        """Return NaN for rows with such numbers, and 0 for others, of shape (batch, 1)."""
        total: str | None = None
        for tensor, kinds in asked.items():
            by_tree = _is_asked_by_tree(self.graph, tensor)
            nan = self._by_tree(tensor, kinds) if by_tree else self._by_product(tensor, kinds)
            nan = self._cast(nan, self.dtype)
            total = nan if total is None else self._append("Add", total, nan)
        assert total is not None
        return total

    def _by_tree(self, tensor: str, kinds: set[str]) -> str:
        limit = _LARGEST if _TOO_LARGE in kinds else float(np.finfo(np.float64).max)
        tree = refusing_tree.attributes(
            self.graph.shapes[tensor][1],
            limit if _INFINITE in kinds else np.inf,
            takes_missing=_MISSING not in kinds,
        )
        shape, domain = (N_ROWS, 1), "ai.onnx.ml"
        return self._append("TreeEnsemble", tensor, shape=shape, domain=domain, n_targets=1, **tree)

    def _by_product(self, tensor: str, kinds: set[str]) -> str:
        width = self.graph.shapes[tensor][1]
        if _TOO_LARGE in kinds:
            tensor = self._cast(tensor, np.float32)
        zeros = self.graph.constant(np.zeros((width, 1), self.graph.dtypes[tensor]))
        return self._append("MatMul", tensor, zeros, shape=(N_ROWS, 1))

    def mask(self, nan: str, others: list[str]) -> str:
        """Return the mask of the rows that are NaN, or in one of other masks."""
        refused = self._append("IsNaN", self._shaped(nan, (-1,)), dtype=np.bool_)
        for name in others:
            refused = self._append("Or", refused, name)
        return refused

    def choose(self, choices: list[Any], refused: str) -> None:
        """Let the nodes choose by another mask."""
        for node in choices:
            column = self.graph.made_by(node.input[0], "Reshape")
            shape = (-1,) if column is None else tuple(self.graph.constants[column.input[1]])
            node.input[0] = self._shaped(refused, shape)

    def answer(self, choices: list[Any], nan: str) -> None:
        """Add NaN to the answers, in place of a choice; let whole numbers be chosen by it."""
        for node in choices:
            answer = node.input[2]
            shape = (-1, *(1 for _ in self.graph.shapes[node.output[0]][1:]))
            dtype = _dtype_of_answer(self.graph, node)
            if dtype.kind == "f":
                added = self._cast(self._shaped(nan, shape), dtype)
                self.graph.replace(node, [self.graph.node("Add", [answer, added], node.output[0])])
            else:
                node.input[0] = self._append("IsNaN", self._shaped(nan, shape), dtype=np.bool_)

    def _shaped(self, name: str, shape: tuple[int, ...]) -> str:
        n_axes = len(self.graph.shapes[name])
        if n_axes == len(shape):
            return name
        constant = self.graph.constant(np.array(shape, np.int64))
        made = tuple(N_ROWS if n == -1 else n for n in shape)
        return self._append("Reshape", name, constant, shape=made)

    def _cast(self, name: str, dtype) -> str:
        from onnx.helper import np_dtype_to_tensor_dtype

        dtype = np.dtype(dtype)
        if self.graph.dtypes[name] == dtype:
            return name
        return self._append("Cast", name, dtype=dtype, to=np_dtype_to_tensor_dtype(dtype))

    def _append(self, kind: str, *inputs: str, shape=None, dtype=None, **attributes) -> str:
        """Add a node; by default it keeps the shape and the dtype of its first input."""
        node = self.graph.node(kind, inputs, **attributes)
        (made,) = node.output
        self.graph.shapes[made] = shape or self.graph.shapes[inputs[0]]
        self.graph.dtypes[made] = np.dtype(dtype or self.graph.dtypes[inputs[0]])
        self.nodes.append(node)
        return made
