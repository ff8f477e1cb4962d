"""The private names of Keras and TensorFlow in use: what is renamed there breaks one line here."""

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.random import seed_generator
from keras.src.utils import naming
from tensorflow.python.framework import op_def_registry

#: Where Keras keeps the counters behind the names that it makes up.
_NAME_COUNTERS = "object_name_uids"

#: The attribute in which attention layers keep their rate of dropout.
DROPOUT = "_dropout"

#: The beginnings of Keras' warnings about optimizers that have no variables yet.
OPTIMIZER_WARNINGS = (
    "Skipping variable loading for optimizer",
    "A total of 1 objects could not be loaded. Example error message for object "
    "<keras.src.optimizers",
)

#: The modules, as a regular expression, that configurations name for layers, operations and models.
NODE_MODULES = r"keras\.(layers|src\.ops|src\.models)"


def history_of(tensor) -> tuple[Any, int, int]:
    """Return the operation that made a symbolic tensor, the number of the call, and the place.

    Parameters
    ----------
    tensor : KerasTensor

    Returns
    -------
    operation : keras.Operation
    call : int
        The number of the operation's call that made the tensor.
    place : int
        The place of the tensor among the outputs of that call.
    """
    operation, call, place = tensor._keras_history
    return operation, call, place


def inbound_nodes(operation) -> list:
    """Return the calls of an operation: ``input_tensors``, ``outputs``, ``arguments`` of each."""
    return operation._inbound_nodes


def node_of(tensor) -> Any:
    """Return the call that made a symbolic tensor."""
    operation, call, _ = history_of(tensor)
    return inbound_nodes(operation)[call]


def flatten_layers(layer) -> list:
    """Return a layer or model and the layers within it, at any depth."""
    return list(layer._flatten_layers())


def build_for_training(model, like: tuple) -> None:
    """Build a compiled model, its loss and its metrics for data like ``(x, y, sample_weight)``."""
    model._symbolic_build(data_batch=keras.tree.map_structure(_without_objects, like))


def _without_objects(array):
    """Return an array as it is, but strings, which numpy has as objects, as a tensor."""
    is_object = isinstance(array, np.ndarray) and array.dtype.kind == "O"
    return tf.convert_to_tensor(array) if is_object else array


def lookup_tables(model) -> list:
    """Return the handles of the tables in which the layers of a model look words up."""
    values = (value for layer in flatten_layers(model) for value in vars(layer).values())
    table = tf.saved_model.experimental.TrackableResource
    return [value.resource_handle for value in values if isinstance(value, table)]


def takes_training(model) -> bool:
    """Whether a model's call has the argument `training`."""
    return model._call_has_training_arg


def compile_arguments(model) -> dict[str, Any]:
    """Return the arguments that a model was compiled with; none if it was not."""
    compiled = vars(model).get("_compile_config")
    return dict(compiled.config) if model.compiled and compiled is not None else {}


def compute_loss(model, x, y, outputs, sample_weight, *, training: bool):
    """Return the loss of one batch, the penalties of the layers included."""
    return model._compute_loss(x, y, outputs, sample_weight, training=training)


def update_mean_loss(model, loss, n_rows) -> None:
    """Add the loss of a batch to the mean that a model reports as ``loss``."""
    model._loss_tracker.update_state(loss, sample_weight=n_rows)


def exempt_weights(optimizer) -> list:
    """Return the keys and the pattern of the weights that an optimizer was told not to decay."""
    keys = getattr(optimizer, "_exclude_from_weight_decay", None) or ()
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    return [*keys, *([pattern] if pattern else [])]


def knows_exempt_weights(optimizer) -> bool:
    """Whether an optimizer was told which weights not to decay, or has looked it up in training."""
    return getattr(optimizer, "_exclude_from_weight_decay_cache", None) is not None


def clip(optimizer, gradients: list) -> list:
    """Return gradients as an optimizer clips them."""
    return optimizer._clip_gradients(gradients)


@contextmanager
def without_array_warnings() -> Iterator[None]:
    """Keep silent that Keras' variables do not know numpy's copy keyword, as when it saves them."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning
        )
        yield


def next_name(prefix: str) -> str:
    """Return the next of the names that Keras makes up: prefix, prefix_1, prefix_2, ..."""
    return naming.auto_name(prefix)


@contextmanager
def names_anew(counters: dict[str, int]) -> Iterator[None]:
    """Let Keras number the names that it makes up from these counters, then go on as before."""
    present = global_state.get_global_attribute(_NAME_COUNTERS)
    global_state.set_global_attribute(_NAME_COUNTERS, counters)
    try:
        yield
    finally:
        global_state.set_global_attribute(_NAME_COUNTERS, present)


#: The source of Keras' seeds in the current block; None stands for Python's ``random``.
_seeds: ContextVar[random.Random | None] = ContextVar("seeds", default=None)


class _Seeds:
    """Stands for Python's ``random`` where Keras draws seeds: a block may bring a generator."""

    def __init__(self, shared: Any):
        self._shared = shared

    def randint(self, low: int, high: int) -> int:
        """Return a random whole number from low to high."""
        return (_seeds.get() or self._shared).randint(low, high)


@contextmanager
def seeds_from(generator: random.Random | None) -> Iterator[None]:
    """Let Keras draw the seeds of initializers and random layers from a generator, in this block.

    Other threads go on drawing from Python's ``random``; so does this block with None.
    """
    if not isinstance(seed_generator.python_random, _Seeds):
        seed_generator.python_random = _Seeds(seed_generator.python_random)
    token = _seeds.set(generator)
    try:
        yield
    finally:
        _seeds.reset(token)


def definition_of(operation: str) -> Any:
    """Return TensorFlow's definition of an operation: ``is_stateful``, ``input_arg``; or None."""
    return op_def_registry.get(operation)
