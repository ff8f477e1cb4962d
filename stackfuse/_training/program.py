"""Compiled training and prediction, shared by all models of one architecture.

Compiling and tracing a small network costs more than training it, and TensorFlow never gives the
memory back. So one compiled model is kept for each architecture: to train a model, its state (the
weights, the counters of its random layers, the optimizer's values) is copied in, and copied out
again when it is trained. The arithmetic is that of a fresh fit, bit for bit. A model whose
configuration does not say all about it (a subclass, a custom object, a layer that keeps state
outside its variables) is compiled and trained by itself.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from stackfuse._keras import architecture, input_structure
from stackfuse._training.process import _lock, seeded

#: Programs kept at a time; the one used longest ago goes first.
MAX_PROGRAMS = 16


_programs: "OrderedDict[str, Program | None]" = OrderedDict()


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
        key = architecture.architecture(model)
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
    structure = input_structure(model)
    if structure is None:
        return None
    if isinstance(structure, list):
        structure = tuple(structure)
    return keras.tree.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), structure)


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
