"""Compiled training and prediction, shared by all models of one architecture.

Compiling and tracing a small network costs more than training it, and TensorFlow never gives the
memory back. So one compiled model is kept for each architecture: to train a model, its state (the
weights, the counters of its random layers, the optimizer's values) is copied in, and copied out
again when it is trained. The arithmetic is that of a fresh fit, bit for bit. A model whose
configuration does not say all about it (a subclass, a custom object, a layer that keeps state
outside its variables) is compiled and trained by itself.
"""

import os
import random
import threading
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stackfuse._core.multi_input import (
    Rows,
    input_structure,
)
from stackfuse._keras.architecture import architecture
from stackfuse._training.batches import (
    EpochOrders,
    batches,
    n_batches,
)

#: Programs kept at a time; the one used longest ago goes first.
MAX_PROGRAMS = 16

#: Rows and bytes that one call of a compiled prediction takes at most; rows at least.
PREDICT_ROWS = 8192
_PREDICT_BYTES = 2**23
_LEAST_ROWS = 32

_programs: "OrderedDict[str, Program | None]" = OrderedDict()
_lock = threading.RLock()
_process: int | None = None
_functions: "weakref.WeakKeyDictionary[Any, dict[str, Callable]]" = weakref.WeakKeyDictionary()


def refuse_fork() -> None:
    """Raise in a fork of a process that has trained: TensorFlow would hang here."""
    global _process
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise RuntimeError(
            "This process is a fork of one in which TensorFlow has run, and would hang. Use "
            "joblib's backend 'loky', the default, or 'threading', instead of 'multiprocessing'."
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed what builders, initializers and random layers draw from, then put it back as it was.

    Keras takes the seed of every initializer and random layer that has none from Python's
    ``random``. Models built here equal those built after ``keras.utils.set_random_seed(seed)``, the
    names that Keras counts up included: TensorFlow keeps something for every name it has seen.
    """
    refuse_fork()
    from keras.src.backend.common import global_state

    with _lock:
        python_state, numpy_state = random.getstate(), np.random.get_state()
        counters = global_state.get_global_attribute("object_name_uids")
        random.seed(seed)
        np.random.seed(seed)
        global_state.set_global_attribute("object_name_uids", defaultdict(int))
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            global_state.set_global_attribute("object_name_uids", counters)


class Program:
    """One compiled model, which trains and predicts for every model of its architecture."""

    def __init__(self, twin):
        twin.optimizer.build(twin.trainable_variables)
        self.model = twin
        self.first_optimizer_state = _values(twin.optimizer.variables)
        self._functions: dict[str, Callable] = {}
        #: Graphs that train several replicas at once, by their number and what they are fed with.
        self.replica_graphs: dict[tuple[int, str], Any] = {}
        #: The model as a function of its values, by what it is fed with.
        self.forwards: dict[str, Any] = {}
        #: Steps that could have been done in such a graph, but were not.
        self.steps_apart = 0

    @classmethod
    def of(cls, model) -> "Program | None":
        """Return the program of a compiled model, or None if it has to train by itself."""
        key = architecture(model)
        if key is None:
            return None
        with _lock:
            if key not in _programs:
                _programs[key] = cls._for(model)
                if len(_programs) > MAX_PROGRAMS:
                    _programs.popitem(last=False)
            _programs.move_to_end(key)
            return _programs[key]

    @classmethod
    def _for(cls, model) -> "Program | None":
        import keras

        with seeded(0):  # its own weights are never used
            twin = keras.models.clone_model(model)
            twin.compile_from_config(model.get_compile_config())
        mine, theirs = ([(v.shape, v.dtype) for v in m.variables] for m in (model, twin))
        # A layer that several nested models share is cloned into several.
        return cls(twin) if mine == theirs else None

    @contextmanager
    def training(self, model, optimizer_state: "OptimizerState") -> Iterator[Any]:
        """Lend the compiled model with the given state, and hand the state back."""
        with _lock:
            copy_state(model, self.model)
            _assign(
                self.model.optimizer.variables,
                optimizer_state or _built_state(model.optimizer) or self.first_optimizer_state,
            )
            try:
                yield self.model
            finally:
                copy_state(self.model, model)
                optimizer_state[:] = _values(self.model.optimizer.variables)

    def predictor(self, finish: Callable, name: str, of: Callable) -> Callable:
        """Return the compiled function of (variables, x) to the finished outputs."""
        if name not in self._functions:
            place = {id(variable): k for k, variable in enumerate(self.model.variables)}
            twin = of(self.model)
            trainable = [place[id(variable)] for variable in twin.trainable_variables]
            fixed = [place[id(variable)] for variable in twin.non_trainable_variables]

            def compute(values, x):
                mine, rest = ([values[k] for k in places] for places in (trainable, fixed))
                return finish(twin.stateless_call(mine, rest, x, training=False)[0])

            like = [variable.value for variable in self.model.variables]
            self._functions[name] = compiled(compute, like, _input_specs(self.model))
        return self._functions[name]


#: The values of an optimizer's variables; empty before the first training. Changed in place.
OptimizerState = list


@dataclass
class Training:
    """All that the training of a compiled model depends on, and its history.

    In epoch e the rows come in the order
    ``numpy.random.default_rng([seed, e]).permutation(len(x))``, or as they are if not `shuffle`;
    all else is ``model.fit``.

    Attributes
    ----------
    model : keras.Model
        Compiled.
    x : Rows
    y : ndarray of shape (n_samples, ...), or tuple or dict of these
        In the structure of the model's outputs.
    sample_weight : ndarray of shape (n_samples,) or None
    optimizer_state : list
        From where the optimizer goes on; holds afterwards where it got to. If it is empty, the
        model's own optimizer tells, when it has been trained before.
    seed : int
    validation : tuple (Rows, y, sample_weight) or None
    callbacks : list of keras.callbacks.Callback
    first_epoch, epochs : int
        The number of the first epoch, and how many to train.
    fit_params : dict
        What else ``model.fit`` takes.
    history : dict of str to list of float
        Filled by the training.
    """

    model: Any
    x: Rows
    y: Any
    sample_weight: np.ndarray | None
    optimizer_state: OptimizerState
    seed: int
    validation: tuple | None
    callbacks: list
    first_epoch: int
    epochs: int
    batch_size: int
    shuffle: bool
    verbose: int | str
    validation_batch_size: int | None = None
    fit_params: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list] = field(default_factory=dict)

    def share_x(self, other: "Training") -> None:
        """Read the rows of another training's X, which is equal: one copy of it is enough."""
        self.x.X = other.x.X
        if self.validation is not None:
            self.validation[0].X = other.x.X


def train(training: Training) -> None:
    """Train a compiled model by ``model.fit``."""
    model, x, first_epoch = training.model, training.x, training.first_epoch
    optimizer_state, callbacks = training.optimizer_state, training.callbacks
    fit_params = dict(training.fit_params)
    program = None if any(map(_touches_model, callbacks)) else Program.of(model)
    orders = EpochOrders(len(x), training.seed if training.shuffle else None, first_epoch)
    # One iterator serves all epochs, for to start one takes longer than to train on some hundred
    # rows; but where Keras takes several steps at a time, it would step across an epoch's end.
    endless = model.steps_per_execution == 1
    size = training.batch_size
    data = batches(x, training.y, training.sample_weight, size, orders, endless=endless)
    if endless:
        fit_params["steps_per_epoch"] = n_batches(len(x), size)
    if training.validation is not None:
        held_out, target, weight = training.validation
        as_they_are = EpochOrders(len(held_out), None, 0)
        fit_params["validation_data"] = batches(
            held_out,
            target,
            weight,
            training.validation_batch_size or rows_per_call(held_out),
            as_they_are,
            endless=False,
        )

    def fit(trained) -> dict[str, list]:
        trained.fit(
            data,
            initial_epoch=first_epoch,
            epochs=first_epoch + training.epochs,
            shuffle=False,
            callbacks=list(callbacks),
            verbose=training.verbose,
            **fit_params,
        )
        history = trained.history.history
        trained.history = None  # it would keep every callback alive
        return {name: [float(value) for value in values] for name, values in history.items()}

    if program is None:
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        if optimizer_state:
            _assign(model.optimizer.variables, optimizer_state)
        history = fit(model)
        optimizer_state[:] = _values(model.optimizer.variables)
    else:
        with program.training(model, optimizer_state) as trained:
            history = fit(trained)
    training.history = history
    check_finite(model, history)


def locked() -> threading.RLock:
    """Return the lock of all that trains: threads that train at once are not reproducible."""
    return _lock


def _all_of(model):
    return model


def predict(
    model,
    x: Rows,
    finish: Callable,
    name: str,
    batch_size: int | None = None,
    *,
    of: Callable = _all_of,
) -> np.ndarray | list[np.ndarray]:
    """Return ``finish(of(model)(x))``, compiled, in batches.

    Parameters
    ----------
    model : keras.Model
        Any built model.
    x : Rows
    finish : callable
        From the model's outputs to the tensor of predictions.
    name : str
        What tells this `finish` from others on the same model.
    batch_size : int, default=None
        Rows per call; by default `PREDICT_ROWS`, of long rows fewer.
    of : callable
        From a model to the part of it that is computed, by default all.

    Returns
    -------
    predictions : ndarray, or list of ndarray where `finish` returns a list
    """
    refuse_fork()
    function, n_rows = finished_model(model, finish, name, of), batch_size or rows_per_call(x)
    parts = [function(x[slice(start, start + n_rows)]) for start in range(0, len(x), n_rows)]
    if isinstance(parts[0], list):  # several outputs
        return [np.concatenate([tensor.numpy() for tensor in tensors]) for tensors in zip(*parts)]
    return np.concatenate([part.numpy() for part in parts])


def rows_per_call(x: Rows) -> int:
    if len(x) <= _LEAST_ROWS:
        return PREDICT_ROWS
    return rows_at_once(x.bytes_per_row)


def rows_at_once(bytes_per_row: int) -> int:
    """Return the number of rows that one call of a compiled prediction takes."""
    fitting = _PREDICT_BYTES // max(1, bytes_per_row)
    return min(PREDICT_ROWS, max(_LEAST_ROWS, fitting))


def finished_model(model, finish: Callable, name: str, of: Callable = _all_of) -> Callable:
    """Return ``finish(of(model)(x))`` as a compiled function of x, made at the first call."""
    if model.run_eagerly:
        return lambda x: finish(of(model)(x, training=False))
    functions = _functions.setdefault(model, {})
    if name not in functions:
        program = Program.of(model)
        # The cache's values must not keep its keys alive; a part shares the layers only.
        own: Any = weakref.proxy(model)
        part = own if of is _all_of else of(model)
        if program:
            function = program.predictor(finish, name, of)
            functions[name] = lambda x: function([v.value for v in own.variables], x)
        else:
            functions[name] = compiled(
                lambda x: finish(part(x, training=False)), _input_specs(model)
            )
    return functions[name]


def compiled(function: Callable, *like) -> Callable:
    """Return a function as one graph for any number of rows.

    Called through the operation itself, because what ``tf.function`` does to its arguments takes
    twenty times as long as a small network.

    Parameters
    ----------
    function : callable
    *like : structures of tf.TensorSpec or tf.Variable
        One per argument: what it will be called with.
    """
    import tensorflow as tf

    # As in Keras' own steps, the code of the user's own layers is not rewritten.
    if like[-1] is None:  # a subclassed model does not say what it takes
        return tf.function(function, reduce_retracing=True, autograph=False)
    graph = tf.function(function, autograph=False).get_concrete_function(*like)
    dtypes = [tensor.dtype for tensor in graph.outputs]

    def call(*args):
        flat = [a.handle if isinstance(a, tf.Variable) else a for a in tf.nest.flatten(args)]
        results = tf.raw_ops.StatefulPartitionedCall(
            args=[*flat, *graph.captured_inputs], Tout=dtypes, f=graph
        )
        return tf.nest.pack_sequence_as(graph.structured_outputs, results)

    return call


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


def _touches_model(callback) -> bool:
    """Whether a callback may change the model in ways that its variables do not show."""
    import keras

    stock = type(callback).__module__.startswith(("keras.", "stackfuse."))
    return not stock or isinstance(callback, keras.callbacks.LambdaCallback)


def copy_state(source, target) -> None:
    """Copy weights and the counters of random layers from model to model."""
    _assign(target.variables, [variable.value for variable in source.variables])


def _built_state(optimizer) -> list[np.ndarray]:
    return _values(optimizer.variables) if optimizer.built else []


def _values(variables) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def _assign(variables, values) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def check_finite(model, history: dict[str, list]) -> None:
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
