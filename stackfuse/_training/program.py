"""Compiled training and prediction, shared by all models of one architecture.

Compiling and tracing a small network costs more than training it, and TensorFlow never gives the
memory back. So one compiled model is kept for each architecture: to train a model, its state (the
weights, the counters of its random layers, the optimizer's values) is copied in, and copied out
again when it is trained. The arithmetic is that of a fresh fit, bit for bit, whatever has been
trained before. A model whose configuration does not say all about it (a subclass, a custom object,
a layer that keeps state outside its variables) is compiled and trained by itself.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from stackfuse._keras import architecture, input_structure
from stackfuse._training.process import _lock, undisturbing

#: Programs kept at a time; the one used longest ago goes first.
MAX_PROGRAMS = 16


_programs: "OrderedDict[str, Program | None]" = OrderedDict()


class Program:
    """Compiled models, which train and predict for every model of their architecture.

    Attributes
    ----------
    model : keras.Model
        The first of them.
    first_optimizer_state : list of ndarray
        The values of its optimizer's variables before the first step.
    loss_and_metrics : str
        The loss, metrics and settings it is compiled with, without the optimizer.
    """

    def __init__(self, model, key: str):
        self.model = _with_built_optimizer(model)
        self.key = key
        self.first_optimizer_state = _values(model.optimizer.variables)
        self.loss_and_metrics = json.dumps(_loss_and_metrics(model), sort_keys=True)
        #: By the shapes of the rows that they are trained on: Keras would compile one model for
        #: rows of any shape as soon as it had seen two, and compute other last digits.
        self._models: dict[str, Any] = {}
        self._functions: dict[str, Callable] = {}
        #: Graphs that train several replicas at once, by their programs and what they are fed with.
        self.replica_graphs: dict[tuple, Any] = {}
        #: The model as a function of its values, by the kind of its rows.
        self.forwards: dict[str, Any] = {}

    @classmethod
    def of(cls, model) -> "Program | None":
        """Return the program of a compiled model, or None if it has to train by itself."""
        key = _key(model)
        if key is None:
            return None
        with _lock:
            if key not in _programs:
                _programs[key] = cls._for(model, key)
                if len(_programs) > MAX_PROGRAMS:
                    _programs.popitem(last=False)
            _programs.move_to_end(key)
            return _programs[key]

    @classmethod
    def _for(cls, model, key: str) -> "Program | None":
        twin = _twin_of(model)
        mine, theirs = ([(v.shape, v.dtype) for v in m.variables] for m in (model, twin))
        # A layer that several nested models share is cloned into several.
        return cls(twin, key) if mine == theirs else None

    @contextmanager
    def training(
        self, model, optimizer_state: "OptimizerState", fed_with: str = ""
    ) -> Iterator[Any]:
        """Lend a compiled model with the given state, and hand the state back.

        Parameters
        ----------
        model : keras.Model
        optimizer_state : list of ndarray
            Empty before the first training. Changed in place.
        fed_with : str
            The shapes and dtypes of the rows that it is going to be trained on.
        """
        with _lock:
            trained = self._model_for(fed_with)
            copy_state(model, trained)
            _assign(trained.optimizer.variables, optimizer_state or self._first_state(model))
            try:
                yield trained
            finally:
                copy_state(trained, model)
                optimizer_state[:] = _values(trained.optimizer.variables)

    def _model_for(self, fed_with: str):
        """Return the compiled model for rows of one kind."""
        if fed_with not in self._models:
            first = not self._models
            model = self.model if first else _with_built_optimizer(_twin_of(self.model))
            self._models[fed_with] = model
        return self._models[fed_with]

    def _first_state(self, model) -> list[np.ndarray]:
        """Return the values of a model's optimizer from which its training goes on."""
        if model.optimizer.built:
            return _values(model.optimizer.variables)
        state = list(self.first_optimizer_state)
        mine, theirs = self.model.optimizer, model.optimizer
        if has_rate(mine):
            places = [id(variable) for variable in mine.variables]
            state[places.index(id(mine.learning_rate))] = theirs.learning_rate.numpy()
        return state

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
OptimizerState = list[Any]


def compiled(function: Callable, *like) -> Callable:
    """Return a function as one graph for any number of rows.

    Parameters
    ----------
    function : callable
    *like : structures of tf.TensorSpec or tf.Variable
        One per argument: what it will be called with.
    """
    if like[-1] is None:  # a subclassed model does not say what it takes
        return _compiled_for_each_shape(function, *like[:-1])
    return CompiledFunction(function, like)


class CompiledFunction:
    """A function as one graph.

    Called through the operation itself, because what ``tf.function`` does to its arguments takes
    twenty times as long as a small network.

    Parameters
    ----------
    function : callable
    like : tuple of structures of tf.TensorSpec or tf.Variable
        One per argument: what it will be called with.
    """

    def __init__(self, function: Callable, like: tuple):
        self.like = like
        # As in Keras' own steps, the code of the user's own layers is not rewritten.
        self._graph = tf.function(function, autograph=False).get_concrete_function(*like)
        self._dtypes = [tensor.dtype for tensor in self._graph.outputs]
        self._structure: Any = self._graph.structured_outputs
        parts = self._structure if isinstance(self._structure, list) else [None]
        self._is_list = all(isinstance(part, tf.Tensor) for part in parts)

    def __call__(self, *args):
        flat = tf.nest.flatten(args)
        return self.of_flat([a.handle if isinstance(a, tf.Variable) else a for a in flat])

    def of_flat(self, flat: list):
        """Return the results for arguments in one list, without their structure.

        A variable is represented by its handle.
        """
        results = tf.raw_ops.StatefulPartitionedCall(
            args=[*flat, *self._graph.captured_inputs], Tout=self._dtypes, f=self._graph
        )
        # Packing takes nearly as long as a small network.
        if isinstance(self._structure, tf.Tensor):
            return results[0]
        if self._is_list:
            return results
        return tf.nest.pack_sequence_as(self._structure, results)


def _compiled_for_each_shape(function: Callable, *like) -> Callable:
    """Return a function as one graph for every shape that rows of its last argument have.

    TensorFlow would choose among graphs for numbers of rows, by those that it has seen before.
    """
    graphs: dict[str, Callable] = {}

    def call(*args):
        rows = keras.tree.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), args[-1]
        )
        if str(rows) not in graphs:
            graphs[str(rows)] = compiled(function, *like, rows)
        return graphs[str(rows)](*args)

    return call


def _input_specs(model):
    """Return the specs of a model's inputs in their structure, or None where they are unknown."""
    structure = input_structure(model)
    if structure is None:
        return None
    if isinstance(structure, list):
        structure = tuple(structure)
    return keras.tree.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), structure)


def copy_state(source, target) -> None:
    """Copy weights and the counters of random layers from model to model."""
    _assign(target.variables, [variable.value for variable in source.variables])


def has_rate(optimizer) -> bool:
    """Whether an optimizer's learning rate is a number, and neither a schedule nor a function."""
    return isinstance(optimizer.get_config().get("learning_rate"), float)


def _key(model) -> str | None:
    """Return a text of all that a model computes but its learning rate, or None if none can.

    The rate is one of the values that are copied in.
    """
    text = architecture.architecture(model)
    if text is None:
        return None
    parts = json.loads(text)
    if has_rate(model.optimizer):
        parts[2]["optimizer"]["config"]["learning_rate"] = None
    return json.dumps(parts)


def _loss_and_metrics(model) -> dict[str, Any]:
    config: Any = architecture.plain_names(model.get_compile_config())
    return {name: value for name, value in config.items() if name != "optimizer"}


def _twin_of(model):
    """Return a compiled model of the same architecture."""
    with undisturbing():  # its own weights are never used
        twin = keras.models.clone_model(model)
        twin.compile_from_config(model.get_compile_config())
    return twin


def _with_built_optimizer(model):
    model.optimizer.build(model.trainable_variables)
    return model


def _values(variables) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def _assign(variables, values) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
