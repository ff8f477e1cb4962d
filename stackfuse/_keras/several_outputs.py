"""Networks with several outputs: each output stands for some columns of y."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from stackfuse._core import messages, targets
from stackfuse._keras.architecture import last_activation
from stackfuse._keras.indices import failed_lookups_explained
from stackfuse._keras.outputs import Outputs, read_outputs
from stackfuse._keras.prediction_part import Part, refuse_part
from stackfuse._keras.rows import Rows


@dataclass(frozen=True)
class SeveralOutputs:
    """The meaning of several outputs, in the order of y's columns.

    Attributes
    ----------
    parts : tuple of Outputs
        The meaning of each output.
    names : tuple of str or None
        The keys, where the network returns a dict.
    """

    parts: tuple[Outputs, ...]
    names: tuple[str, ...] | None = None

    def showing(self, part: Part | None) -> "SeveralOutputs":
        """See :meth:`Outputs.showing`; a part is chosen of a single output only."""
        refuse_part(part, len(self.parts))
        return self

    def trained_with(self, loss: Any, *, y_is_column: bool) -> "SeveralOutputs":
        """See :meth:`Outputs.trained_with`; each loss compares its columns."""
        return self

    @property
    def task(self) -> targets.Task:
        """The task that y sets: ``"multioutput"`` numbers, or ``"multiclass-multioutput"``."""
        return "multioutput" if self._numeric else "multiclass-multioutput"

    @property
    def _numeric(self) -> bool:
        return self.parts[0].task in ("regression", "multioutput")

    def encode(self, y: np.ndarray, dtype: str) -> tuple | dict:
        """Return y in the structure of the network's outputs, see :meth:`Outputs.encode`."""
        if self._numeric:
            columns = np.split(y, np.cumsum([part.n_units for part in self.parts])[:-1], axis=1)
        else:
            columns = list(y.T)
        encoded = [part.encode(column, dtype) for part, column in zip(self.parts, columns)]
        return tuple(encoded) if self.names is None else dict(zip(self.names, encoded))

    def predict(self, outputs, dtype: str = "float64"):
        """Turn a network's outputs into one array of numbers, or a list of probabilities."""
        finished = [part.predict(y, dtype) for part, y in zip(self.parts, self._listed(outputs))]
        return ops.concatenate(finished, axis=1) if self._numeric else finished

    def decide(self, outputs, dtype: str = "float64") -> list:
        """Turn a classifier's outputs into a list of log-odds, one array per output."""
        return [part.decide(y, dtype) for part, y in zip(self.parts, self._listed(outputs))]

    def default_loss(self) -> Any:
        """Return the losses for a network without one, in the structure of its outputs."""
        losses = [part.default_loss() for part in self.parts]
        return losses if self.names is None else dict(zip(self.names, losses))

    def for_each(self, item: Any) -> Any:
        """Return one and the same thing for every output, in the structure of the outputs."""
        items = [item for _ in self.parts]
        return items if self.names is None else dict(zip(self.names, items))

    def _listed(self, outputs) -> list:
        return list(outputs) if self.names is None else [outputs[name] for name in self.names]


#: The meaning of a network's outputs, one or several.
AnyOutputs = Outputs | SeveralOutputs


def read_network(
    model,
    X,
    task: targets.Task,
    target_info: dict[str, Any],
    loss: Any,
    part: Part | None = None,
) -> AnyOutputs:
    """Return the meaning of a network's outputs.

    Parameters
    ----------
    model : keras.Model
    X : ndarray or MultiInput
        A subclassed model is called on its first row, to see what it returns.
    task : str
        The task that y sets.
    target_info : dict
        The entries about y in a builder's `meta`.
    loss : str, callable, keras.losses.Loss, list or dict of these, or None
        The loss that the model is trained with.
    part : int, slice, list of int, callable or None, default=None
        Which part of a single output is the prediction.

    Returns
    -------
    outputs : Outputs or SeveralOutputs

    Raises
    ------
    ValueError
        If the outputs do not fit the target.
    """
    shapes, places = _output_shapes(model, X)
    names = tuple(shapes) if isinstance(shapes, dict) else None
    if isinstance(shapes, dict):
        shapes = list(shapes.values())
    keys = names or getattr(model, "output_names", None)
    if keys and len(keys) != len(shapes):  # a subclassed model need not name its outputs
        keys = None
    if len(shapes) > 1:
        refuse_part(part, len(shapes))
        _check_order(target_info.get("y_columns_"), keys)
    activations = [last_activation(model, place) for place in places]
    losses = _loss_per_output(loss, len(shapes), keys)
    tasks = _tasks(model.name, task, target_info, shapes)
    parts = tuple(
        read_outputs(what, part_task, n_outputs, shape, activation, part_loss, part)
        for what, (part_task, n_outputs), shape, activation, part_loss in zip(
            _subjects(len(shapes), keys), tasks, shapes, activations, losses
        )
    )
    if len(parts) == 1:
        return parts[0]
    return SeveralOutputs(parts, names)


def _output_shapes(model, X) -> tuple[Any, list[int]]:
    """Return the shapes of a model's outputs, in a list or by name, and the outputs' numbers."""
    if getattr(model, "outputs", None) and model.built:
        structure = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
        number = {id(tensor): k for k, tensor in enumerate(model.outputs)}
    else:
        with failed_lookups_explained(model):
            try:
                structure = model(Rows(X, model)[slice(0, 1)], training=False)
            except NotImplementedError as error:
                raise TypeError(
                    f"The model {model.name!r} is {messages.with_article(type(model).__name__)} "
                    "without a method call, which says what it computes: define one, or return "
                    "keras.Model(inputs, outputs)."
                ) from error
        number = {}
    if isinstance(structure, dict):
        tensors = list(structure.values())
    else:
        tensors = list(structure) if isinstance(structure, list | tuple) else [structure]
    if any(isinstance(tensor, dict | list | tuple) for tensor in tensors):
        raise ValueError(
            f"The model {model.name!r} returns outputs within outputs. Return one list, [first, "
            "second, third], or one dict."
        )
    if isinstance(structure, dict):
        shapes: Any = {name: (None, *tensor.shape[1:]) for name, tensor in structure.items()}
    else:
        shapes = [(None, *tensor.shape[1:]) for tensor in tensors]
    return shapes, [number.get(id(tensor), k) for k, tensor in enumerate(tensors)]


def _tasks(
    name: str, task: targets.Task, target_info: dict[str, Any], shapes: list
) -> list[tuple[targets.Task, int]]:
    """Return the task of each output and the number of its classes or columns."""
    if len(shapes) == 1 and task != "multiclass-multioutput":
        return [(task, target_info["n_classes_"] or target_info["n_outputs_"])]
    if task in ("regression", "multioutput"):
        widths = [shape[-1] for shape in shapes]
        n_columns = sum(width or 0 for width in widths)
        if n_columns == target_info["n_outputs_"] > 1:
            return [("multioutput" if width > 1 else "regression", width) for width in widths]
        raise ValueError(
            f"The model {name!r} has {len(shapes)} outputs with {n_columns} units in all, but y "
            f"has {target_info['n_outputs_']} columns. Each unit needs a column of y."
        )
    if task == "multilabel":
        n_classes = [2] * target_info["n_outputs_"]
    else:
        n_classes = (
            target_info["n_classes_"] if isinstance(target_info["n_classes_"], list) else [0]
        )
    if len(n_classes) != len(shapes):
        raise ValueError(
            f"The model {name!r} has {len(shapes)} outputs, but y has {len(n_classes)} "
            f"column{'s' * (len(n_classes) > 1)} of labels. Each output needs a column of y: "
            "keras.Model(inputs, [first, second, ...])."
        )
    return [("binary" if n == 2 else "multiclass", n) for n in n_classes]


def _subjects(n_parts: int, names) -> list[str]:
    """Return the names of the outputs in messages."""
    if n_parts == 1:
        return ["the network"]
    return [f"the network's output {name!r}" for name in names or range(n_parts)]


def _loss_per_output(loss: Any, n_parts: int, names) -> list:
    """Return the loss of each output from the `loss` of ``model.compile``."""
    if isinstance(loss, dict):
        names = list(names or loss)
        unknown = [name for name in loss if name not in names]
        if unknown:
            raise ValueError(
                f"loss names {unknown[0]!r}, but the model's outputs are {names}."
                f"{messages.did_you_mean(str(unknown[0]), names)}"
            )
        loss = [loss.get(name) for name in names]
    elif isinstance(loss, list | tuple):
        names = list(names or range(n_parts))
    else:
        return [loss] * n_parts
    if len(loss) != n_parts:
        raise ValueError(
            f"loss lists {len(loss)} losses, but the model has {n_parts} outputs. List one loss "
            "for each output."
        )
    without = [name for name, one in zip(names, loss) if one is None]
    if without:
        raise ValueError(
            f"loss has no loss for the model's output {without[0]!r}, so it would learn nothing. "
            "Name a loss for each output, or pass loss=None to have them chosen."
        )
    return list(loss)


def _check_order(columns: list | None, names) -> None:
    """Raise if y's columns are named like the outputs, but in another order."""
    names = list(names or [])
    if columns and set(columns) == set(names) and columns != names:
        raise ValueError(
            f"y has the columns {columns}, but the model's outputs are {names}, in this order. "
            f"Pass y[{names}]."
        )
