"""Keras networks: ours, copied into the graph in inference mode."""

import os
import tempfile
from itertools import count

from stackfuse._architecture import foreign_parts
from stackfuse._checks import NotConvertible
from stackfuse._heads import Heads
from stackfuse._kinds import NetworkClassifier, NetworkRegressor
from stackfuse.export._convert import constant, convert_type, first_largest, unsupported

_numbers = count()


@convert_type(NetworkClassifier)
def _classifier(estimator, x, method):
    from keras import ops

    if isinstance(estimator.outputs_, Heads):
        raise NotConvertible(
            f"The network {estimator.model_.name!r} has {len(estimator.outputs_.heads)} outputs, "
            "columns of classes, which have no counterpart yet. Export one network per column."
        )
    probabilities = _outputs(estimator, x)
    if method == "predict_proba":
        return probabilities
    if method == "label" and estimator.outputs_.task == "multilabel":
        return ops.cast(ops.greater(probabilities, constant(0.5)), "int64")
    if method == "label":
        return first_largest(probabilities)
    raise unsupported(estimator, method)


@convert_type(NetworkRegressor)
def _regressor(estimator, x, method):
    from keras import ops

    if method != "predict":
        raise unsupported(estimator, method)
    y = _outputs(estimator, x)
    return ops.reshape(y, (-1,)) if estimator._y_is_column else y


def _outputs(estimator, x):
    """Return what the estimator's network predicts, computed in its dtype, as float64."""
    from keras import ops

    inputs = getattr(estimator.model_, "inputs", None) or []
    if len(inputs) > 1:
        raise NotConvertible(
            f"The network {estimator.model_.name!r} has {len(inputs)} inputs, which has no "
            "counterpart yet."
        )
    network = isolated(estimator.model_)
    wanted, given = network.inputs[0].shape[1:], x.shape[1:]
    if len(wanted) != len(given) or any(w not in (None, g) for w, g in zip(wanted, given)):
        raise NotConvertible(
            f"The network {estimator.model_.name!r} takes rows of shape {tuple(wanted)}, "
            f"but the graph gives it {tuple(given)}."
        )
    y = network(ops.cast(x, network.inputs[0].dtype), training=False)
    return estimator.outputs_.predict(y)


def isolated(model):
    """Return a copy of a model that shares nothing with it and cannot be trained.

    The copy goes through a file, because ``clone_model`` loses the state of preprocessing layers;
    its name is new, because no two models of one graph may share one. Dropout and noise layers are
    replaced: an outer ``training=True`` would otherwise wake them.

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
