"""Keras networks: ours, copied into the graph in inference mode."""

from stackfuse._checks import NotConvertible
from stackfuse._copies import isolated
from stackfuse._inputs import input_structure
from stackfuse._kinds import NetworkClassifier, NetworkRegressor
from stackfuse.export._arithmetic import as_column, constant, first_largest
from stackfuse.export._convert import convert_type, current_build, once, unsupported
from stackfuse.export._live import live


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


@once
def _outputs(estimator, x):
    """Return what the estimator's network predicts, computed in its dtype, in the graph's."""
    build = current_build()
    if build.live:
        return live(estimator, _fed(estimator.model_, x))
    narrow = build.precision == "float32"
    network = isolated(estimator.model_, trainable=build.trainable, narrow=narrow)
    y = network(_fed(network, x), training=None if build.trainable else False)
    return estimator.outputs_.predict(y, build.precision)


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
