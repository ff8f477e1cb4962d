"""A graph of ONNX with its tensors by their names."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

#: The number of rows for which the shapes of tensors are computed: no other axis is as long.
N_ROWS = 1_000_003

#: ONNX's number for a dtype.
INT64 = 7


class OnnxGraph:
    """A graph of ONNX with its tensors by their names.

    Parameters
    ----------
    model : onnx.ModelProto
        Its graph is changed.
    """

    def __init__(self, model: Any):
        from onnx import numpy_helper

        self.model = model
        self.graph = model.graph
        self.constants = {c.name: numpy_helper.to_array(c) for c in self.graph.initializer}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self._n_made = 0

    @cached_property
    def _inferred(self) -> tuple[dict[str, tuple[int, ...]], dict[str, np.dtype]]:
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for tensor in model.graph.input:
            tensor.type.tensor_type.shape.dim[0].dim_value = N_ROWS
        for tensor in model.graph.output:
            tensor.type.tensor_type.ClearField("shape")
        del model.graph.value_info[:]
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        shapes = {name: values.shape for name, values in self.constants.items()}
        dtypes = {name: values.dtype for name, values in self.constants.items()}
        for tensor in (*graph.input, *graph.value_info, *graph.output):
            kind = tensor.type.tensor_type
            if kind.elem_type:
                dtypes[tensor.name] = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
                shapes[tensor.name] = tuple(d.dim_value for d in kind.shape.dim)
        return shapes, dtypes

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of tensors that are known, with ``N_ROWS`` as the number of rows."""
        return self._inferred[0]

    @property
    def dtypes(self) -> dict[str, np.dtype]:
        """The dtypes of tensors that are known."""
        return self._inferred[1]

    def infer_again(self) -> None:
        """Infer shapes and dtypes again when they are next asked for: others have become known."""
        self.__dict__.pop("_inferred", None)

    def made_by(self, name: str, *kinds: str) -> Any:
        """Return the node that makes a tensor if it is of some kind, else None."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type in kinds else None

    def is_number(self, name: str, number: float) -> bool:
        """Whether a tensor is constant, and all its numbers are this one."""
        values = self.constants.get(name)
        return values is not None and values.dtype.kind in "fib" and bool(np.all(values == number))

    def constant(self, values: np.ndarray) -> str:
        """Add a constant."""
        from onnx import numpy_helper

        name = self._new_name("constant")
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        self.constants[name] = np.asarray(values)
        self.shapes[name], self.dtypes[name] = np.shape(values), self.constants[name].dtype
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str | None = None, **attributes):
        """Make a node, for :meth:`replace`."""
        from onnx import helper

        output = output or self._new_name(kind)
        node = helper.make_node(kind, list(inputs), [output], output, **attributes)
        self.makers[output] = node
        return node

    def _new_name(self, kind: str) -> str:
        self._n_made += 1
        return f"shortened_{kind}_{self._n_made}"

    def replace(self, node, made: Sequence[Any]) -> None:
        """Put nodes in the place of a node, whose output the last one has."""
        place = list(self.graph.node).index(node)
        self.graph.node.remove(node)
        self.insert(place, made)

    def insert(self, place: int, made: Sequence[Any]) -> None:
        """Put nodes before the one at a place."""
        for k, new in enumerate(made):
            self.graph.node.insert(place + k, new)  # a copy
            self.makers.update(dict.fromkeys(new.output, self.graph.node[place + k]))

    def rename(self, old: str, new: str) -> None:
        """Give a tensor another name, which no other tensor has."""
        self.read_instead(old, new)
        self.makers[new] = self.makers.pop(old)
        names = self.makers[new].output
        names[:] = [new if name == old else name for name in names]

    def read_instead(self, old: str, new: str) -> None:
        """Let all nodes read one tensor in the place of another."""
        for node in self.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]

    def keep_used(self) -> None:
        """Remove nodes and constants whose outputs nobody takes."""
        wanted = self._wanted_for([tensor.name for tensor in self.graph.output])
        for k in reversed(range(len(self.graph.node))):
            if wanted.isdisjoint(self.graph.node[k].output):
                for name in self.graph.node[k].output:
                    self.makers.pop(name, None)
                del self.graph.node[k]
        for k in reversed(range(len(self.graph.initializer))):
            if self.graph.initializer[k].name not in wanted:
                del self.graph.initializer[k]

    def part(self, names: Sequence[str]) -> Any:
        """Return a model, ``onnx.ModelProto``, that computes some tensors alone."""
        import onnx

        wanted = self._wanted_for(names)
        part = onnx.ModelProto(ir_version=self.model.ir_version)
        part.opset_import.extend(self.model.opset_import)
        part.graph.name = self.graph.name
        part.graph.input.extend(self.graph.input)
        part.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
        part.graph.node.extend(n for n in self.graph.node if not wanted.isdisjoint(n.output))
        part.graph.initializer.extend(c for c in self.graph.initializer if c.name in wanted)
        return part

    def _wanted_for(self, names: Sequence[str]) -> set[str]:
        """Return the names of all tensors from which some are computed."""
        wanted = set(names)
        for node in reversed(self.graph.node):
            if not wanted.isdisjoint(node.output):
                wanted.update(inputs_of(node))
        return wanted


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Return an attribute of a node."""
    from onnx import helper

    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def inputs_of(node: Any) -> Iterator[str]:
    """Yield the names of all tensors that a node reads, also from graphs within it."""
    yield from node.input
    for entry in node.attribute:
        for graph in (entry.g, *entry.graphs):
            for inner in graph.node:
                yield from inputs_of(inner)
            yield from (tensor.name for tensor in graph.output)
