"""Compiled training and prediction, shared by all models of one architecture.

Compiling and tracing a small network costs more than training it, and TensorFlow never gives the
memory back. So one compiled model is kept for each architecture: to train a model, its state (the
weights, the counters of its random layers, the optimizer's variables) is copied in, and copied out
again when it is trained. The arithmetic is that of a fresh fit, bit for bit. A model whose
configuration does not say all about it (a subclass, a custom object, a layer that keeps state
outside its variables) is compiled and trained by itself.
"""

import json
import math
import random
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count, islice
from operator import itemgetter
from types import FunctionType
from typing import Any

import numpy as np

from stackfuse._inputs import Rows, input_structure

#: Programs kept at a time; the one used longest ago goes first.
MAX_PROGRAMS = 16

#: Rows that one call of a compiled prediction takes at most.
PREDICT_ROWS = 8192

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

_programs: "OrderedDict[str, Program]" = OrderedDict()
_lock = threading.RLock()
_functions: "weakref.WeakKeyDictionary[Any, dict[str, Callable]]" = weakref.WeakKeyDictionary()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed what builders, initializers and random layers draw from, then put it back as it was.

    Keras takes the seed of every initializer and random layer that has none from Python's
    ``random``. Models built here equal those built after ``keras.utils.set_random_seed(seed)``.
    """
    with _lock:
        python_state, numpy_state = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


class Program:
    """One compiled model, which trains and predicts for every model of its architecture."""

    def __init__(self, model):
        import keras

        with seeded(0):  # its own weights are never used
            twin = keras.models.clone_model(model)
            twin.compile_from_config(model.get_compile_config())
        self.model = twin
        self._functions: dict[str, Callable] = {}

    @classmethod
    def of(cls, model) -> "Program | None":
        """Return the program of a compiled model, or None if it has to train by itself."""
        key = architecture(model)
        if key is None:
            return None
        with _lock:
            if key not in _programs:
                _programs[key] = cls(model)
                if len(_programs) > MAX_PROGRAMS:
                    _programs.popitem(last=False)
            _programs.move_to_end(key)
            return _programs[key]

    @contextmanager
    def training(self, model) -> Iterator[Any]:
        """Lend the compiled model with the given model's state, and hand the state back."""
        with _lock:
            copy_state(model, self.model)
            yield self.model
            copy_state(self.model, model)

    def predictor(self, finish: Callable, name: str) -> Callable:
        """Return the compiled function (weights, other variables, x) -> finished outputs."""
        if name not in self._functions:
            twin = self.model

            def compute(trainable, fixed, x):
                return finish(twin.stateless_call(trainable, fixed, x, training=False)[0])

            self._functions[name] = _compiled(
                compute,
                _specs(twin.trainable_variables),
                _specs(twin.non_trainable_variables),
                _input_specs(twin),
            )
        return self._functions[name]


def train(
    model,
    x: Rows,
    y,
    sample_weight: np.ndarray | None,
    *,
    epochs: int,
    first_epoch: int = 0,
    batch_size: int,
    shuffle: bool,
    seed: int,
    validation: tuple | None,
    callbacks: Sequence,
    verbose: int | str,
    **fit_params,
) -> dict[str, list]:
    """Train a compiled model and return its history.

    In epoch e the rows come in the order
    ``numpy.random.default_rng([seed, e]).permutation(len(x))``, or as they are if not `shuffle`;
    all else is ``model.fit``.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    x : Rows
    y : ndarray or tuple of ndarray
        One array per output of the model.
    sample_weight : ndarray of shape (n_samples,) or None
    epochs, first_epoch : int
        How many epochs to train, and the number of the first one.
    validation : tuple (Rows, y, sample_weight) or None
    """
    program = None if any(map(_touches_model, callbacks)) else Program.of(model)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    with program.training(model) if program else nullcontext(model) as trained:
        orders = _orders(len(x), seed if shuffle else None, first_epoch)
        if validation is not None:
            fit_params["validation_data"] = _one_pass(*validation)
        trained.fit(
            _batches(x, y, sample_weight, batch_size, orders),
            steps_per_epoch=math.ceil(len(x) / batch_size),
            initial_epoch=first_epoch,
            epochs=first_epoch + epochs,
            shuffle=False,
            callbacks=list(callbacks),
            verbose=verbose,
            **fit_params,
        )
        history = {name: list(values) for name, values in trained.history.history.items()}
        trained.history = None  # it would keep every callback alive
    _check_finite(model, history)
    return history


def predict(model, x: Rows, finish: Callable, name: str) -> np.ndarray:
    """Return ``finish(model(x))``, compiled, in batches.

    Parameters
    ----------
    model : keras.Model
        Any built model.
    x : Rows
    finish : callable
        From the model's outputs to the tensor of predictions.
    name : str
        What tells this `finish` from others on the same model.
    """
    function = _function_of(model, finish, name)
    parts = [
        function(x[slice(start, start + PREDICT_ROWS)]) for start in range(0, len(x), PREDICT_ROWS)
    ]
    return np.concatenate([part.numpy() for part in parts])


def _function_of(model, finish: Callable, name: str) -> Callable:
    """Return the compiled function of a model, made at the first call."""
    functions = _functions.setdefault(model, {})
    if name not in functions:
        program = Program.of(model)
        own: Any = weakref.proxy(model)  # the cache's values must not keep its keys alive
        if program:
            function = program.predictor(finish, name)
            functions[name] = lambda x: function(
                [variable.value for variable in own.trainable_variables],
                [variable.value for variable in own.non_trainable_variables],
                x,
            )
        else:
            functions[name] = _compiled(
                lambda x: finish(own(x, training=False)), _input_specs(model)
            )
    return functions[name]


def _compiled(function: Callable, *specs) -> Callable:
    """Return a function as one graph for any number of rows."""
    import tensorflow as tf

    if specs[-1] is None:  # a subclassed model does not say what it takes
        return tf.function(function, reduce_retracing=True)
    return tf.function(function, input_signature=specs)


def _specs(variables) -> list:
    import tensorflow as tf

    return [tf.TensorSpec(variable.shape, variable.dtype) for variable in variables]


def _input_specs(model):
    """Return the specs of a model's inputs in their structure, or None where they are unknown."""
    import keras
    import tensorflow as tf

    structure = input_structure(model)
    if structure is None:
        return None
    if isinstance(structure, list):
        structure = tuple(structure)
    return keras.tree.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), structure)


def architecture(model) -> str | None:
    """Return what identifies a compiled model's computation, or None where that is not known."""
    if not model.compiled or not all(map(_is_stock, model._flatten_layers())):
        return None
    try:
        compiled = model.get_compile_config()
        config = _anonymous(model.get_config(), {})
    except (TypeError, ValueError, NotImplementedError):  # something that cannot be serialised
        return None
    if not _is_transparent([config, compiled]):
        return None
    optimizer = compiled["optimizer"]
    optimizer["config"] = {k: v for k, v in optimizer["config"].items() if k != "name"}
    variables = [(list(v.shape), str(v.dtype), v.trainable) for v in model.variables]
    return json.dumps([type(model).__name__, config, compiled, variables], sort_keys=True)


def _is_stock(layer) -> bool:
    """Whether a layer, and every function that it was given, comes from Keras."""
    functions = (value for value in vars(layer).values() if isinstance(value, FunctionType))
    return all((item.__module__ or "").startswith("keras.") for item in (type(layer), *functions))


def _anonymous(config, names: dict[str, int]):
    """Replace the names of layers by numbers: Keras counts them on with every model built."""

    def number(name):
        return names.setdefault(name, len(names))

    if isinstance(config, list | tuple):
        return [_anonymous(item, names) for item in config]
    if not isinstance(config, dict):
        return config
    is_layer = "layers" in config or str(config.get("module")).startswith(
        ("keras.layers", "keras.src.ops", "keras.src.models")
    )
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


def _is_transparent(config) -> bool:
    """Whether a configuration names stock Keras objects only, and none that hides state."""
    if isinstance(config, list | tuple):
        return all(map(_is_transparent, config))
    if not isinstance(config, dict):
        return True
    if config.get("class_name") in _OPAQUE:
        return False
    if "module" in config and "class_name" in config:
        if not str(config["module"]).startswith("keras") or config.get("registered_name"):
            return False
    return all(map(_is_transparent, config.values()))


def _touches_model(callback) -> bool:
    """Whether a callback may change the model in ways that its variables do not show."""
    import keras

    stock = type(callback).__module__.startswith(("keras.", "stackfuse."))
    return not stock or isinstance(callback, keras.callbacks.LambdaCallback)


def copy_state(source, target) -> None:
    """Copy weights, random counters and the optimizer's variables from model to model."""
    for owner, receiver in ((source, target), (source.optimizer, target.optimizer)):
        for mine, theirs in zip(owner.variables, receiver.variables, strict=True):
            theirs.assign(mine.value)


def _check_finite(model, history: dict[str, list]) -> None:
    """Raise if training diverged; a ReLU can hide that from the loss, so the weights are read."""
    broken = [v.path for v in model.weights if not np.isfinite(v.numpy().astype(np.float64)).all()]
    losses = history.get("loss", [])
    if broken or not np.isfinite(losses).all():
        bad = next((k for k, loss in enumerate(losses) if not np.isfinite(loss)), None)
        what = f"the loss is {losses[bad]} in epoch {bad}" if bad is not None else ""
        where = f"weights {broken[0]!r} are not finite" if broken else ""
        raise FloatingPointError(
            f"Training {model.name!r} diverged: {' and '.join(filter(None, [what, where]))}. "
            "Scale the inputs (StandardScaler), or lower optimizer__learning_rate."
        )


def _orders(n_rows: int, seed: int | None, first_epoch: int) -> Callable:
    """Return a function that yields the order of the rows, epoch after epoch."""

    def orders() -> Iterator[np.ndarray]:
        for epoch in count(first_epoch):
            if seed is None:
                yield np.arange(n_rows)
            else:
                yield np.random.default_rng([seed, epoch]).permutation(n_rows)

    return orders


def _one_pass(x: Rows, y, sample_weight: np.ndarray | None):
    """Return a dataset of the rows as they are, once."""
    import tensorflow as tf

    orders = _orders(len(x), None, 0)
    dataset = _batches(x, y, sample_weight, PREDICT_ROWS, lambda: islice(orders(), 1))
    n_batches = math.ceil(len(x) / PREDICT_ROWS)
    return dataset.apply(tf.data.experimental.assert_cardinality(n_batches))


def _batches(x: Rows, y, sample_weight: np.ndarray | None, batch_size: int, orders: Callable):
    """Return a dataset of batches of the rows in the given orders.

    One iterator serves the whole training, because starting one takes longer than an epoch over
    a few hundred rows. No batch reaches across two epochs. The arrays are copied into TensorFlow
    once; what is sparse or mapped from a file is read batch by batch.
    """
    import keras
    import tensorflow as tf

    rest = (y,) if sample_weight is None else (y, sample_weight)

    def row_numbers() -> Iterator[np.ndarray]:
        for order in orders():
            for start in range(0, len(order), batch_size):
                yield order[start : start + batch_size]

    def gathered() -> Iterator[tuple]:
        for rows in row_numbers():
            yield (x[rows], *keras.tree.map_structure(itemgetter(rows), rest))

    def split(order: Any):
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    if x.is_lazy:
        like = (x[slice(0, 1)], *keras.tree.map_structure(lambda array: array[:1], rest))
        spec = keras.tree.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), like
        )
        dataset = tf.data.Dataset.from_generator(gathered, output_signature=spec)
    else:
        tensors = keras.tree.map_structure(tf.convert_to_tensor, (x[slice(None)], *rest))
        spec = tf.TensorSpec((len(x),), tf.int64)
        dataset = (
            tf.data.Dataset.from_generator(orders, output_signature=spec)
            .flat_map(split)
            .map(lambda rows: keras.tree.map_structure(lambda t: tf.gather(t, rows), tensors))
        )
    options = tf.data.Options()
    # Rewriting so short a pipeline would cost more than it saves.
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.prefetch(4).with_options(options)
