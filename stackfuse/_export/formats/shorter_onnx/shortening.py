"""All that shortens a graph, in its order."""

from typing import Any

from stackfuse._export.formats.shorter_onnx import (
    columns,
    constant_rows,
    constant_shapes,
    indices,
    joined_trees,
    patterns,
    refusals,
    two_classes,
)
from stackfuse._export.formats.shorter_onnx.onnx_graph import OnnxGraph


def shorten(model: Any) -> None:
    """Replace parts of a model's graph, ``onnx.ModelProto``, by fewer operators."""
    graph = OnnxGraph(model)
    constant_shapes.replace(graph)
    graph.keep_used()
    constant_rows.replace(graph)
    graph.keep_used()
    indices.replace(graph)
    columns.replace(graph)
    patterns.replace(graph)
    graph.keep_used()
    refusals.replace(graph)
    graph.keep_used()
    joined_trees.replace(graph)
    two_classes.replace(graph)
    graph.keep_used()
