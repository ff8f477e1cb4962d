"""How a network's last layer encodes a target: units, link, loss, and the way back."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from stackfuse._core import targets
from stackfuse._keras.losses import (
    axes_of_y,
    check_loss,
    from_logits,
    is_sparse,
    loss_name,
    stock_name,
)
from stackfuse._keras.prediction_part import NAME, Part, check_part, chosen, width_of


@dataclass(frozen=True)
class Outputs:
    """The meaning of a network's output.

    Attributes
    ----------
    task : str
        The task that y sets; see :func:`stackfuse._core.targets.task_of`.
    n_units : int
        Width of the last layer, or of the part of it that is the prediction.
    logits : bool
        Whether the outputs still have to pass a sigmoid or softmax.
    sparse : bool
        Whether the loss takes class numbers instead of one column per class.
    part : int, slice, list of int, callable or None
        Which part of the last layer is the prediction; None for all of it.
    width : int or None
        The width of the last layer, if it differs from y: then the loss is the user's own.
    y_axes : {1, 2}
        The axes of the numbers that the loss is given.
    """

    task: targets.Task
    n_units: int
    logits: bool
    sparse: bool
    part: Part | None = None
    width: int | None = None
    y_axes: int = 2

    def showing(self, part: Part | None) -> "Outputs":
        """Return the meaning of the outputs where another part of them is the prediction.

        Raises
        ------
        ValueError
            If the part would no longer hold what the classes were learnt with.
        """
        if part is self.part or repr(part) == repr(self.part):
            return self
        if self.task not in ("regression", "multioutput"):
            raise ValueError(
                f"{NAME} was {self.part!r} in fit and is {part!r} now. A classifier learns its "
                "classes with one part of the outputs: fit it again."
            )
        if part is not None:
            check_part(part)
        return replace(self, part=part)

    def trained_with(self, loss: Any, *, y_is_column: bool) -> "Outputs":
        """Return the meaning of the outputs for a loss that is given y as it was written for.

        Parameters
        ----------
        loss : str, callable, keras.losses.Loss or its class
        y_is_column : bool
            Whether y was passed in one axis, of length n_samples.
        """
        if self.width is None or self.task != "regression":
            return self
        return replace(self, y_axes=axes_of_y(loss, self.width, 1 if y_is_column else 2))

    def for_probabilities(self) -> "Outputs":
        """Return the meaning of the outputs where the target holds a probability for each class."""
        return replace(self, sparse=False)

    def encode(self, y: np.ndarray, dtype: str) -> np.ndarray:
        """Return y in the form that the loss compares with the network's outputs.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class numbers 0 .. n_classes - 1, probabilities of all classes, indicators, or numbers.
        dtype : str
            The dtype of the network's outputs.

        Returns
        -------
        encoded : ndarray of shape (n_samples,) or (n_samples, n_units)
            The target, of one axis if the loss is sparse, or was written for such a y.
        """
        if self.sparse:
            return y.astype(np.int32)
        if self.task in ("binary", "multiclass") and y.ndim == 2:  # probabilities
            return (y if self.n_units > 1 else y[:, 1:]).astype(dtype)
        if self.task in ("binary", "multiclass") and self.n_units > 1:
            return np.eye(self.n_units, dtype=dtype)[y]
        return (y.reshape(len(y), -1) if self.y_axes == 2 else y.reshape(len(y))).astype(dtype)

    def predict(self, outputs, dtype: str = "float64"):
        """Turn a network's outputs into probabilities or numbers; written in ``keras.ops``.

        Parameters
        ----------
        outputs : tensor of shape (n_samples, n_units)
            The outputs of the network.
        dtype : str, default="float64"

        Returns
        -------
        predictions : tensor of shape (n_samples, n_classes) or (n_samples, n_outputs)
            Probabilities of single-label classes sum to one as exactly as ``dtype`` allows.
        """
        outputs = self._predicting(outputs)
        if self.task in ("regression", "multioutput"):
            return ops.cast(outputs, dtype)
        if self.task == "multilabel" or self.n_units == 1:
            probabilities = ops.cast(ops.sigmoid(outputs) if self.logits else outputs, dtype)
            if self.task == "multilabel":
                return probabilities
            return ops.concatenate([1 - probabilities, probabilities], axis=-1)
        probabilities = ops.cast(ops.softmax(outputs) if self.logits else outputs, dtype)
        return probabilities / ops.sum(probabilities, axis=-1, keepdims=True)

    def decide(self, outputs, dtype: str = "float64"):
        """Turn a classifier's outputs into log-odds; written in ``keras.ops``.

        Parameters
        ----------
        outputs : tensor of shape (n_samples, n_units)
        dtype : str, default="float64"

        Returns
        -------
        decision : tensor of shape (n_samples, n_columns)
            One column for two classes; else one per class or label.
        """
        outputs = self._predicting(outputs)
        if self.logits:
            logits = ops.cast(outputs, dtype)
        else:
            tiny = np.full(1, np.finfo(dtype).tiny, dtype)
            p = ops.cast(outputs, dtype)
            logits = ops.log(ops.maximum(p, tiny))
            if self.task == "multilabel" or self.n_units == 1:
                logits = logits - ops.log(ops.maximum(1 - p, tiny))
        if self.task == "binary" and self.n_units == 2:
            return logits[:, 1:] - logits[:, :1]
        return logits

    def _predicting(self, outputs):
        """Return the prediction: the output of the model, or the chosen part of it."""
        outputs = _only(outputs)
        return outputs if self.part is None else chosen(outputs, self.part)

    def default_loss(self) -> Any:
        """Return the loss for a network without one."""
        if self.task in ("regression", "multioutput"):
            return "mean_squared_error"
        if self.sparse:
            return keras.losses.SparseCategoricalCrossentropy(from_logits=self.logits)
        if self.task != "multilabel" and self.n_units > 1:
            return keras.losses.CategoricalCrossentropy(from_logits=self.logits)
        return keras.losses.BinaryCrossentropy(from_logits=self.logits)


def read_outputs(
    what: str,
    task: targets.Task,
    n_outputs: int,
    shape: Any,
    activation: str | None,
    loss: Any,
    part: Part | None = None,
) -> Outputs:
    """Return the meaning of a model's output.

    Parameters
    ----------
    what : str
        The subject of messages: the network, or one of its outputs.
    task : str
        The task that y sets.
    n_outputs : int
        Number of classes, labels or target columns.
    shape : tuple
        The shape of the output.
    activation : str or None
        See :func:`last_activation`.
    loss : str, callable, keras.losses.Loss or None
        The loss that the model is trained with, if it is known.
    part : int, slice, list of int, callable or None, default=None
        Which part of the output is the prediction.

    Raises
    ------
    ValueError
        If the number of units, the last activation or the loss do not fit the target.
    """
    n_all = _n_units(what, shape)
    n_units = n_all if part is None else width_of(part, n_all, what)
    regression = task in ("regression", "multioutput")
    fitting = (1, 2) if task == "binary" else (n_outputs,)
    if n_units not in fitting and not (regression and part is not None):
        raise ValueError(
            f"{_capital(what)} has {n_units} output units, but y has {n_outputs} "
            f"{_noun(task)}. End it with {_advice(task, n_outputs)}.{_hint_at_part(loss, n_all)}"
        )
    width = None if part is None or n_all in fitting else n_all
    if width is not None:
        _check_own_loss(loss, what, n_all, f"{n_outputs} {_noun(task)}")
    check_loss(loss, task, n_units, what)
    if regression:
        return Outputs(task, n_units, False, False, part, width)
    if task == "multilabel" and activation == "softmax":
        raise ValueError(
            f"y is a 0/1 matrix of {n_outputs} labels, so a row may have several of them. But the "
            "network ends in a softmax over classes. If y is one-hot, pass the classes: "
            "y.argmax(axis=1). If it is not, end the network with activation='sigmoid'."
        )
    link = "sigmoid" if task == "multilabel" or n_units == 1 else "softmax"
    if activation not in (link, "linear", None):
        raise ValueError(
            f"{_capital(what)} ends in {n_units} units with activation {activation!r}, which gives "
            f"neither probabilities nor logits of the {n_outputs} {_noun(task)}. "
            f"End it with {_advice(task, n_outputs)}, or with activation=None for logits."
        )
    of_logits = from_logits(loss)
    if activation is None and loss is None:
        raise ValueError(
            f"The last activation of {what} cannot be read, so it may give "
            "probabilities or logits. Pass loss=, for example "
            "loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )
    logits = bool(of_logits) if activation is None else activation == "linear"
    if loss is not None and of_logits is not None and of_logits != logits:
        raise ValueError(
            f"The loss {loss_name(loss)!r} has from_logits={of_logits}, but the last activation "
            f"of {what} is {activation!r}. Pass loss=None to have the right one chosen."
        )
    # Without a loss, default_loss is used: sparse wherever it can be.
    sparse = is_sparse(loss) or (loss is None and task != "multilabel" and n_units > 1)
    return Outputs(task, n_units, logits, sparse, part, width)


def _hint_at_part(loss: Any, n_units: int) -> str:
    """Return a hint for a loss of one's own that takes outputs of another width than y's."""
    if loss is None or stock_name(loss):
        return ""
    others = f", {NAME}=slice(None) all of them" if n_units > 1 else ""
    return (
        f" If your loss takes y and the outputs as they are, say which part is the prediction: "
        f"{NAME}=0 is the first column{others}."
    )


def _check_own_loss(loss: Any, what: str, n_units: int, columns: str) -> None:
    """Raise if a loss of Keras would compare y with outputs of another width."""
    if loss is None or stock_name(loss):
        shown = "The default loss" if loss is None else f"The loss {loss_name(loss)!r}"
        raise ValueError(
            f"{shown} compares each output with a column of y, but {what} has {n_units} output "
            f"units and y has {columns}. Pass your own loss, loss=function(y_true, y_pred)."
        )


def _only(outputs):
    """Return the one tensor that a model with a single output returns, be it in a list or not."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    return outputs[0] if isinstance(outputs, list | tuple) else outputs


def _capital(what: str) -> str:
    """Return the subject of a sentence as it begins one; names in it stay as they are."""
    return what[0].upper() + what[1:]


def _n_units(what: str, shape: Any) -> int:
    if len(shape) != 2 or shape[1] is None:
        raise ValueError(
            f"{_capital(what)} gives outputs of shape {shape}, but must give one row of units per "
            "sample, (None, n_units). Flatten or pool before the last Dense layer."
        )
    return int(shape[1])


def _noun(task: targets.Task) -> str:
    return {"multilabel": "labels", "regression": "column", "multioutput": "columns"}.get(
        task, "classes"
    )


def _advice(task: targets.Task, n_outputs: int) -> str:
    if task == "binary":
        return "Dense(1, activation='sigmoid') or Dense(2, activation='softmax')"
    activation = {"multiclass": ", activation='softmax'", "multilabel": ", activation='sigmoid'"}
    return f"Dense({n_outputs}{activation.get(task, '')})"
