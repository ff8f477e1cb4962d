"""Keras networks: ours, copied into the graph in inference mode."""

from typing import Any

import keras
from keras import ops

from stackfuse._core import NotConvertible
from stackfuse._export.converters.ours.guarded import (
    guarded,
    negative_codes,
    whole_numbers,
)
from stackfuse._export.graph.arithmetic import (
    affine,
    as_vector,
    constant,
    first_largest,
)
from stackfuse._export.graph.build import Build, current_build
from stackfuse._export.graph.convert import (
    convert,
    converter_for,
    once,
    unsupported,
)
from stackfuse._export.graph.frame import Frame
from stackfuse._export.graph.graph import Graph, assemble_graph
from stackfuse._export.graph.masks import (
    refuse_as,
    refuse_missing_strings,
    refuse_rows,
    refuse_where_raising,
)
from stackfuse._export.graph.signature import Signature
from stackfuse._export.live_networks import call_live
from stackfuse._export.trained_model import TrainedModel
from stackfuse._keras import (
    Rows,
    copies,
    indices,
    input_structure,
    penultimate,
)
from stackfuse._networks import (
    NetworkClassifier,
    NetworkRegressor,
)
from stackfuse._oof import Aligned, contributions


@converter_for(NetworkClassifier, frames=True)
def _classifier(estimator, x, method):
    x = _taken(estimator, x, method)
    if method == contributions.FEATURES:
        return _features(estimator, x)
    if method == "decision_function":
        decision = _outputs(estimator, x, "decide")
        if isinstance(decision, list):
            return [as_vector(part) if part.shape[1] == 1 else part for part in decision]
        return as_vector(decision) if estimator.outputs_.task == "binary" else decision
    probabilities = _outputs(estimator, x, "predict")
    if method == "predict_proba":
        return probabilities
    if method != "label":
        raise unsupported(estimator, method)
    if isinstance(probabilities, list):
        return ops.stack([first_largest(p) for p in probabilities], axis=1)
    if estimator.outputs_.task == "multilabel":
        return ops.cast(ops.greater(probabilities, constant(0.5, probabilities)), "int64")
    return first_largest(probabilities)


@converter_for(NetworkRegressor, frames=True)
def _regressor(estimator, x, method):
    x = _taken(estimator, x, method)
    if method == contributions.FEATURES:
        return _features(estimator, x)
    if method != "predict":
        raise unsupported(estimator, method)
    y = _outputs(estimator, x, "predict")
    return as_vector(y) if estimator._is_column(y.shape[1]) else y


@converter_for(Aligned)
def _aligned(estimator, x, method):
    if method != contributions.FEATURES:
        raise unsupported(estimator, method)
    features, motion = convert(estimator.estimator, x, method), estimator.alignment
    moved = features - constant(motion.origin, features)
    return affine(moved, motion.rotation.T, motion.target)


def graph_of_model(trained: TrainedModel, build: Build) -> Graph:
    """Return the graph of a trained model by itself; its output is called prediction.

    Rows that the model does not take have an output of NaN.
    """
    several = isinstance(trained.row_shape, dict)
    declared = Rows.inputs_of(trained.model)
    of_strings = {n if several else "X" for n, t in declared.items() if t.dtype == "string"}

    def outputs_of(x) -> dict[str, Any]:
        _refuse_missing_strings(x)
        refuse_where_raising(trained.predict, x, takes_missing=False)
        y = keras.tree.flatten(_run_network(trained.model, x))[0]
        return {"prediction": ops.cast(y, build.precision)}

    signature = Signature.of_shape(trained.row_shape, build.precision, of_strings)
    return assemble_graph(outputs_of, signature, build)


@once
def _taken(estimator, x, method):
    """Return x as the estimator takes it, and refuse the rows that it refuses."""
    if isinstance(x, Frame):
        name = type(estimator).__name__
        if "X" in estimator._fitted.string_inputs:
            x = x.strings(wanted_by=f"The network of {name}")
        else:
            x = x.numbers(wanted_by=name)
    _refuse_missing_strings(x)
    refuse_as(estimator, x, method)
    return x


def _refuse_missing_strings(x) -> None:
    for tensor in x.values() if isinstance(x, dict) else [x]:
        if tensor.dtype == "string":
            refuse_missing_strings(tensor)


def _outputs(estimator, x, meaning: str):
    """Return the network's predictions or decisions in the graph's precision."""
    if current_build().live:
        return call_live(estimator, _network_inputs(estimator.model_, x), meaning)
    numbers = _network_outputs(estimator, x)
    return getattr(estimator._meaning(), meaning)(numbers, current_build().precision)


@once
def _network_outputs(estimator, x):
    """Return the outputs of the estimator's network, in the network's dtype."""
    return _run_network(estimator.model_, x)


@once
def _features(estimator, x):
    """Return the input of the last layer of the estimator's network."""
    if current_build().live:
        raise NotConvertible("Features are not compiled: the stack computes them base by base.")
    return penultimate.in_float64(
        _run_network(penultimate.penultimate(estimator.model_), x), current_build().precision
    )


def _run_network(model, x):
    build = current_build()
    network = copies.isolated(model, trainable=build.trainable, narrow=build.precision == "float32")
    inputs, training = _network_inputs(network, x), None if build.trainable else False
    safe = guarded(network)
    if safe is None:
        return network(inputs, training=training)
    y, *wrong = safe(inputs, training=training)
    for rows in wrong:
        refuse_rows(rows)
    return y


def _network_inputs(network, x):
    """Return x in the structure and the dtypes of a network's inputs."""
    structure = input_structure(network)
    if not isinstance(structure, dict | list | tuple):
        return _as_declared(
            network, structure, next(iter(x.values())) if isinstance(x, dict) else x
        )
    tensors = structure if isinstance(structure, dict) else {t.name: t for t in structure}
    if not isinstance(x, dict):
        raise NotConvertible(
            f"The network {network.name!r} has the inputs {list(tensors)}, but X is one table. "
            "Pass an sf.MultiInput with an array for each."
        )
    inputs = {name: _as_declared(network, tensor, x[name]) for name, tensor in tensors.items()}
    return (
        inputs
        if isinstance(structure, dict)
        else keras.tree.pack_sequence_as(structure, list(inputs.values()))
    )


def _as_declared(network, wanted, x):
    """Return a tensor in the shape and dtype that an input of a network declares."""
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
    if "string" in (wanted.dtype, x.dtype):
        if wanted.dtype == x.dtype:
            return x
        kinds = [t.dtype if t.dtype == "string" else "number" for t in (wanted, x)]
        raise NotConvertible(
            f"The network {network.name!r} takes {kinds[0]}s, but the graph gives it {kinds[1]}s."
        )
    limits = indices.limits_of(network).inputs.get(wanted.name)
    if limits is not None and "uint" not in x.dtype:
        refuse_rows(negative_codes(x, limits))
    if "int" in wanted.dtype and "float" in x.dtype:
        whole, wrong = whole_numbers(x, wanted.dtype)
        refuse_rows(wrong)
        return whole
    return ops.cast(x, wanted.dtype)
