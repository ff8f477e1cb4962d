"""Walk through a graph's operations, before it becomes a model."""

from collections.abc import Iterable, Iterator
from typing import Any

from stackfuse._core import NotConvertible
from stackfuse._keras import private


def nodes_behind(outputs: Iterable[Any]) -> Iterator[Any]:
    """Yield Keras' nodes, the calls of operations, behind some tensors, each once.

    Parameters
    ----------
    outputs : iterable of KerasTensor
    """
    seen, waiting = set(), list(outputs)
    while waiting:
        node = private.node_of(waiting.pop())
        if id(node) not in seen:
            seen.add(id(node))
            waiting += node.input_tensors
            yield node


def refuse_taken_for_bias(outputs: Iterable[Any]) -> None:
    """Raise if a graph has a sum in which Keras could treat the second part as a bias.

    Keras adds a column of shape (batch, 1) to a table of shape (batch, n) as if it held one number
    per column, if there happen to be n rows. With the parts in the other order it does not. (So
    does Keras 3.15 on TensorFlow, where the number of rows is known.)

    Parameters
    ----------
    outputs : iterable of KerasTensor
    """
    for node in nodes_behind(outputs):
        if type(node.operation).__name__ != "Add" or len(node.arguments.args) != 2:
            continue
        wide, narrow = (tuple(getattr(part, "shape", ())) for part in node.arguments.args)
        is_broadcast = any(n == 1 != w for w, n in zip(wide[::-1], narrow[::-1]))
        if is_broadcast and _looks_like_bias(narrow, len(wide)):
            raise NotConvertible(
                f"The graph adds a tensor of shape {narrow} to one of shape {wide}. Keras takes "
                "it for a bias if there are as many rows as columns. Write the sum the other way "
                "round, narrow + wide."
            )


def _looks_like_bias(shape: tuple, n_axes: int) -> bool:
    """Whether at most one axis of a shape is longer than 1, and that axis is not the last."""
    per_row = len(shape) == n_axes and shape[0] is None
    own = shape[1:] if per_row else shape
    longer = [axis for axis, length in enumerate(own) if length != 1]
    return longer != [len(own) - 1] and len(longer) <= 1 and (per_row or bool(longer))
