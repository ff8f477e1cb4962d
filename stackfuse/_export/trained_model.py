"""A trained Keras model by itself, joined ones too, on its way to a file of any format."""

from typing import Any

import keras

from stackfuse._core import NotConvertible
from stackfuse._keras import Outputs, input_structure
from stackfuse._networks import KerasBuilder, NetworkRegressor


class TrainedModel(NetworkRegressor):
    """A Keras model as an estimator, as far as it takes one to write and check a file.

    What it predicts is what the model returns, whatever that means.

    Parameters
    ----------
    model : keras.Model
    """

    def __init__(self, model):
        self.model = model

    def _builder(self):
        return KerasBuilder(model=self.model, owner=self)


def as_estimator(stack, rows) -> Any:
    """Return a Keras model as an estimator; anything else as it is.

    Parameters
    ----------
    stack : keras.Model or fitted estimator
    rows : array-like of shape (n_samples, ...) or None
        Of the X that it takes, if there are any.

    Raises
    ------
    NotConvertible
        If the model has several outputs, or does not say what its inputs are.
    """
    if not isinstance(stack, keras.Model):
        return stack
    if not getattr(stack, "inputs", None):
        raise NotConvertible(
            f"The model {stack.name!r} is a subclassed one, which only loads where its code is. "
            "Make it a Sequential or functional model."
        )
    if len(stack.outputs) > 1:
        raise NotConvertible(
            f"The model {stack.name!r} has {len(stack.outputs)} outputs, and a file holds one: "
            "choose it, keras.Model(model.inputs, model.outputs[0])."
        )
    estimator = TrainedModel(stack)
    estimator.model_ = stack
    width = stack.outputs[0].shape[-1]
    estimator.outputs_ = Outputs("multioutput", width, logits=False, sparse=False)
    estimator._y_is_column = False
    structure = input_structure(stack)
    tensors = {tensor.name: tensor for tensor in keras.tree.flatten(structure)}
    if isinstance(structure, dict):
        tensors = structure
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
    several = isinstance(structure, dict | list | tuple) and len(shapes) > 1
    estimator.X_shape_ = shapes if several else next(iter(shapes.values()))
    if rows is not None:
        estimator._check_rows(rows, reset=True)
    return estimator
