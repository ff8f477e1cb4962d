"""Export a trained Keras model by itself, for example one that ``fuse`` has joined."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.utils import check_array

from stackfuse._core import MultiInput, NotConvertible, multi_input, strings, targets
from stackfuse._keras import Rows, input_structure
from stackfuse._training import prediction


@dataclass(frozen=True)
class TrainedModel:
    """A Keras model for the exporter, with the shape of its rows and ``predict``.

    Attributes
    ----------
    model : keras.Model
    row_shape : tuple of int, or dict of str to tuple of int
        The shape of one row; several inputs have one shape per name.
    """

    model: Any
    row_shape: Any

    @classmethod
    def of(cls, model, rows) -> "TrainedModel":
        """Wrap a Keras model for the exporter.

        Parameters
        ----------
        model : keras.Model
        rows : array-like or MultiInput of shape (n_samples, ...), or None
            Rows of an X that the model takes.

        Raises
        ------
        NotConvertible
            If the model has several outputs, or its inputs are not known.
        """
        if not getattr(model, "inputs", None):
            raise NotConvertible(
                f"The model {model.name!r} is a subclassed model, which only loads together with "
                "its code. Make it a Sequential or functional model."
            )
        if len(model.outputs) > 1:
            raise NotConvertible(
                f"The model {model.name!r} has {len(model.outputs)} outputs, but a file holds "
                "one. Choose it: keras.Model(model.inputs, model.outputs[0])."
            )
        if rows is not None:
            return cls(model, multi_input.row_shapes(_check_rows(rows, model)))
        structure = input_structure(model)
        tensors = {tensor.name: tensor for tensor in keras.tree.flatten(structure)}
        if isinstance(structure, dict):
            tensors = structure
        shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        several = isinstance(structure, dict | list | tuple) and len(shapes) > 1
        return cls(model, shapes if several else next(iter(shapes.values())))

    def predict(self, X) -> np.ndarray:
        """Return the model's output for X, in float64.

        Raises
        ------
        ValueError
            If X has rows of another shape, or holds values that are missing or infinite.
        """
        X = _check_rows(X, self.model)
        if multi_input.row_shapes(X) != self.row_shape:
            raise ValueError(
                f"X has rows of shape {multi_input.row_shapes(X)}, but the model "
                f"{self.model.name!r} takes rows of shape {self.row_shape}."
            )
        question = prediction.Question(
            self.model, Rows(X, self.model), _cast_to_float64, "in float64"
        )
        y = np.asarray(prediction.predict(question))
        targets.check_finite_predictions(y, self.model)
        return y


def _check_rows(X, model) -> Any:
    """Return rows as finite numbers, and as strings where the model takes these."""
    declared = Rows.inputs_of(model)
    of_strings = {name for name, tensor in declared.items() if tensor.dtype == "string"}
    if isinstance(X, MultiInput):
        return MultiInput(
            **{
                name: strings.check_strings(array, model, f"X[{name!r}]")
                if name in of_strings
                else multi_input.check_numbers(array, model, name)
                for name, array in X.arrays.items()
            }
        )
    if of_strings:
        return strings.check_strings(X, model)
    X = check_array(X, dtype="numeric", allow_nd=True, accept_sparse="csr", input_name="X")
    return multi_input.check_numeric(X, model)


def _cast_to_float64(outputs):
    return ops.cast(keras.tree.flatten(outputs)[0], "float64")
