"""The compiled graph that trains replicas of one network in step, and the state it works on.

The variables of the replicas lie end to end in stacks, and one optimizer acts on the stacks. A step
takes from each replica's rows the next batch, and the gradient of its loss with respect to its own
parts. An optimizer that works element by element then does to each replica, in one go, what it
would do to it alone.

The gradient of an embedding is sparse: a list of rows, in which a word that occurs twice has two
entries. Keras' optimizers square such entries before they add them up. Laid end to end, the tables
of all replicas are one table, with a sparse gradient whose entries are those of each replica.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from stackfuse._core import errors
from stackfuse._training.side_by_side.forward import (
    Forward,
    feed_spec,
    refuse_side_effects,
)
from stackfuse._training.side_by_side.variables import Stacks


class ReplicaState:
    """The variables of a number of replicas, and those of their optimizer.

    Parameters
    ----------
    forwards : sequence of Forward
        One per replica; may be the same for all.
    kinds : sequence of type
        Of the gradients of the weights.
    optimizer : keras.optimizers.Optimizer
        Of each replica, built. What acts here is made from its configuration.
    optimizer_state : sequence of ndarray
        The values of its variables before the first step. Not read from it, whose learning rate a
        callback may have lowered since.
    """

    def __init__(
        self,
        forwards: Sequence[Forward],
        kinds: Sequence[type],
        optimizer,
        optimizer_state: Sequence[np.ndarray],
    ):
        self.forwards = list(forwards)
        weights, states, metrics = forwards[0].parts
        n_replicas = len(forwards)
        self.weights = Stacks(weights, n_replicas, kinds)
        self.states, self.metrics = Stacks(states, n_replicas), Stacks(metrics, n_replicas)
        self.optimizer = type(optimizer).from_config(optimizer.get_config())
        self.optimizer.build(self.weights.variables)
        own = {id(variable): n for n, variable in enumerate(optimizer.variables)}
        slots = [[own.pop(id(v)) for v in slot] for slot in _slots(optimizer, len(weights))]
        wholes = _slots(self.optimizer, len(self.weights.each))
        of_all = {id(variable) for slot in wholes for variable in slot}
        numbers = [v for v in self.optimizer.variables if id(v) not in of_all]
        #: What the optimizer keeps for each weight, and what besides, as the steps done: the places
        #: among the variables of a replica's optimizer, and the variables of this one.
        self._slots = list(zip(slots, wholes, strict=True))
        self._numbers = list(zip(own.values(), numbers, strict=True))
        self._first_state = list(optimizer_state)

    @property
    def variables(self) -> list:
        """All of them, in the same order for all states of one graph."""
        parts = (self.weights, self.states, self.metrics)
        return [v for part in parts for v in part.variables] + self.optimizer.variables

    def load(self, models: Sequence) -> None:
        """Begin with the weights and random states of models, and a fresh optimizer."""
        weights, states = zip(*[self._variables(k, model) for k, model in enumerate(models)])
        for stacks, variables in ((self.weights, weights), (self.states, states)):
            stacks.assign([[variable.numpy() for variable in own] for own in variables])
        for place, variable in self._numbers:
            variable.assign(self._first_state[place])
        for places, wholes in self._slots:
            first = [self._first_state[place] for place in places]
            self.weights.assign([first] * len(models), wholes)
        self.metrics.assign([self.forwards[0].fresh_metrics] * len(models))

    def _variables(self, k: int, model) -> list[list]:
        """Return the weights and the other variables of a model in the order of the stacks."""
        forward = self.forwards[k]
        number = {id(variable): n for n, variable in enumerate(forward.model.variables)}
        return [[model.variables[number[id(v)]] for v in part] for part in forward.parts[:2]]

    def copy_to(self, model, k: int) -> None:
        """Copy the weights and random states of one replica into its model."""
        for variables, stacks in zip(self._variables(k, model), (self.weights, self.states)):
            for variable, value in zip(variables, stacks.values(k)):
                variable.assign(value)

    def optimizer_state(self, k: int) -> list[np.ndarray]:
        """Return what the optimizer of one replica alone would hold."""
        state = {place: variable.numpy() for place, variable in self._numbers}
        for places, wholes in self._slots:
            state |= zip(places, self.weights.values(k, wholes))
        return [state[place] for place in range(len(state))]

    def take_logs(self, k: int) -> dict[str, float]:
        """Return the metrics of one replica since it was asked last."""
        values = self.metrics.values(k)
        self.metrics.assign_values(k, self.forwards[k].fresh_metrics)
        return self.forwards[k].logs(values)


def _slots(optimizer, n_weights: int) -> list[list]:
    """Return what an optimizer keeps for every weight: lists of its variables, as long as these."""
    known = {id(variable) for variable in optimizer.variables} - {id(optimizer.iterations)}
    lists = [value for value in vars(optimizer).values() if isinstance(value, list)]
    return [own for own in lists if len(own) == n_weights and {id(v) for v in own} <= known]


class ReplicaGraph:
    """The compiled graph of a number of replicas.

    Parameters
    ----------
    forwards, optimizer, optimizer_state
        As for :class:`ReplicaState`.
    like : tuple (x, y, sample_weight or None)
        One row of what they are fed with.

    Attributes
    ----------
    states : list of ReplicaState
        What it can be run on, the first being the one it was traced with.

    Raises
    ------
    CannotTrainSideBySide
        If the replicas have different graphs, or an optimizer of the whole would not act on each.
    """

    def __init__(
        self, forwards: Sequence[Forward], like: tuple, optimizer, optimizer_state: Sequence
    ):
        self.forwards = list(forwards)
        kinds, *others = {forward.gradient_kinds(like) for forward in set(forwards)}
        if others:
            raise errors.CannotTrainSideBySide("the builder makes other graphs for other replicas")
        config = optimizer.get_config()
        risky = config.get("centered") or config.get("epsilon") == 0
        if risky and tf.IndexedSlices in kinds:
            raise errors.CannotTrainSideBySide(
                "a sparse gradient is divided by what may be zero, where Keras mixes up its rows: "
                "let the optimizer have an epsilon, and not be centered"
            )
        self._settings = (forwards, kinds, optimizer, optimizer_state)
        self.states = [ReplicaState(*self._settings)]
        self._data = feed_spec(like)
        number, order = tf.TensorSpec((), tf.int32), tf.TensorSpec((None,), tf.int32)
        feed = self._data | {"order": order, "start": number, "size": number}
        traced = tf.function(self._steps, autograph=False)
        self._function = traced.get_concrete_function([feed] * len(forwards), number)

    def one_more_state(self) -> None:
        """Add a state, for which nothing has to be traced."""
        self.states.append(ReplicaState(*self._settings))

    def steps(self, state: ReplicaState, feeds: Sequence[dict[str, Any]], n_steps) -> None:
        """Take steps with the replicas of a state.

        Parameters
        ----------
        state : ReplicaState
        feeds : sequence of dict
            What each replica is fed with, see :func:`feed_of`; and the `order` of its rows, the
            place in it from which to `start`, and the `size` of batches.
        n_steps : int32 tensor of shape ()

        Raises
        ------
        ValueError
            If they are fed with rows of a shape that the graph is not for.
        """
        fed = tf.nest.flatten((feeds, n_steps))
        for tensor, wanted in zip(fed, self._function.inputs):  # the operation does not look
            if not wanted.shape.is_compatible_with(tensor.shape):
                raise ValueError(f"the graph takes {wanted.shape}, but is fed with {tensor.shape}")
        handles = [[v.value.handle for v in s.variables] for s in (self.states[0], state)]
        place = {id(handle): n for n, handle in enumerate(handles[0])}
        captured = [
            handles[1][place[id(tensor)]] if id(tensor) in place else tensor
            for tensor in self._function.captured_inputs
        ]
        tf.raw_ops.StatefulPartitionedCall(args=[*fed, *captured], Tout=[], f=self._function)

    def check_own_code(self, evaluated: Sequence[Forward]) -> None:
        """Raise if code that is not of Keras depends on something outside its model.

        Parameters
        ----------
        evaluated : sequence of Forward
            Those that have rows held out.

        Raises
        ------
        CannotTrainSideBySide
            With the reason.
        """
        own = [variable.value for variable in self.states[0].variables]
        refuse_side_effects(self._function.graph, self.forwards, own)
        for forward in evaluated:
            refuse_side_effects(forward.evaluate.get_concrete_function().graph, [forward], [])

    def _steps(self, feeds, n_steps):
        # Not tf.while_loop: TensorFlow would spread that over the graph around it, which takes a
        # tenth longer to optimise and to run.
        first = [tf.constant(0), n_steps, feeds]
        step = tf.function(self._step, autograph=False).get_concrete_function(*first)
        flat = [*tf.nest.flatten(first), *step.captured_inputs]

        def body(*values):
            (now,) = tf.raw_ops.StatefulPartitionedCall(args=values, Tout=[tf.int32], f=step)
            return [now, *values[1:]]

        specs = [tf.TensorSpec(value.shape, value.dtype) for value in flat]
        is_left = tf.function(lambda now, last, *rest: now < last, autograph=False)
        tf.raw_ops.While(
            input=flat,
            cond=is_left.get_concrete_function(*specs),
            body=tf.function(body, autograph=False).get_concrete_function(*specs),
        )

    def _step(self, step, n_steps, feeds):
        whole = self.states[0]
        values = zip(whole.weights.split(), whole.states.split(), whole.metrics.split())
        gradients, states, metrics = [], [], []
        for forward, own, feed in zip(self.forwards, values, feeds):
            start = feed["start"] + step * feed["size"]
            rows = feed["order"][start : start + feed["size"]]
            data = {name: feed[name] for name in self._data}
            slope, (state, metric) = forward.slope(list(own), data, rows)
            gradients.append(slope)
            states.append(state)
            metrics.append(metric)
        slope_of_all = whole.weights.joined_tensors(gradients)
        whole.optimizer.apply(slope_of_all, whole.weights.variables)
        whole.states.assign_tensors(states)
        whole.metrics.assign_tensors(metrics)
        return step + 1


def feed_of(x, y, weight, chosen: np.ndarray) -> dict[str, Any]:
    """Return as tensors what a replica is fed with.

    Parameters
    ----------
    x : structure of tensors
    y : ndarray of shape (n_samples, ...), or tuple or dict of these
    weight : ndarray of shape (n_samples,) or None
    chosen : ndarray of int of shape (n_samples,)
        The numbers of the samples' rows in x.
    """
    feed = {"x": x, "chosen": tf.constant(chosen, tf.int32)}
    feed["y"] = keras.tree.map_structure(tf.convert_to_tensor, y)
    return feed if weight is None else feed | {"weight": tf.convert_to_tensor(weight)}
