"""Bounds of a tensor's numbers: how large they can be, and whether they can be missing."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stackfuse._export.formats.shorter_onnx.onnx_graph import OnnxGraph, attribute

#: Operators whose output holds numbers of their first input, or their negatives, and no others.
_KEEPING = {
    *("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Identity", "Flatten", "Tile"),
    *("Gather", "GatherElements", "Abs", "Neg", "Cast", "Relu"),
}

#: Operators whose output is missing where one of their inputs is, or is infinite, and not else.
_COMPUTING = {
    *("Softmax", "Sigmoid", "Add", "Sub", "Mul", "MatMul", "ReduceSum", "Clip", "Sin", "Cos"),
}


@dataclass
class Bounds:
    """Bounds of tensors, in which no other number than NaN can be above them in size.

    Parameters
    ----------
    graph : OnnxGraph
    assumed : dict of str to float
        Bounds that some tensors are known to have. These hold no NaN.
    """

    graph: OnnxGraph
    assumed: dict[str, float] = field(default_factory=dict)
    _known: dict[str, float] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """Return the bound of a tensor; infinity if nothing is known."""
        if name not in self._known:
            self._known[name] = self._bound(name)
        return self._known[name]

    def never_missing(self, name: str) -> bool:
        """Whether no number of a tensor can be NaN."""
        if name in self.assumed:
            return True
        if name in self.graph.constants:
            values = self.graph.constants[name]
            return values.dtype.kind != "f" or not np.isnan(values).any()
        node = self.graph.makers.get(name)
        if node is None:
            return False
        if node.op_type in ("TreeEnsemble", "ConstantOfShape"):
            return bool(np.isfinite(self.of(name)))
        if node.op_type in ("Gather", "GatherElements"):
            return self.never_missing(node.input[0])
        if node.op_type in _KEEPING or node.op_type == "Concat":
            inputs = node.input if node.op_type == "Concat" else node.input[:1]
            return all(map(self.never_missing, inputs))
        computes = node.op_type in _COMPUTING
        if node.op_type in ("Div", "Pow"):
            computes = bool(np.isfinite(self.of(name)))
        if computes or self._is_logistic(node):
            inputs = [n for n in node.input if self._is_float(n)]
            inputs = [self._exponent(node)] if self._is_logistic(node) else inputs
            return all(np.isfinite(self.of(n)) and self.never_missing(n) for n in inputs)
        return False

    def _is_float(self, name: str) -> bool:
        dtype = self.graph.dtypes.get(name)
        return dtype is None or dtype.kind == "f"

    def _bound(self, name: str) -> float:
        graph = self.graph
        if name in self.assumed:
            return self.assumed[name]
        if name in graph.constants:
            return largest(graph.constants[name])
        node = graph.makers.get(name)
        if node is None:
            return np.inf
        one = node.op_type in ("Softmax", "Sigmoid", "Sin", "Cos") or self._is_logistic(node)
        if one or self._is_share(node):
            return 1.0
        if node.op_type == "TreeEnsemble":
            return _sum_of_leaves(node)
        if node.op_type == "ConstantOfShape":
            return _filling(node)
        bound = self._bound_by_inputs(node)
        dtype = graph.dtypes.get(name, np.dtype(np.float32))
        return bound if dtype.kind != "f" or bound < np.finfo(dtype).max / 2 else np.inf

    def _bound_by_inputs(self, node: Any) -> float:
        """Return the bound of a node that follows from those of its inputs."""
        kind, constants = node.op_type, self.graph.constants
        if kind == "Slice" and (columns := self._columns_of_rows(node)) is not None:
            return largest(columns)
        if kind in _KEEPING:
            return self.of(node.input[0])
        if kind == "Concat":
            return max(map(self.of, node.input))
        if kind in ("Add", "Sub"):
            return sum(map(self.of, node.input))
        if kind == "Mul":
            bounds = [self.of(name) for name in node.input]
            return float(np.prod(bounds)) if np.isfinite(bounds).all() else np.inf
        if kind == "Clip" and len(node.input) == 3 and all(n in constants for n in node.input[1:]):
            return max(map(self.of, node.input[1:3]))
        if kind == "Pow" and node.input[1] in constants:
            powers = constants[node.input[1]]
            is_whole = np.all(powers >= 0) and np.array_equal(powers, np.round(powers))
            with np.errstate(over="ignore"):
                power = np.power(max(1.0, self.of(node.input[0])), largest(powers))
            return float(power) if is_whole else np.inf
        if kind == "Div" and node.input[1] in constants:
            smallest = float(np.min(np.abs(constants[node.input[1]])))
            return self.of(node.input[0]) / smallest if smallest else np.inf
        if kind == "MatMul" and node.input[1] in constants:
            weights = constants[node.input[1]]
            return self.of(node.input[0]) * float(np.abs(weights).sum(axis=0).max())
        sizes = [
            float(np.prod(shape, dtype=float))
            for name in (node.input[0], node.output[0])
            if (shape := self.graph.shapes.get(name)) is not None
        ]
        if kind == "ReduceSum" and len(sizes) == 2 and sizes[1]:
            return self.of(node.input[0]) * sizes[0] / sizes[1]
        return np.inf

    def _columns_of_rows(self, node: Any) -> np.ndarray | None:
        """Return the columns that a ``Slice`` takes out of a constant table's rows, or None."""
        graph, name = self.graph, node.input[0]
        while (shaped := graph.made_by(name, "Reshape")) is not None:
            shapes = [graph.shapes.get(n, ()) for n in (name, shaped.input[0])]
            if not all(shapes) or shapes[0][-1] != shapes[1][-1]:
                return None
            name = shaped.input[0]
        rows = graph.made_by(name, "Gather")
        table = graph.constants.get(rows.input[0]) if rows is not None else None
        limits = [graph.constants[n] for n in node.input[1:] if n in graph.constants]
        if table is None or table.ndim != 2 or attribute(rows, "axis", 0) != 0:
            return None
        if len(limits) != len(node.input) - 1 or len(limits) < 3:
            return None
        last = np.flatnonzero(limits[2] == len(graph.shapes.get(node.input[0], ())) - 1)
        forward = len(limits) < 4 or bool(np.all(limits[3] == 1))
        if len(last) != 1 or not forward:
            return None
        start, end = (int(limit[last[0]]) for limit in limits[:2])
        return table[:, start:end]

    def _is_share(self, node: Any) -> bool:
        """Whether a node divides the numbers of a softmax by their sum, which is near 1."""
        total = self.graph.made_by(node.input[1], "ReduceSum") if node.op_type == "Div" else None
        if total is None or total.input[0] != node.input[0]:
            return False
        cast = self.graph.made_by(node.input[0], "Cast")
        softmax = self.graph.made_by(node.input[0] if cast is None else cast.input[0], "Softmax")
        axes = self.graph.constants.get(total.input[1]) if len(total.input) > 1 else None
        if softmax is None or axes is None or len(self.graph.shapes.get(node.input[0], ())) != 2:
            return False
        return axes.tolist() in ([1], [-1]) and attribute(softmax, "axis", -1) in (1, -1)

    def _is_logistic(self, node: Any) -> bool:
        """Whether a node is the reciprocal of 1 and an exponential."""
        return self._exponent(node) is not None

    def _exponent(self, node: Any) -> Any:
        total = self.graph.made_by(node.input[0], "Add") if node.op_type == "Reciprocal" else None
        exponential = total and self.graph.made_by(total.input[0], "Exp")
        is_one = total is not None and self.graph.is_number(total.input[1], 1)
        return exponential.input[0] if exponential is not None and is_one else None


def largest(values: np.ndarray) -> float:
    """Return the size of the largest number, infinity if they are no numbers."""
    if values.dtype.kind not in "fi":
        return np.inf
    return float(np.nanmax(np.abs(np.append(values, 0).astype(np.float64))))


def _sum_of_leaves(node: Any) -> float:
    from onnx import numpy_helper

    return float(np.abs(numpy_helper.to_array(attribute(node, "leaf_weights"))).sum())


def _filling(node: Any) -> float:
    from onnx import numpy_helper

    value = attribute(node, "value")
    return 0.0 if value is None else largest(numpy_helper.to_array(value))
