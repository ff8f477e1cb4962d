"""Rows with missing, infinite or too large numbers are found by a tree, or a product with zeros.

Such a row gives NaN, since 0 times NaN or infinity is NaN; any other gives 0. Added to the outputs,
0 changes nothing, and NaN is the answer to a row that is refused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx import refusing_tree
from stackfuse._export.formats.shorter_onnx.bounds import Bounds
from stackfuse._export.formats.shorter_onnx.onnx_graph import N_ROWS, OnnxGraph
from stackfuse._export.formats.shorter_onnx.questions import (
    INFINITE,
    MISSING,
    TOO_LARGE,
    Questions,
    is_filled,
    needed,
    question_of,
)
from stackfuse._export.graph.build import LARGEST

#: Tensors with more columns are asked by no tree: for many rows a product takes less time.
_MAX_WIDTH = 64


def replace(graph: OnnxGraph) -> None:
    """Find refused rows by few operators."""
    choices = [node for node in graph.graph.node if _is_refusal(graph, node)]
    masks = {_mask_of(graph, node) for node in choices}
    if len(masks) != 1 or any(node.output[0] not in graph.shapes for node in choices):
        return
    questions = {mask: question_of(graph, mask) for mask in _alternatives(graph, masks.pop())}
    asked = needed(graph, _merged(questions.values()))
    by_number = {t: kinds for t, kinds in asked.items() if _is_asked_by_number(graph, t, kinds)}
    by_mask = {t: kinds for t, kinds in asked.items() if t not in by_number}
    others = [m for m, q in questions.items() if q is None or q[1] & by_mask.get(q[0], set())]
    kept = _merged(questions[mask] for mask in others)
    if not by_number or any(not kinds <= kept.get(t, set()) for t, kinds in by_mask.items()):
        return
    place = min(list(graph.graph.node).index(node) for node in choices)
    floats = [d for node in choices if (d := _dtype_of_answer(graph, node)).kind == "f"]
    writer = _Writer(graph, floats[0] if floats else np.dtype(np.float32))
    nan = writer.numbers(by_number)
    if others:
        writer.choose(choices, writer.mask(nan, others))
    else:
        writer.answer(choices, nan)
    graph.insert(place, writer.nodes)


def _merged(questions: Iterable[tuple[str, set[str]] | None]) -> Questions:
    """Return the kinds of numbers that each tensor is asked for."""
    merged: Questions = {}
    for question in questions:
        if question is not None:
            merged.setdefault(question[0], set()).update(question[1])
    return merged


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


def _is_asked_by_number(graph: OnnxGraph, tensor: str, kinds: set[str]) -> bool:
    """Whether a tree or a product can give NaN for exactly those rows with such numbers."""
    shape = graph.shapes.get(tensor, ())
    is_table = len(shape) == 2 and shape[0] == N_ROWS
    return is_table and (
        _is_asked_by_tree(graph, tensor) or _is_asked_by_product(graph, tensor, kinds)
    )


def _is_asked_by_tree(graph: OnnxGraph, tensor: str) -> bool:
    is_small = graph.dtypes.get(tensor) == np.float64 and graph.shapes[tensor][1] <= _MAX_WIDTH
    return is_small and any(node.op_type == "TreeEnsemble" for node in graph.graph.node)


def _is_asked_by_product(graph: OnnxGraph, tensor: str, kinds: set[str]) -> bool:
    if graph.dtypes.get(tensor) not in (np.float32, np.float64):
        return False
    bounds = Bounds(graph)
    missing = MISSING in kinds or is_filled(graph, tensor) or bounds.never_missing(tensor)
    return missing and (INFINITE in kinds or bool(np.isfinite(bounds.of(tensor))))


@dataclass
class _Writer:
    """Makes the nodes that find refused rows, and lets those that choose answers use them."""

    graph: OnnxGraph
    dtype: np.dtype
    nodes: list[Any] = field(default_factory=list)

    def numbers(self, asked: Questions) -> str:
        """Return NaN for rows with such numbers, and 0 for others, of shape (batch, 1)."""
        total, *others = [self._cast(self._number(t, asked[t]), self.dtype) for t in asked]
        for nan in others:
            total = self._append("Add", total, nan)
        return total

    def _number(self, tensor: str, kinds: set[str]) -> str:
        by_tree = _is_asked_by_tree(self.graph, tensor)
        return self._by_tree(tensor, kinds) if by_tree else self._by_product(tensor, kinds)

    def _by_tree(self, tensor: str, kinds: set[str]) -> str:
        limit = LARGEST if TOO_LARGE in kinds else float(np.finfo(np.float64).max)
        tree = refusing_tree.attributes(
            self.graph.shapes[tensor][1],
            limit if INFINITE in kinds else np.inf,
            takes_missing=MISSING not in kinds,
        )
        shape, domain = (N_ROWS, 1), "ai.onnx.ml"
        return self._append("TreeEnsemble", tensor, shape=shape, domain=domain, n_targets=1, **tree)

    def _by_product(self, tensor: str, kinds: set[str]) -> str:
        width = self.graph.shapes[tensor][1]
        if TOO_LARGE in kinds:
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
