"""ONNX: the manifest is a property of the model."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stackfuse._core import NotConvertible, files
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.conversion import refusal_message, silenced
from stackfuse._export.formats.onnx_operators import HANDLERS
from stackfuse._export.formats.onnx_trees import ML_OPSET, write_tree_sums
from stackfuse._export.formats.recurrent import holds_loop, take_no_rows, unrolled
from stackfuse._export.formats.shorter_onnx import shorten
from stackfuse._export.formats.table import register
from stackfuse._export.written_manifest import MANIFEST

if TYPE_CHECKING:  # of TensorFlow, which files are read without
    from stackfuse._export.graph.graph import Graph

#: ONNX operators of this version are known to every runtime of the last years.
_OPSET = 18

#: Where the operators that every runtime knows come from.
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}


@register
class Onnx(Format):
    """ONNX models."""

    name = "onnx"
    suffix = ".onnx"
    title = "ONNX"
    reads_text = False
    native_trees = True
    runs_with = ("onnxruntime",)
    packages = ("onnx", "onnxruntime", "tf2onnx")
    install = "'stackfuse[onnx]'"

    def write(self, graph: "Graph", path: Path) -> None:
        """See :class:`Format`."""
        import onnx

        with silenced():
            try:
                model = _converted(graph)
                if holds_loop(model.graph):
                    with unrolled(graph) as is_recurrent:
                        model = _converted(graph) if is_recurrent else model
            except Exception as error:  # of many kinds, none of which is documented
                raise NotConvertible(refusal_message(self.title, error)) from error
        foreign = {node.domain for node in model.graph.node} - _DOMAINS
        if model.functions or foreign:
            raise NotConvertible(
                f"ONNX has no operator for a part of this graph: {sorted(foreign)}. Export to "
                ".keras or a SavedModel."
            )
        for entry in model.opset_import if graph.tree_sums else ():
            if entry.domain == "ai.onnx.ml":
                entry.version = ML_OPSET
        for tensor in (*model.graph.input, *model.graph.output):
            tensor.type.tensor_type.shape.dim[0].dim_param = "n"
        shorten(model)
        take_no_rows(model.graph)
        onnx.save(model, path)

    @staticmethod
    def load(path: str) -> Callable[[dict[str, np.ndarray]], dict]:
        """See :class:`Format`."""
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda rows: dict(zip(names, session.run(names, rows)))

    def attach(self, path: Path, manifest: str) -> None:
        """See :class:`Format`."""
        import onnx

        model = onnx.load(path)
        onnx.helper.set_model_props(model, {MANIFEST: manifest})
        onnx.save(model, path)

    def attached(self, path: Path) -> str:
        """See :class:`Format`."""
        return {entry.key: entry.value for entry in _read(path).metadata_props}[MANIFEST]

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """See :class:`Format`."""
        yield "graph", _read(path).graph.SerializeToString(deterministic=True)


def _converted(graph: "Graph") -> Any:
    """Return a graph as tf2onnx converts it."""
    import tf2onnx

    from stackfuse._export.graph.trees import TreeSums

    trees = {layer.number: layer for layer in graph.tree_sums}

    def write_trees(ctx, node, name, args) -> None:
        write_tree_sums(ctx, node, trees[int(node.inputs[1].get_tensor_value())])

    def convert(optimizers) -> Any:
        model, _ = tf2onnx.convert.from_keras(
            graph.model,
            [graph.specs()],
            opset=_OPSET,
            custom_op_handlers={**HANDLERS, TreeSums.OPERATION: (write_trees, [])},
            optimizers=optimizers,
        )
        return model

    optimizers = _optimizers()
    together = _Together(optimizers)
    model = convert({"together": lambda: together})
    return model if together.graph_been_opt is not None else convert(optimizers)


class _Together:
    """All of tf2onnx's optimizers as one.

    tf2onnx copies the graph before each optimizer, to go on from the copy if it fails. The copies
    take as long as the optimizers do, and hardly ever does one fail.

    Attributes
    ----------
    graph_been_opt : bool or None
        False once all have run until none finds anything more; None if one failed. tf2onnx goes
        another round if it is True.
    """

    def __init__(self, optimizers: dict[str, Any]):
        self.optimizers = optimizers
        self.graph_been_opt: bool | None = None

    def optimize(self, graph, iteration: int) -> Any:
        """Return the optimized graph."""
        found = True
        while found:
            found = False
            for make in self.optimizers.values():
                optimizer = make()
                graph = optimizer.optimize(graph, iteration) or graph
                found = found or optimizer.graph_been_opt
            iteration += 1
        self.graph_been_opt = False
        return graph


def _read(path: Path) -> Any:
    """Return the model in a file; raise RefusedFile if a part of it would be in another file."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    parts: list[Any] = [model]
    while parts:
        part = parts.pop()
        if isinstance(part, onnx.TensorProto):
            if part.data_location == onnx.TensorProto.EXTERNAL:
                raise files.RefusedFile(f"its tensor {part.name[:100]!r} is in another file")
            continue
        for field, value in part.ListFields():
            if field.message_type is not None:
                parts += [value] if hasattr(value, "ListFields") else list(value)
    return model


def _optimizers() -> dict[str, Any]:
    """Return tf2onnx's optimizers by their names, but for two faults."""
    from tf2onnx.optimizer import _get_optimizers
    from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

    class Transposes(TransposeOptimizer):
        """Moves a transpose behind a slice, whose axes it changes in place if nobody else has them.

        It asks whether another operator has them. But the slice itself has one constant for its
        axes and its starts where these are equal, as for the second column: [0, 1].
        """

        def _nodes_has_single_consumer_node(self, nodes) -> bool:
            return super()._nodes_has_single_consumer_node(nodes) and not any(
                user.input.count(name) > 1
                for node in nodes
                if node.is_const()
                for name in node.output
                for user in node.graph.find_output_consumers(name)
            )

    # One of them takes a cast to float32 and back for nothing: trees then see other numbers.
    sound = {n: o for n, o in _get_optimizers().items() if n != "remove_back_to_back"}
    return {**sound, "optimize_transpose": Transposes}
