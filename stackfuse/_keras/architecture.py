"""The computation of a model, read from its configuration, if that says enough."""

import json
import re
import warnings
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

import keras

from stackfuse._core import messages
from stackfuse._keras import private
from stackfuse._keras.own_code import is_from_keras

#: Layers with state that is neither configuration nor a variable, and those that hold code.
_OPAQUE = {
    "Discretization",
    "HashedCrossing",
    "Hashing",
    "IntegerLookup",
    "Lambda",
    "Normalization",
    "StringLookup",
    "TextVectorization",
    "TFSMLayer",
}

#: Parts of a configuration that are values and not objects of some module.
_VALUES = {
    "__bytes__",
    "__complex__",
    "__ellipsis__",
    "__keras_tensor__",
    "__numpy__",
    "__slice__",
    "__tensor__",
    "__tuple__",
}


def architecture(model) -> str | None:
    """Return a text that identifies a compiled model's computation, or None if there is none."""
    if not model.compiled or next(_foreign_code(model), None):
        return None
    if exempts_from_decay(model.optimizer):
        return None  # the optimizer's configuration does not name them
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lambdas, which are refused below
        try:
            compiled = model.get_compile_config()
            raw = model.get_config()
        except (TypeError, ValueError, NotImplementedError, OSError):
            return None  # what cannot be serialised, as lambdas typed at a prompt
    if any(name in _OPAQUE for name in _class_names(raw)) or next(_foreign([raw, compiled]), None):
        return None
    variables = [(list(v.shape), str(v.dtype), v.trainable) for v in model.variables]
    parts = [type(model).__name__, anonymous(raw), plain_names(compiled), variables]
    return json.dumps([*parts, _given_names(model)], sort_keys=True)


def exempts_from_decay(optimizer) -> bool:
    """Whether an optimizer exempts some weights from decay."""
    return bool(private.exempt_weights(optimizer))


def foreign_parts(model) -> Iterator[str]:
    """Yield descriptions of the parts of a model that are not of Keras.

    Layers, functions given to layers, methods put in place of a layer's own, and any object that
    the model's configuration names.
    """
    yield from _foreign_code(model, compiled_with=False)
    if is_from_keras(type(model)):
        yield from _foreign(_config_of(model))


def _foreign_code(model, *, compiled_with: bool = True) -> Iterator[str]:
    """Yield the classes, functions and methods in a model that are not of Keras.

    Without `compiled_with`, a loss that the model was compiled with does not count.
    """
    for layer in private.flatten_layers(model):
        if not is_from_keras(type(layer)):
            yield messages.with_article(type(layer).__name__)
        for name, value in vars(layer).items():
            if name == "loss" and isinstance(layer, keras.Model) and not compiled_with:
                continue
            if isinstance(value, FunctionType | MethodType) and not is_from_keras(value):
                yield f"the function {value.__name__!r} as {name} of {layer.name!r}"


def _config_of(model) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of lambdas, which are reported as what they are
            return model.get_config()
    except (TypeError, ValueError, NotImplementedError) as error:
        return {"module": "?", "class_name": f"part without configuration ({error})"}


def _dicts(config) -> Iterator[dict]:
    """Yield all dicts in a configuration."""
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    if isinstance(config, list | tuple):
        for item in config:
            yield from _dicts(item)


def _class_names(config) -> Iterator[str]:
    return (part["class_name"] for part in _dicts(config) if "class_name" in part)


def _foreign(config) -> Iterator[str]:
    for part in _dicts(config):
        name = part.get("class_name")
        if name is None or ("module" not in part and name in _VALUES):
            continue
        module = str(part.get("module"))
        registered = part.get("registered_name")
        if not (module == "keras" or module.startswith("keras.")) or (
            registered and registered != name
        ):
            yield messages.with_article(str(part.get("config") if name == "function" else name))


def plain_names(config):
    """Drop the numbers that Keras counts up in the names of optimizers and metrics."""
    if isinstance(config, list | tuple):
        return [plain_names(item) for item in config]
    if not isinstance(config, dict):
        return config
    result = {key: plain_names(value) for key, value in config.items()}
    if "class_name" in result and isinstance(result.get("config"), dict):
        name = result["config"].get("name")
        if isinstance(name, str):
            result["config"]["name"] = plain_name(name, result["class_name"])
    return result


def plain_name(name: str, class_name: str) -> str:
    """Return a name without the number that Keras adds to a class's default name.

    Examples
    --------
    >>> plain_name("auc_12", "AUC"), plain_name("recall_at_5", "Recall")
    ('auc', 'recall_at_5')
    """
    stem, _, number = name.rpartition("_")
    same = stem.replace("_", "") == class_name.lower()
    return stem if number.isdigit() and same else name


def last_activation(model, k: int = 0) -> str | None:
    """Return the name of the activation of a model's k-th output, or None if it cannot be read.

    ``"linear"`` stands for none. A name from the network's author is returned as it is.
    """
    try:
        return activation_of(model.outputs[k])
    except (AttributeError, IndexError, TypeError):  # a subclassed model keeps no graph
        return None


def activation_of(tensor) -> str | None:
    """Return the name of the activation that a symbolic tensor comes from.

    See :func:`last_activation`.
    """
    operation, _, place = private.history_of(tensor)
    if isinstance(operation, keras.Model):
        return last_activation(operation, place)
    layers = keras.layers
    cls = type(operation)
    named = layers.Softmax | layers.ReLU | layers.LeakyReLU | layers.ELU | layers.PReLU
    of_ops = cls.__module__.startswith("keras.") and cls.__name__ in ("Sigmoid", "Softmax")
    if isinstance(operation, named) or of_ops:
        over_last = getattr(operation, "axis", -1) in (-1, len(tensor.shape) - 1)
        return cls.__name__.lower() if over_last else None
    while isinstance(operation, layers.Wrapper):
        operation = operation.layer
    if isinstance(operation, layers.Dropout | layers.Reshape | layers.Flatten):
        return None
    name = getattr(getattr(operation, "activation", None), "__name__", None)
    if isinstance(operation, layers.Activation) and name == "linear":
        # Mixed precision ends with this layer, to cast: the activation is in the layer before.
        return activation_of(private.node_of(tensor).input_tensors[0])
    return name


def _given_names(model) -> list[str | None]:
    """Return the names of several outputs, which losses and metrics are named after.

    None stands for a name from Keras, which differs from model to model.
    """
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) < 2:
        return []
    last = [private.history_of(tensor)[0] for tensor in outputs]
    return [None if _is_made_up(one.name, type(one).__name__) else one.name for one in last]


def _is_made_up(name: str, class_name: str) -> bool:
    return plain_name(name, class_name).replace("_", "") == class_name.lower()


def anonymous(config):
    """Replace the names of layers by numbers: Keras counts them on with every model built."""
    return _anonymous(config, {})


def _anonymous(config, names: dict[str, int]):
    def number(name):
        return names.setdefault(name, len(names))

    if isinstance(config, list | tuple):
        return [_anonymous(item, names) for item in config]
    if not isinstance(config, dict):
        return config
    is_layer = "layers" in config or re.match(private.NODE_MODULES, str(config.get("module")))
    result = {}
    for key, value in config.items():
        if key == "name" and ("layers" in config or "inbound_nodes" in config):
            value = number(value)
        elif key == "keras_history":
            value = [number(value[0]), *value[1:]]
        elif key in ("input_layers", "output_layers"):
            value = _anonymous_ends(value, number)
        elif key == "config" and is_layer and isinstance(value, dict) and "name" in value:
            value = _anonymous({**value, "name": number(value["name"])}, names)
        else:
            value = _anonymous(value, names)
        result[key] = value
    return result


def _anonymous_ends(value, number: Callable[[str], int]):
    """Replace the names of layers in the lists (or dicts) of a graph's inputs and outputs."""
    if isinstance(value, dict):
        return {key: _anonymous_ends(item, number) for key, item in value.items()}
    if len(value) == 3 and isinstance(value[0], str) and isinstance(value[1], int):
        return [number(value[0]), *value[1:]]
    return [_anonymous_ends(item, number) for item in value]
