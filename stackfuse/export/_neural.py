"""Keras networks: ours, copied into the graph in inference mode."""

import os
import tempfile
from itertools import count

from stackfuse._architecture import foreign_parts
from stackfuse._checks import NotConvertible
from stackfuse._inputs import input_structure
from stackfuse._kinds import NetworkClassifier, NetworkRegressor
from stackfuse.export._arithmetic import as_column, constant, first_largest
from stackfuse.export._convert import convert_type, current_build, unsupported

_numbers = count()


@convert_type(NetworkClassifier)
def _classifier(estimator, x, method):
    from keras import ops

    probabilities = _outputs(estimator, x)
    if method == "predict_proba":
        return probabilities
    if method != "label":
        raise unsupported(estimator, method)
    if isinstance(probabilities, list):
        return ops.stack([first_largest(p) for p in probabilities], axis=1)
    if estimator.outputs_.task == "multilabel":
        return ops.cast(ops.greater(probabilities, constant(0.5, probabilities)), "int64")
    return first_largest(probabilities)


@convert_type(NetworkRegressor)
def _regressor(estimator, x, method):
    if method != "predict":
        raise unsupported(estimator, method)
    y = _outputs(estimator, x)
    return as_column(y) if estimator._y_is_column else y


def _outputs(estimator, x):
    """Return what the estimator's network predicts, computed in its dtype, in the graph's."""
    import keras

    build = current_build()
    network = isolated(estimator.model_, trainable=build.trainable)
    y = network(_fed(network, x), training=None if build.trainable else False)
    return keras.tree.map_structure(
        lambda part: keras.ops.cast(part, build.precision), estimator.outputs_.predict(y)
    )


def _fed(network, x):
    """Return x in the structure and the dtypes of a network's inputs."""
    import keras

    structure = input_structure(network)
    if not isinstance(structure, dict | list | tuple):
        return _fit(network, structure, next(iter(x.values())) if isinstance(x, dict) else x)
    tensors = structure if isinstance(structure, dict) else {t.name: t for t in structure}
    if not isinstance(x, dict):
        raise NotConvertible(
            f"The network {network.name!r} has the inputs {list(tensors)}, but X is one table."
        )
    fed = {name: _fit(network, tensor, x[name]) for name, tensor in tensors.items()}
    return (
        fed
        if isinstance(structure, dict)
        else keras.tree.pack_sequence_as(structure, list(fed.values()))
    )


def _fit(network, wanted, x):
    """Return a tensor as an input of a network is declared."""
    from keras import ops

    rank = len(wanted.shape)
    if len(x.shape) == rank - 1:  # Keras adds or drops a last axis of length one
        x = ops.expand_dims(x, -1)
    elif len(x.shape) == rank + 1 and x.shape[-1] == 1:
        x = ops.squeeze(x, -1)
    declared, given = wanted.shape[1:], x.shape[1:]
    if len(declared) != len(given) or any(w not in (None, g) for w, g in zip(declared, given)):
        raise NotConvertible(
            f"The network {network.name!r} takes rows of shape {tuple(declared)}, "
            f"but the graph gives it {tuple(given)}."
        )
    return ops.cast(x, wanted.dtype)


def isolated(model, *, trainable: bool = False):
    """Return a copy of a model that shares nothing with it and, by default, cannot be trained.

    The copy goes through a file, because ``clone_model`` loses the state of preprocessing layers;
    its name is new, because no two models of one graph may share one. Dropout and noise layers are
    replaced in what is not trained: an outer ``training=True`` would otherwise wake them.

    Raises
    ------
    NotConvertible
        If the model holds objects that are not stock Keras, or keeps state between calls.
    """
    import keras

    check_stock(model)
    noise = (
        keras.layers.AlphaDropout,
        keras.layers.Dropout,
        keras.layers.GaussianDropout,
        keras.layers.GaussianNoise,
        keras.layers.SpatialDropout1D,
        keras.layers.SpatialDropout2D,
        keras.layers.SpatialDropout3D,
    )

    def quiet(layer):
        if isinstance(layer, noise):
            return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy.name)
        return layer

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path, include_optimizer=False)
        copy = keras.models.load_model(path, compile=False, safe_mode=True)
    if not trainable:
        copy = keras.models.clone_model(copy, clone_function=quiet, recursive=True)
        copy.trainable = False
    copy.name = f"network_{next(_numbers)}"
    return copy


def check_stock(model) -> None:
    """Raise unless a model consists of stock Keras objects and computes row by row."""
    for layer in model._flatten_layers():
        if type(layer).__name__ in ("Lambda", "TFSMLayer"):
            raise NotConvertible(
                f"The model {model.name!r} holds a {type(layer).__name__} layer {layer.name!r}, "
                "which Keras does not load in safe mode. Use keras.ops or a stock layer instead."
            )
        if getattr(layer, "stateful", False):
            raise NotConvertible(
                f"The model {model.name!r} holds a stateful layer {layer.name!r}: its "
                "predictions depend on the calls before. Use stateful=False."
            )
    foreign = next(foreign_parts(model), None)
    if foreign:
        raise NotConvertible(
            f"The model {model.name!r} holds {foreign}, which only loads where its code is. "
            "Build it from stock Keras layers and functions."
        )
