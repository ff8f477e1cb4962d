"""Digests of Keras' objects: by configuration and weights, or by attributes where code is own."""

import types
from collections.abc import Iterator
from functools import cache
from typing import Any

import keras
import numpy as np

from stackfuse._keras import architecture, private
from stackfuse._oof.memory.fingerprint import looking
from stackfuse._oof.memory.fingerprint.releases import is_own_class, release_of
from stackfuse._oof.memory.fingerprint.values import extended
from stackfuse._oof.memory.fingerprint.walk import NotComparable, Walk, digests, digests_of_package

#: Attributes of callbacks that Keras sets in fit, and of all objects those that only keep books.
_OF_FIT = {"_model", "params"}
_BOOKKEEPING = {"_auto_config", "_lock", "_path", "_tracker", "name"}

#: Classes of objects that are settings of layers and models.
_SETTINGS = (
    keras.constraints.Constraint,
    keras.initializers.Initializer,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.regularizers.Regularizer,
)


@digests(keras.Model)
def _model(thing, walk):
    if _has_own_code(thing):
        return walk.all("own model", [*_structure(thing, walk), _compiled_parts(thing)])
    state = [_config(thing), _values(thing.variables)]
    if thing.compiled:
        state += [
            architecture.plain_names(thing.get_compile_config()),
            _values(thing.optimizer.variables),
        ]
    return walk.all("model", [type(thing), *map(_listed, state)])


@digests(keras.layers.Layer)
def _layer(thing, walk):
    if _has_own_code(thing):
        return walk.all("own layer", _parts_of_layer(thing))
    return walk.all("layer", [type(thing), _config(thing), _values(thing.variables)])


@digests(keras.optimizers.Optimizer)
def _optimizer(thing, walk):
    if is_own_class(type(thing)) or _holds_own(thing):
        return walk.all("own optimizer", [type(thing), _own(thing), _values(thing.variables)])
    config = {k: v for k, v in thing.get_config().items() if k != "name"}
    return walk.all("optimizer", [type(thing), config, _values(thing.variables)])


@digests(keras.callbacks.Callback)
def _callback(thing, walk):
    state = {k: v for k, v in looking.attributes_of(thing).items() if k not in _OF_FIT}
    state = {k: v for k, v in state.items() if not looking.is_a(v, keras.Model) or k != "model"}
    return walk.tokens(
        "callback",
        walk.of(type(thing)),
        walk.named("state", state, "the callback holds it as `{}`"),
    )


@digests(*_SETTINGS)
def _setting(thing, walk):
    # Not by configuration: that of Huber, for one, leaves out a setting.
    variables = _values(thing.variables) if looking.is_a(thing, keras.metrics.Metric) else []
    name = architecture.plain_name(str(_own_name(thing)), type(thing).__name__)
    return walk.all("setting", [type(thing), name, _own(thing), variables])


def _own_name(thing: Any) -> Any:
    return looking.attributes_of(thing).get("name")


@digests(keras.Variable)
def _variable(thing, walk):
    return walk.all("tensor", [thing.numpy()])


@digests(keras.random.SeedGenerator)
def _seed(thing, walk):
    return walk.all("seed", [thing.state.numpy()])


@digests(keras.KerasTensor)
def _symbolic(thing, walk):
    operation, call, place = private.history_of(thing)
    return walk.all("symbolic", [list(thing.shape), thing.dtype, operation, call, place])


@digests_of_package("keras")
def _other(thing, walk):
    for base in (list, dict, set):  # lists of Keras that note what is put in
        if looking.is_a(thing, base):
            plain = base.copy(thing)  # type: ignore[attr-defined]
            return extended(plain, walk, base, walk.of(plain))
    if looking.is_a(thing, *_FAMILIES) or not looking.defines(type(thing), "get_config"):
        return None
    if is_own_class(type(thing)):
        return None
    return walk.all("keras", [type(thing), _config(thing)])


_FAMILIES = (
    keras.Model,
    keras.layers.Layer,
    keras.optimizers.Optimizer,
    keras.callbacks.Callback,
    keras.Variable,
    keras.KerasTensor,
    keras.random.SeedGenerator,
    *_SETTINGS,
)


@digests_of_package("tensorflow")
def _tensor(thing, walk):
    if not looking.defines(type(thing), "numpy"):
        return None
    try:
        value = thing.numpy()
    except (AttributeError, NotImplementedError) as error:  # a symbolic one
        raise NotComparable.of(thing) from error
    return walk.all("tensor", [np.asarray(value)])


# ---------------------------------------------------------------------------- own code in networks


def models_in(estimator: Any) -> list:
    """Return the models within a fitted estimator."""
    found, seen, parts = [], set(), [estimator]
    while parts:
        part = parts.pop()
        if id(part) in seen or isinstance(part, type | types.ModuleType):
            continue
        seen.add(id(part))
        if looking.is_a(part, keras.Model):
            found.append(part)
        elif looking.is_a(part, list, tuple):
            parts += part
        elif looking.is_a(part, dict):
            parts += part.values()
        else:
            parts += looking.attributes_of(part).values()
    return found


def have_own_code(estimator: Any) -> bool:
    """Whether a fitted estimator holds networks with classes or functions of the user's."""
    return any(
        _has_own_code(model) or _is_compiled_with_own(model) for model in models_in(estimator)
    )


def is_plain(model: Any) -> bool:
    """Whether a model can be read from its bytes later than the estimator around it.

    Code of the user's may not be found then. Words of a vocabulary are asked for when a stack is
    fitted.
    """
    layers = private.flatten_layers(model)
    has_words = any(hasattr(layer, "get_vocabulary") for layer in layers)
    return not (has_words or _has_own_code(model) or _is_compiled_with_own(model))


def _is_compiled_with_own(model: Any) -> bool:
    parts = [_compiled_parts(model)]
    while parts:
        part = parts.pop()
        if isinstance(part, dict | list | tuple):
            parts += list(part.values()) if isinstance(part, dict) else part
        elif isinstance(part, types.FunctionType):
            if release_of(part.__globals__.get("__name__")) is None:
                return True
        elif is_own_class(type(part)) or _holds_own(part):
            return True
    return False


def _has_own_code(layer: Any) -> bool:
    """Whether a layer or model, or a part of it, is of a class or function of the user's."""
    return any(
        is_own_class(type(part)) or _holds_own(part) for part in private.flatten_layers(layer)
    )


def _holds_own(thing: Any) -> bool:
    for value in looking.attributes_of(thing).values():
        if isinstance(value, types.MethodType):
            value = value.__func__
        if isinstance(value, types.FunctionType):
            if release_of(value.__globals__.get("__name__")) is None:
                return True
        elif is_own_class(type(value)):
            return True
    return False


def _structure(model: Any, walk: Walk) -> Iterator[Any]:
    """Yield what identifies a model: its class, layers, and how they are connected."""
    yield type(model)
    operations = getattr(model, "operations", None) or private.flatten_layers(model)[1:]
    numbers = {id(operation): k for k, operation in enumerate(operations)}
    for operation in operations:
        own = is_own_class(type(operation)) or _holds_own(operation)
        yield _parts_of_layer(operation) if own else operation
        for node in private.inbound_nodes(operation):
            tensors = [private.history_of(tensor) for tensor in node.input_tensors]
            yield [(numbers.get(id(of)), call, place) for of, call, place in tensors]
    if not hasattr(model, "operations"):
        yield _own(model)
    yield _values(model.variables)


def _compiled_parts(model: Any) -> Any:
    """Return the loss, metrics and optimizer that a model was compiled with, as objects."""
    return (private.compile_arguments(model) or "compiled") if model.compiled else None


def _parts_of_layer(layer: Any) -> list:
    settings = [bool(layer.trainable), layer.dtype_policy.name]
    name = architecture.plain_name(layer.name, type(layer).__name__)
    return [type(layer), name, *settings, _own(layer), _values(layer.variables)]


def _own(thing: Any) -> dict[str, Any]:
    """Return the attributes that a class of Keras does not keep books with, sorted."""
    books = _BOOKKEEPING | (_of_bare_layer() if looking.is_a(thing, keras.layers.Layer) else set())
    attributes = looking.attributes_of(thing)
    if attributes.get("_init_seed", 0) is None:
        books = books | {"seed"}  # drawn by Keras, because the user gave none
    return {
        name: attributes[name]
        for name in sorted(attributes)
        if name not in books and not looking.is_a(attributes[name], keras.Variable)
    }


@cache
def _of_bare_layer() -> set[str]:
    """Return the attributes of a layer that has no settings."""
    return set(looking.attributes_of(keras.layers.Layer())) | {"_build_shapes_dict"}


# ---------------------------------------------------------------------------- configurations


def _config(thing) -> Any:
    """Return the configuration of a layer or model, without the names that Keras counts up."""
    try:
        config: Any = _listed(architecture.anonymous(thing.get_config()))
        if isinstance(config.get("name"), str):
            config["name"] = architecture.plain_name(config["name"], type(thing).__name__)
        return config
    except (TypeError, NotImplementedError) as error:
        raise NotComparable.of(thing, f"it has no configuration: {error}") from error


def _listed(config):
    """Replace tuples by lists, as a copy of a model through its file has them."""
    if isinstance(config, dict):
        return {key: _listed(value) for key, value in config.items()}
    return [_listed(item) for item in config] if isinstance(config, list | tuple) else config


def _values(variables) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]
