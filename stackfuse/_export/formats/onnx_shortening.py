"""Shorter ONNX graphs: what no other format can say in fewer operators, ONNX can.

For one row a runtime spends its time between operators, a microsecond or two each. Each pattern is
replaced by operators with the same numbers, bit for bit. Where a pattern is not found, as another
release of the converter may write it, the graph stays as it is, and is right.
"""

from typing import Any

import numpy as np

#: ONNX's numbers for dtypes, and what stands for the end of an axis.
_INT32, _INT64, _END = 6, 7, 2**31 - 1


def shorten(graph) -> None:
    """Replace patterns in a graph, ``onnx.GraphProto``, by fewer operators."""
    shortened = _Shortened(graph)
    for node in list(graph.node):
        made = (
            shortened.nan_where_refused(node)
            or shortened.number_of_largest(node)
            or shortened.only_column(node)
            or shortened.any_not_finite(node)
        )
        if made:
            place = list(graph.node).index(node)
            graph.node.remove(node)
            for k, new in enumerate(made):
                graph.node.insert(place + k, new)
    shortened.remove_unused()


class _Shortened:
    """A graph of ONNX, with its tensors by their names.

    Parameters
    ----------
    graph : onnx.GraphProto
    """

    def __init__(self, graph: Any):
        from onnx import numpy_helper

        self.graph = graph
        self.constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}

    def nan_where_refused(self, node) -> list[Any] | None:
        """Choose NaN or y in place of ``y * kept / kept``, where kept is 0 or 1."""
        product = self._made_by(node.input[0], "Mul") if node.op_type == "Div" else None
        if product is None or product.input[1] != node.input[1]:
            return None
        column = self._made_by(node.input[1], "Reshape")
        kept = self._made_by(node.input[1] if column is None else column.input[0], "Where")
        if kept is None or not self._is(kept.input[1], 0) or not self._is(kept.input[2], 1):
            return None
        nan = self._constant(np.full(1, np.nan, self.constants[kept.input[1]].dtype))
        refused, made = kept.input[0], []
        if column is not None:
            made = [self._node("Reshape", [refused, column.input[1]])]
            refused = made[0].output[0]
        return [*made, self._node("Where", [refused, nan, product.input[0]], node.output[0])]

    def number_of_largest(self, node) -> list[Any] | None:
        """Take ``ArgMax`` in place of the smallest number of the columns that equal the largest.

        Rows of NaN, which have no largest column, may get the number of another one.
        """
        if node.op_type != "Cast" or node.attribute[0].i != _INT64:
            return None
        least = self._made_by(node.input[0], "Min")
        first = least and self._made_by(least.input[0], "ReduceMin")
        choice: Any = first and self._made_by(first.input[0], "Where")
        equal: Any = choice and self._made_by(choice.input[0], "Equal")
        largest = equal and self._made_by(equal.input[1], "ReduceMax")
        if largest is None or largest.input[0] != equal.input[0]:
            return None
        numbers = self.constants.get(choice.input[1])
        if numbers is None or not np.array_equal(numbers, np.arange(numbers.size)):
            return None
        if not self._is(choice.input[2], numbers.size):
            return None
        scores = equal.input[0]
        return [self._node("ArgMax", [scores], node.output[0], axis=1, keepdims=0)]

    def only_column(self, node) -> list[Any] | None:
        """Take the only column without a ``Slice``."""
        part = self._made_by(node.input[0], "Slice") if node.op_type == "Squeeze" else None
        if part is None or self._width(part.input[0]) != 1 or len(part.input) < 4:
            return None
        starts, ends, axes = (self.constants.get(name) for name in part.input[1:4])
        if starts is None or ends is None or axes is None or starts.any():
            return None
        if not set(axes.tolist()) <= {0, 1} or np.any(ends[axes == 0] < _END):
            return None
        return [self._node("Squeeze", [part.input[0], node.input[1]], node.output[0])]

    def any_not_finite(self, node) -> list[Any] | None:
        """Ask once whether all numbers are at most a limit, which NaN is not."""
        if node.op_type != "Or":
            return None
        masks = [self._any(name) for name in node.input]
        large, missing = (
            next((m for m in masks if m and m[0].op_type == kind), None)
            for kind in ("Less", "IsNaN")
        )
        if large is None or missing is None or not np.array_equal(large[1], missing[1]):
            return None
        limit, size = large[0].input
        absolute = self._made_by(size, "Abs")
        if limit not in self.constants or absolute is None:
            return None
        if absolute.input[0] != missing[0].input[0]:
            return None
        at_most = self._node("LessOrEqual", [size, limit])
        numbers = self._node("Cast", list(at_most.output), to=_INT32)
        axes = self._constant(large[1])
        least = self._node("ReduceMin", [*numbers.output, axes], keepdims=0)
        one = self._constant(np.array([1], np.int32))
        return [at_most, numbers, least, self._node("Less", [*least.output, one], node.output[0])]

    def _any(self, name: str) -> tuple[Any, np.ndarray] | None:
        """Return the maker of a mask of which a tensor tells whether any is true, and the axes."""
        greater = self._made_by(name, "Greater")
        total = greater and self._made_by(greater.input[0], "ReduceSum")
        numbers = total and self._made_by(total.input[0], "Cast")
        mask: Any = numbers and self.makers.get(numbers.input[0])
        if mask is None or not self._is(greater.input[1], 0) or len(total.input) < 2:
            return None
        keeps = next((a.i for a in total.attribute if a.name == "keepdims"), 1)
        axes = self.constants.get(total.input[1])
        return None if keeps or axes is None else (mask, axes)

    def remove_unused(self) -> None:
        """Remove nodes and constants whose outputs nobody takes."""
        wanted = {tensor.name for tensor in self.graph.output}
        for node in reversed(list(self.graph.node)):
            if wanted.isdisjoint(node.output):
                self.graph.node.remove(node)
            else:
                wanted.update(node.input)
        for constant in list(self.graph.initializer):
            if constant.name not in wanted:
                self.graph.initializer.remove(constant)

    def _made_by(self, name: str, kind: str) -> Any:
        node = self.makers.get(name)
        return node if node is not None and node.op_type == kind else None

    def _is(self, name: str, number: float) -> bool:
        values = self.constants.get(name)
        return values is not None and bool(np.all(values == number))

    def _constant(self, values: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"shortened_{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        self.constants[name] = values
        return name

    def _node(self, kind: str, inputs: list[str], output: str | None = None, **attributes):
        from onnx import helper

        output = output or f"shortened_{kind}_{len(self.makers)}"
        node = helper.make_node(kind, inputs, [output], output, **attributes)
        self.makers[output] = node
        return node

    def _width(self, name: str) -> int | None:
        """Return the number of columns of the output of an operator for trees, divided or not."""
        node = self.makers.get(name)
        while node is not None and node.op_type == "Div" and node.input[1] in self.constants:
            node = self.makers.get(node.input[0])
        if node is None or node.op_type != "TreeEnsemble":
            return None
        return next(a.i for a in node.attribute if a.name == "n_targets")
