"""Keras objects with classes and functions of the user's own: copied and pickled with these.

Keras copies and pickles its objects through a file that names classes and functions, and looks the
names up in its registry. A class that nobody registered is not found there, another one of the same
name would be taken for it, and settings that ``get_config`` does not mention are lost. Here every
copy gets the classes and functions themselves, and losses and metrics all of their attributes.
"""

import copy
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FunctionType
from typing import Any

import cloudpickle
import keras
import numpy as np

from stackfuse._core import NotConvertible
from stackfuse._keras import private

#: A class or a function.
Code = Any

#: Kinds of Keras objects that are written to a file, which names their classes.
_Layer = keras.layers.Layer
_Optimizer = keras.optimizers.Optimizer

#: Settings that the configuration of every layer holds.
_OF_ALL_LAYERS = ("dtype", "name", "trainable")

#: Keras' registry is one for all threads.
_registry_lock = threading.RLock()

#: Containers in which objects are looked for.
_Containers = list | tuple | set | frozenset


def is_from_keras(code: Code) -> bool:
    """Whether a class or a function is one of Keras."""
    module = code.__module__ or ""
    return module == "keras" or module.startswith("keras.")


def own_code(item: Any) -> dict[str, Code]:
    """Return the classes and functions in a Keras object that are not of Keras.

    Parameters
    ----------
    item : object
        A model, a layer, a loss, a metric, an optimizer, ..., or a list or dict of these. The
        layers of a model count, and not its loss, metrics and optimizer.

    Returns
    -------
    code : dict of str to class or function
        By the names that Keras gives them in a file.

    Raises
    ------
    ValueError
        If two of them have the same name, of which Keras would take one for both.
    """
    found: dict[str, Code] = {}
    for code in _codes_in(item):
        name = keras.saving.get_registered_name(code)
        if found.setdefault(name, code) is not code:
            raise ValueError(
                f"Two different classes or functions are named {name!r}, which Keras cannot tell "
                "apart when it copies a model. Rename one of them."
            )
    return found


def _codes_in(item: Any) -> Iterator[Code]:
    waiting, seen = [item], {}
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part  # kept alive, so that no other object gets its number
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, _Containers):
            waiting += part
        elif isinstance(part, FunctionType):
            if not is_from_keras(part) and part.__name__ != "<lambda>":
                yield part
        elif not isinstance(part, type) and hasattr(part, "get_config"):
            if not is_from_keras(type(part)):
                yield type(part)
            waiting += _attributes(part)


def _attributes(part: Any) -> list:
    """Return the parts of an object that its configuration may name."""
    given = getattr(part, "__dict__", {})  # Keras keeps there what it wraps methods in, as well
    named = {name: value for name, value in given.items() if not hasattr(type(part), name)}
    if not isinstance(part, keras.Model):
        return list(named.values())
    hidden = {"loss", "optimizer", *(name for name in named if name[0] == "_")}
    own = [value for name, value in named.items() if name not in hidden]
    return [*private.flatten_layers(part)[1:], *own]


@contextmanager
def known_to_keras(code: dict[str, Code]) -> Iterator[None]:
    """Let Keras find classes and functions by their names, be others registered under these."""
    layers = {name: _Class(item) for name, item in code.items() if _is_plain_layer(item)}
    known = {**code, **layers}
    registry = keras.saving.get_custom_objects()
    with _registry_lock, keras.saving.custom_object_scope(known):
        # Within a model, what is registered would win over the scope.
        registered = {name: registry[name] for name in known if name in registry}
        registry.update({name: known[name] for name in registered})
        try:
            yield
        finally:
            registry.update(registered)


def _is_plain_layer(code: Code) -> bool:
    """Whether a class is one of layers that says nothing of how they are read from a file."""
    if not isinstance(code, type) or not issubclass(code, _Layer):
        return False
    return code.from_config.__func__ is _Layer.from_config.__func__


class _Class:
    """Makes layers from their configurations, be there arguments for all that these name or not.

    Parameters
    ----------
    kind : type
        A class of layers.
    """

    def __init__(self, kind: Any):
        self.kind = kind

    def from_config(self, config: dict[str, Any]):
        """Return a new layer."""
        taken = inspect.signature(self.kind.__init__).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
            return self.kind.from_config(config)
        untaken = set(_OF_ALL_LAYERS) - set(taken)
        rest = {name: value for name, value in config.items() if name in untaken}
        layer = self.kind.from_config({n: v for n, v in config.items() if n not in rest})
        if "dtype" in rest:
            layer.dtype_policy = keras.dtype_policies.get(rest.pop("dtype"))
        for name, value in rest.items():
            setattr(layer, name, value)
        return layer


def needs_own_copy(item: Any) -> bool:
    """Whether Keras would look up classes or functions to copy an object."""
    if isinstance(item, keras.Model) and own_code(private.compile_arguments(item)):
        return True
    return _is_of_keras(item) and bool(own_code(item))


def _is_of_keras(item: Any) -> bool:
    return isinstance(item, _Layer | _Optimizer | keras.losses.Loss | keras.metrics.Metric)


def _keras_objects(item: Any) -> Iterator[Any]:
    """Yield the objects in lists, dicts and callbacks that Keras would copy through a file."""
    if _is_of_keras(item):
        yield item
    elif isinstance(item, dict):
        for value in item.values():
            yield from _keras_objects(value)
    elif isinstance(item, _Containers):
        for value in item:
            yield from _keras_objects(value)
    elif isinstance(item, keras.callbacks.Callback):
        yield from _keras_objects(vars(item))


def holds_own(item: Any) -> bool:
    """Whether an object, or one in a list, a dict or a callback, :func:`needs_own_copy`."""
    return any(map(needs_own_copy, _keras_objects(item)))


def deep_copy(item: Any) -> Any:
    """Return a deep copy of anything.

    Parameters
    ----------
    item : object
        For example a loss, a list of metrics, a model or callbacks.
    """
    return _copy_with(item, {})


def _copy_with(item: Any, memo: dict[int, Any]) -> Any:
    for part in _keras_objects(item):
        if id(part) not in memo and needs_own_copy(part):
            if isinstance(part, _Layer | _Optimizer):
                memo[id(part)] = Portable(part).restored()
            else:
                memo[id(part)] = twin = object.__new__(type(part))
                vars(twin).update(_copy_with(vars(part), memo))
                _begin_anew(twin)
    return copy.deepcopy(item, memo)


def portable(item: Any, memo: dict[int, Any]) -> Any:
    """Return an item to pickle in place of another.

    Parameters
    ----------
    item : object
    memo : dict
        The objects that have been replaced, so that one object stays one.
    """
    if id(item) in memo:
        return memo[id(item)]
    result = item
    if type(item) is dict:
        result = {key: portable(value, memo) for key, value in item.items()}
        if all(result[key] is item[key] for key in item):
            result = item
    elif type(item) in (list, tuple):
        result = type(item)(portable(value, memo) for value in item)
        if all(one is other for one, other in zip(result, item)):
            result = item
    elif not isinstance(item, dict | _Containers) and holds_own(item):
        result = Portable(item)
    memo[id(item)] = result
    return result


class Portable:
    """Stands for a Keras object in a pickle. Loading it returns the object.

    Parameters
    ----------
    item : Layer, Optimizer, Loss, Metric, or a Callback that holds one of these
    """

    def __init__(self, item: Any):
        self.item = item

    def __reduce__(self):
        return self._parts()

    def __deepcopy__(self, memo):
        with private.without_array_warnings():
            through_parts = isinstance(self.item, _Layer | _Optimizer)
            return self.restored() if through_parts else deep_copy(self.item)

    def restored(self) -> Any:
        """Return a new object like the one that this stands for."""
        restore, arguments = self._parts()
        return restore(*copy.deepcopy(arguments))

    def _parts(self) -> tuple:
        item = self.item
        if isinstance(item, _Layer) and not needs_own_copy(item):
            with private.without_array_warnings():
                return item.__reduce__()
        if isinstance(item, _Optimizer):
            code = _carried(own_code(item))
            return _restore_optimizer, (ByValue.of(type(item)), item.get_config(), code)
        if not isinstance(item, _Layer):
            state = ByValue(portable(dict(vars(item)), {}))
            return _restore_object, (ByValue.of(type(item)), state)
        compiled, code = None, own_code(item)
        if isinstance(item, keras.Model) and item.compiled:
            if type(item).compile is keras.Model.compile:
                compiled = _compile_state(item)
            else:  # what its class does in compile, only its configuration tells
                code |= own_code(private.compile_arguments(item))
        with private.without_array_warnings(), uncompiled(item) if compiled else nullcontext():
            restore, arguments = item.__reduce__()
        return _restore_layer, (restore, arguments, _carried(code), compiled, probe(item))


class ByValue:
    """Stands for an object in a pickle; functions and classes in it need not be importable."""

    def __init__(self, item: Any):
        self.item = item

    @classmethod
    def of(cls, code: Code) -> Any:
        """Return a class or a function if pickle finds it by its name, else what stands for it."""
        found = sys.modules.get(code.__module__ or "")
        for name in code.__qualname__.split("."):
            found = getattr(found, name, None)
        return code if found is code else cls(code)

    def __reduce__(self):
        return cloudpickle.loads, (cloudpickle.dumps(self.item),)

    def __deepcopy__(self, memo):
        return deep_copy(self.item)


def _carried(code: dict[str, Code]) -> dict[str, Any]:
    return {name: ByValue.of(thing) for name, thing in code.items()}


def _compile_state(model) -> tuple[Any, list | None]:
    """Return the arguments a model was compiled with, and the values of its optimizer."""
    arguments = private.compile_arguments(model)
    if isinstance(arguments["optimizer"], _Optimizer):
        arguments["optimizer"] = Portable(arguments["optimizer"])
    return _by_value(portable(arguments, {})), optimizer_values(model)


def optimizer_values(model) -> list[np.ndarray] | None:
    """Return the values of a model's optimizer, or None if it has none yet."""
    optimizer: Any = model.optimizer
    if optimizer is None or not optimizer.built:
        return None
    return [variable.numpy() for variable in optimizer.variables]


def _by_value(item: Any) -> Any:
    """Return arguments of ``compile`` with functions and classes as a pickle holds them."""
    if isinstance(item, dict):
        return {key: _by_value(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return type(item)(map(_by_value, item))
    return ByValue.of(item) if isinstance(item, FunctionType | type) else item


def can_be_written(model) -> bool:
    """Whether a model's configuration says what it was made from.

    Keras writes down the defaults of a model's constructor where its class has no ``get_config``.
    """
    try:
        if not own_code(model):
            return True
        model.get_config()
    except (NotImplementedError, TypeError, ValueError):  # of a class of the user's, or two names
        return False
    return not any(map(_hides_arguments, private.flatten_layers(model)))


def _hides_arguments(layer) -> bool:
    kind = type(layer)
    if not isinstance(layer, keras.Model) or is_from_keras(kind):
        return False
    if not is_from_keras(kind.get_config):
        return False
    taken = list(inspect.signature(kind.__init__).parameters.values())[1:]
    named = {one.name for one in taken if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    return bool(named - {"inputs", "outputs", *_OF_ALL_LAYERS})


@contextmanager
def uncompiled(model) -> Iterator[None]:
    """Let a model, and those in it, be written to a file as if they were not compiled."""
    models = [part for part in private.flatten_layers(model) if isinstance(part, keras.Model)]
    for part in models:
        vars(part)["get_compile_config"] = lambda: None
    try:
        yield
    finally:
        for part in models:
            vars(part).pop("get_compile_config", None)


def probe(item: Any) -> np.ndarray | None:
    """Return the outputs of a model for some rows, or None if the form of its rows is unknown."""
    if not isinstance(item, keras.Model):
        return None
    shape = (item.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, tuple | list) or not all(isinstance(n, int) for n in shape[1:]):
        return None
    if any(tensor.dtype == "string" for tensor in getattr(item, "inputs", None) or []):
        return None
    rows = np.random.default_rng(0).uniform(size=(2, *shape[1:])).astype("float32")
    outputs = keras.tree.flatten(_from_first_states(item, rows))
    flat = [keras.ops.convert_to_numpy(tensor).reshape(2, -1) for tensor in outputs]
    return np.concatenate(flat, axis=1).astype(np.float64)


def _from_first_states(item: Any, rows: np.ndarray) -> Any:
    """Return the outputs of a model that draws, if it does, in the same state as any copy of it.

    The states of the model's own random layers stay as they are.
    """
    weights = {id(weight) for weight in item.weights}
    states = [
        (v, keras.ops.zeros_like(v.value))
        for v in item.non_trainable_variables
        if item.built and id(v) not in weights
    ]
    # A random layer writes its next state into the scope, which is thrown away.
    with keras.StatelessScope(states) if states else nullcontext():
        return item(rows, training=False)


def check_probe(item: Any, expected: np.ndarray | None) -> None:
    """Raise if a copy of a model computes something else than the model did.

    Keras writes down the defaults of a constructor where a class does not say what it was called
    with.
    """
    if expected is None:
        return
    # Another machine may compute other last digits, and more of them in half precision.
    near = 0.01 * np.abs(expected[np.isfinite(expected)]).max(initial=1e-6)
    got: Any = probe(item)
    if not np.allclose(got, expected, rtol=0.01, atol=near, equal_nan=True):
        raise another_model(item)


def another_model(copy) -> NotConvertible:
    """Return the error of a copy that is not the model that was copied."""
    return NotConvertible(
        f"A copy of the model {copy.name!r} through a file is another model, because its class "
        f"does not say how it was made. Give {type(copy).__name__} a get_config that returns the "
        "arguments of __init__."
    )


def _restore_object(kind: type, state: dict[str, Any]) -> Any:
    item = object.__new__(kind)
    vars(item).update(state)
    _begin_anew(item)
    return item


def _begin_anew(item: Any) -> None:
    """Let a copied metric begin as a new one; Keras does that only before the second epoch."""
    if isinstance(item, keras.metrics.Metric):
        item.reset_state()


def _restore_optimizer(kind: Any, config: dict[str, Any], code: dict[str, Code]) -> Any:
    with known_to_keras(code):
        return kind.from_config(config)


def _restore_layer(
    restore: Callable, arguments: tuple, code: dict[str, Code], compiled: Any, expected: Any
) -> Any:
    with known_to_keras(code):
        item = restore(*arguments)
    if compiled is not None:
        compile_arguments, values = compiled
        item.compile(**compile_arguments)
        if values is not None:
            item.optimizer.build(item.trainable_variables)
            for variable, value in zip(item.optimizer.variables, values, strict=True):
                variable.assign(value)
    check_probe(item, expected)
    return item
