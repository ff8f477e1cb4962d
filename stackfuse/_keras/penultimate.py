"""The features of a network: the inputs of its last layer."""

from collections.abc import Iterator

import keras
from keras import ops

from stackfuse._keras import private
from stackfuse._keras.rows import input_structure


def penultimate(model):
    """Return the part of a model that computes its features, sharing all its layers.

    Features are the inputs of the last layer that has weights: activations, dropout and the like
    after it do not count, and a nested model is looked into. The features of several outputs are
    put side by side; features of more than one axis are flattened.

    Parameters
    ----------
    model : keras.Model
        Built; a Sequential or functional one.

    Returns
    -------
    part : keras.Model
        From the inputs of the model to features of shape (n_samples, n_features).

    Raises
    ------
    ValueError
        If the model does not say how its layers are connected, has one layer only, or gives
        features of no fixed number.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"The network {model.name!r} is a subclassed model. Only its own code knows its last "
            "layer, so it has no features to stack. Make it a Sequential or functional model, or "
            "use stack_method='auto' for it."
        )
    given = {id(tensor): tensor for output in model.outputs for tensor in _before_last(output)}
    # Names of their own: those that Keras makes up might be in the model already.
    flat = [
        tensor
        if len(tensor.shape) == 2
        else keras.layers.Flatten(name=f"features_flat_{k}")(tensor)
        for k, tensor in enumerate(given.values())
    ]
    features = flat[0] if len(flat) == 1 else keras.layers.Concatenate(name="features_all")(flat)
    part = keras.Model(input_structure(model), features, name="features")
    if not part.weights:
        raise ValueError(
            f"The network {model.name!r} has one layer with weights only, so its features, the "
            "inputs of that layer, are X itself. Add a hidden layer, or use passthrough=True."
        )
    if features.shape[1] is None:
        raise ValueError(
            f"The network {model.name!r} has no features of a fixed size: its last layer takes "
            f"shape {[tuple(tensor.shape) for tensor in given.values()]}. Pool over space or time "
            "before the last layer."
        )
    return part


def in_float64(features, dtype: str = "float64"):
    """Return features in the dtype in which stacks and graphs continue."""
    return ops.cast(features, dtype)


def _before_last(tensor) -> Iterator:
    """Yield the inputs of the last layer with weights that a symbolic tensor comes from."""
    operation, _, which = private.history_of(tensor)
    if isinstance(operation, keras.layers.InputLayer):
        yield tensor
        return
    node = private.node_of(tensor)
    if isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
        inside = list(_before_last(operation.outputs[which]))
        yield from _apply(keras.Model(input_structure(operation), inside), node)
    elif getattr(operation, "weights", None) or len(node.input_tensors) != 1:
        yield from node.input_tensors
    else:
        yield from _before_last(node.input_tensors[0])


def _apply(inner, node) -> list:
    """Return the outputs of a part of a nested model, called as the whole of it was."""
    args, kwargs = node.arguments.args, node.arguments.kwargs
    return inner(*args[:1]) if args else inner(kwargs["inputs"])
