"""Find out whether a graph in float32 disagrees with its estimator for want of digits only."""

from stackfuse._core import NotConvertible, errors
from stackfuse._export.checking.answers import run_in_batches
from stackfuse._export.checking.comparison import Comparison
from stackfuse._export.graph.build import Build
from stackfuse._export.graph.graph import build_graph
from stackfuse._export.trained_model import TrainedModel


def check_graph(comparison: Comparison, graph, precision: str) -> None:
    """Compare a graph with the estimator that it was built from.

    Parameters
    ----------
    comparison : Comparison
    graph : Graph
    precision : {"float64", "float32"}
        The precision of the graph.

    Raises
    ------
    ParityError
        If they disagree. The message says so if the same graph agrees in float64.
    """
    try:
        comparison.check(run_in_batches(graph, comparison.inputs), what="The graph")
    except errors.ParityError as error:
        if precision == "float64" or not _agrees_in_float64(comparison):
            raise
        raise errors.ParityError(
            f"{str(error).strip()} In float64 the same graph agrees, so float32 has too few digits "
            "here. Export to .keras, .onnx or a SavedModel, and leave precision out."
        ) from error


def _agrees_in_float64(comparison: Comparison) -> bool:
    """Whether a graph in float64 agrees with the estimator on the same rows."""
    if isinstance(comparison.stack, TrainedModel):  # it has the precision of its layers
        return False
    try:
        graph = build_graph(comparison.stack, comparison.rows, Build("float64"))
        dtypes = {name: entry.dtype for name, entry in graph.signature.inputs.items()}
        inputs = {
            name: array if dtypes[name] == "string" else array.astype(dtypes[name])
            for name, array in comparison.inputs.items()
        }
        comparison.check(run_in_batches(graph, inputs), what="The graph")
    except (errors.ParityError, NotConvertible):
        return False
    return True
