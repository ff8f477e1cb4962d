"""Read the models to join: load or copy them, rename them, cut them off at the chosen layer."""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras

from stackfuse._core import (
    NotConvertible,
    errors,
    messages,
)
from stackfuse._keras import (
    architecture,
    copies,
    input_structure,
    loading,
    private,
)


@dataclass(frozen=True)
class Port:
    """One input of a model.

    Attributes
    ----------
    label : str
        Names it in messages.
    name : str
        Its name in the model.
    named : bool
        Whether a person chose the name; Keras and :func:`fuse` make up names.
    shape : tuple of int or None
        The shape of one row.
    dtype : str
    sparse : bool
    """

    label: str
    name: str
    named: bool
    shape: tuple
    dtype: str
    sparse: bool = False


@dataclass(frozen=True)
class Member:
    """A copy of one of the models to join, with one output.

    Attributes
    ----------
    label : str
        Names it in messages.
    model : keras.Model
    ports : list of Port
    activation : str or None
        The activation of the output, see :func:`stackfuse._keras.architecture.activation_of`.
    loss : str, callable, keras.losses.Loss or None
        The loss that the output was trained with, if it is known.
    inner : bool
        Whether the output comes from a layer inside the model.
    last_layer : str, default=""
        The name of the layer that the output comes from, if it is known.
    """

    label: str
    model: Any
    ports: list[Port]
    activation: str | None
    loss: Any
    inner: bool
    last_layer: str = ""

    def __call__(self, tensors: list):
        """Return the output for tensors in the order of the ports."""
        structure = input_structure(self.model)
        if structure is None:
            output = self.model(tensors[0])
        else:
            output = self.model(keras.tree.pack_sequence_as(structure, tensors))
        if not self.model.trainable and copies.thaws_on_loading(self.model):
            return keras.ops.stop_gradient(output)
        return output


def members_of(models: Sequence, layer: Any, trainable: bool) -> list[Member]:
    """Return the members for the argument `models`.

    Parameters
    ----------
    models : sequence of keras.Model, str or PathLike
    layer : int, str, None or list of these
    trainable : bool
        Whether dropout and batch normalisation keep working in training.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        The message names the model by its number.
    """
    if isinstance(models, str | os.PathLike) or not isinstance(models, Sequence):
        raise TypeError(f"models must be a list of Keras models or paths, got {models!r}.")
    if len(models) < 2:
        raise ValueError(f"models must hold at least two models, got {len(models)}.")
    layers = per_model("layer", layer, len(models))
    members = [_read_member(k, *pair, trainable) for k, pair in enumerate(zip(models, layers))]
    names = [member.model.name for member in members]
    for k, member in enumerate(members):
        if names.count(member.model.name) > 1:
            member.model.name = f"{member.model.name}_{k}"
            names.append(member.model.name)
    return members


def per_model(parameter: str, value: Any, n_models: int) -> list:
    """Return a list with one value per model; a value that is no list is used for all."""
    if not isinstance(value, list | tuple):
        return [value] * n_models
    if len(value) != n_models:
        raise ValueError(
            f"{parameter} lists {len(value)} values for {n_models} models: give one per model, in "
            "the order of models."
        )
    return list(value)


def _read_member(number: int, source: Any, layer: int | str | None, trainable: bool) -> Member:
    place = f"models[{number}]"
    if isinstance(source, str | os.PathLike):
        model, loss = _load_model(Path(source), place)
        copies.refuse_unsafe(model)
    elif isinstance(source, keras.Model):
        _check_built(source, place)
        model, loss = (
            copies.copied(source),
            getattr(source, "loss", None) if source.compiled else None,
        )
    else:
        advice = ": pass its model_" if hasattr(source, "model_") else ""
        raise TypeError(
            f"{place} must be a Keras model, or a path to a .keras or .h5 file, got "
            f"{source!r}{advice}."
        )
    label = f"{place} ({model.name!r})"
    if not trainable:
        model = copies.frozen(model)
        copies.warn_of_classes(model)
    model = _without_fixed_batch_size(model, label)
    if not getattr(model, "inputs", None):
        if layer is not None:
            raise ValueError(
                f"layer={layer!r} cannot be found in {label}, a subclassed model: only its own "
                "code knows how its layers are connected. Use layer=None for it."
            )
        return Member(
            label,
            model,
            [_port_of_subclassed(model, label)],
            None,
            _loss_of_output(loss),
            inner=False,
        )
    tensor = _chosen_output(model, layer, label)
    outputs = [id(output) for output in model.outputs]
    inner = id(tensor) not in outputs
    loss = None if inner else _loss_of_output(loss, outputs.index(id(tensor)), _output_names(model))
    ports = _ports(model, label)
    if layer is not None or not isinstance(_output_structure(model), keras.KerasTensor):
        part = keras.Model(input_structure(model), tensor, trainable=model.trainable)
        part.name = model.name
        model = part
    last = private.history_of(tensor)[0].name
    return Member(label, model, ports, architecture.activation_of(tensor), loss, inner, last)


def _load_model(path: Path, place: str) -> tuple[Any, Any]:
    """Load the model of a file, uncompiled; return it with the loss that it was compiled with."""
    if not path.exists():
        raise FileNotFoundError(f"{place}: there is no file {str(path)!r}.")
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ValueError(
            f"{place} must be a path to a .keras or .h5 file, got {str(path)!r}. A SavedModel has "
            "no Keras layers: save the model again with model.save('model.keras')."
        )
    loading.refuse_weights(path)
    try:
        model = loading.load_uncompiled(path)
    except (*loading.FAILURES, ValueError) as error:
        raise NotConvertible(
            f"{place}: {str(path)!r} cannot be loaded: {errors.message_of(error)} If the model has "
            "classes or functions of your own, load it with keras.models.load_model(path, "
            "custom_objects=..., compile=False) and pass the model."
        ) from error
    return model, _saved_loss(path)


def _saved_loss(path: Path) -> Any:
    """Return the loss that a file names, in the structure of the outputs; None without a loss."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            compiled = json.loads(archive.read("config.json")).get("compile_config")
    else:
        with h5py.File(path) as file:
            text = file.attrs.get("training_config")
        compiled = None if text is None else json.loads(text)
    return _stock_loss((compiled or {}).get("loss"))


def _stock_loss(config: Any) -> Any:
    """Return a loss from its name and `from_logits` in a file, or None if Keras does not know it.

    Other settings do not matter here, and Keras 3 refuses some settings of Keras 2.
    """
    if isinstance(config, list):
        return [_stock_loss(item) for item in config]
    if isinstance(config, dict) and "class_name" not in config:
        return {name: _stock_loss(item) for name, item in config.items()}
    name, settings = config, {}
    if isinstance(config, dict):
        name, settings = config["class_name"], config.get("config") or {}
    if isinstance(settings, str):  # a function has a name and no settings
        name, settings = settings, {}
    try:
        loss = vars(keras.losses).get(name) or keras.losses.get(name)
    except ValueError:
        return None
    if not isinstance(loss, type):
        return loss
    return loss(from_logits=True) if settings.get("from_logits") else loss()


def _loss_of_output(loss: Any, k: int = 0, names: Sequence[str] = ()) -> Any:
    """Return the loss of the k-th output; a loss that is no list or dict is for all outputs."""
    if isinstance(loss, dict):
        return loss.get(names[k]) if k < len(names) else None
    if isinstance(loss, list | tuple):
        return loss[k] if k < len(loss) else None
    return loss


def _check_built(model, place: str) -> None:
    if not model.built:
        raise ValueError(
            f"{place} ({model.name!r}) has no weights yet. Begin it with keras.Input(shape), or "
            "call it on data, and train it first."
        )


def _without_fixed_batch_size(model, label: str):
    """Return a model that takes any number of rows at a time, or raise if it cannot."""
    if all(tensor.shape[0] is None for tensor in getattr(model, "inputs", None) or []):
        return model
    if isinstance(model, keras.Sequential):  # its first call, on data, fixed the number
        first = model.inputs[0]
        start = keras.Input(first.shape[1:], dtype=first.dtype, name=first.name)
        again = keras.Sequential([start, *model.layers], trainable=model.trainable)
        again.name = model.name
        return again
    sizes = [tensor.shape[0] for tensor in model.inputs]
    raise ValueError(
        f"{label} takes {next(n for n in sizes if n)} rows at a time, and no other number of "
        "rows. Build it with keras.Input(shape), without batch_size or batch_shape."
    )


def _ports(model, label: str) -> list[Port]:
    several = len(model.inputs) > 1
    return [
        Port(
            f"input {tensor.name!r} of {label}" if several else f"the input of {label}",
            tensor.name,
            not _is_made_up(tensor.name, model),
            tuple(tensor.shape[1:]),
            tensor.dtype,
            bool(tensor.sparse),
        )
        for tensor in model.inputs
    ]


def _port_of_subclassed(model, label: str) -> Port:
    """Return the single input of a subclassed model, with the shape that it was built for."""
    shape = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, list | tuple) or isinstance(shape[0], list | tuple):
        raise ValueError(
            f"{label} is a subclassed model, and its input is not known. Call it on one array "
            "first, or make it a functional model."
        )
    return Port(f"the input of {label}", "x", False, tuple(shape[1:]), model.input_dtype)


def _is_made_up(name: str, model) -> bool:
    """Whether nobody chose an input's name: ``input_1``, ``keras_tensor_7``, ``dense_input``.

    Neither is ``x``, the input of a joined model.
    """
    stem = name.rstrip("0123456789").rstrip("_")
    if name == "x" or stem in ("input", "input_layer", "keras_tensor"):
        return True
    return name.endswith("_input") and any(
        layer.name == name.removesuffix("_input") for layer in model.layers
    )


def _output_structure(model) -> Any:
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def _output_names(model) -> list[str]:
    return [private.history_of(tensor)[0].name for tensor in model.outputs]


def _chosen_output(model, layer: int | str | None, label: str):
    """Return the symbolic output of a model, or of one of its layers."""
    if layer is None:
        if len(model.outputs) > 1:
            raise ValueError(
                f"{label} has {len(model.outputs)} outputs, {_output_names(model)}. Choose one by "
                "the name of its layer: layer='...'."
            )
        return model.outputs[0]
    names = [part.name for part in model.layers]
    if isinstance(layer, bool) or not isinstance(layer, int | str):
        raise TypeError(
            f"layer must be None, a number such as -2, or the name of a layer, got {layer!r}."
        )
    if isinstance(layer, int):
        if not -len(names) <= layer < len(names):
            raise ValueError(
                f"layer={layer} does not exist: {label} has {len(names)} layers, {names}."
            )
        found = model.layers[layer]
    elif layer in names:
        found = model.get_layer(layer)
    else:
        raise ValueError(
            f"layer={layer!r} is not a layer of {label}. Choose "
            f"{messages.listed(names)}.{messages.did_you_mean(layer, names)}"
        )
    tensors = _layer_outputs(found, model)
    if len(tensors) != 1:
        raise ValueError(
            f"The layer {found.name!r} of {label} gives {len(tensors)} tensors: it is called "
            "several times, or returns several tensors. Choose a layer with one output."
        )
    return tensors[0]


def _layer_outputs(layer, model) -> list:
    """Return the outputs of a layer within a model; other models may share the layer."""
    found, seen, waiting = [], set(), list(model.outputs)
    while waiting:
        node = private.node_of(waiting.pop())
        if id(node) in seen:
            continue
        seen.add(id(node))
        waiting += node.input_tensors
        if node.operation is layer:
            found += node.outputs
    return found
