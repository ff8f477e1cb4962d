"""The compiled graph that trains replicas of one network in step, and the state it works on.

The variables of the replicas lie end to end in stacks, and one optimizer acts on the stacks; see
``optimizers``. A step takes from each replica's rows the next batch, and the gradient of its loss
with respect to its own parts.

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
from stackfuse._training.side_by_side.optimizers import OwnOptimizer, joint_optimizers
from stackfuse._training.side_by_side.variables import Stacks


class ReplicaState:
    """The variables of a number of replicas, and those of their optimizers.

    Parameters
    ----------
    forwards : sequence of Forward
        One per replica; may be the same for all.
    kinds : sequence of type
        The types of the gradients of the weights.
    optimizers : sequence of OwnOptimizer
        One per replica; may be the same for all.
    """

    def __init__(
        self,
        forwards: Sequence[Forward],
        kinds: Sequence[type],
        optimizers: Sequence[OwnOptimizer],
    ):
        self.forwards = list(forwards)
        weights, states, metrics = forwards[0].parts
        n_replicas = len(forwards)
        self.optimizers = joint_optimizers(weights, kinds, optimizers)
        self.states, self.metrics = Stacks(states, n_replicas), Stacks(metrics, n_replicas)
        #: By replica: its optimizer, and its number there.
        self._at = {
            k: (joint, j) for joint in self.optimizers for j, k in enumerate(joint.replicas)
        }

    @property
    def variables(self) -> list:
        """All of them, in the same order for all states of one graph."""
        parts = (self.states, self.metrics, *self.optimizers)
        return [variable for part in parts for variable in part.variables]

    def load(self, models: Sequence) -> None:
        """Begin with the weights, random states and learning rates of models, nothing learnt."""
        parts = [self._variables(k, model) for k, model in enumerate(models)]
        weights, states = ([_values(own[part]) for own in parts] for part in (0, 1))
        self.states.assign(states)
        self.metrics.assign([forward.fresh_metrics for forward in self.forwards])
        for joint in self.optimizers:
            joint.load(
                [weights[k] for k in joint.replicas], [models[k].optimizer for k in joint.replicas]
            )

    def _variables(self, k: int, model) -> list[list]:
        """Return the weights and the other variables of a model in the order of the stacks."""
        forward = self.forwards[k]
        number = {id(variable): n for n, variable in enumerate(forward.model.variables)}
        return [[model.variables[number[id(v)]] for v in part] for part in forward.parts[:2]]

    def copy_to(self, model, k: int) -> None:
        """Copy the weights and random states of one replica into its model."""
        weights, states = self._variables(k, model)
        for variable, value in zip([*weights, *states], [*self.weights(k), *self.states.values(k)]):
            variable.assign(value)

    def copy_from(self, model, k: int) -> None:
        """Take the weights and random states of one replica from its model, if they changed."""
        weights, states = map(_values, self._variables(k, model))
        if not _all_equal(weights, self.weights(k)):
            joint, j = self._at[k]
            joint.weights.assign_values(j, weights)
        if not _all_equal(states, self.states.values(k)):
            self.states.assign_values(k, states)

    def weights(self, k: int) -> list[np.ndarray]:
        """Return the weights of one replica."""
        joint, j = self._at[k]
        return joint.weights.values(j)

    def has_rate(self, k: int) -> bool:
        """Whether the learning rate of one replica is a number, and told by no schedule."""
        return self._at[k][0].rates is not None

    def set_rate(self, k: int, rate: float) -> None:
        """Set the learning rate of one replica."""
        joint, j = self._at[k]
        joint.set_rate(j, rate)

    def optimizer_state(self, k: int) -> list[np.ndarray]:
        """Return the state that the optimizer of one replica alone would have."""
        joint, j = self._at[k]
        return joint.state(j)

    def set_optimizer_state(self, k: int, values: Sequence[np.ndarray]) -> None:
        """Take what the optimizer of one replica keeps for each weight, if it changed."""
        joint, j = self._at[k]
        if not _all_equal(values, joint.state(j)):
            joint.set_state(j, values)

    def logs(self, k: int) -> dict[str, float]:
        """Return the metrics of one replica since they were begun anew."""
        return self.forwards[k].logs(self.metrics.values(k))

    def begin_metrics(self, k: int) -> None:
        """Begin the metrics of one replica anew."""
        self.metrics.assign_values(k, self.forwards[k].fresh_metrics)


def _values(variables: Sequence) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def _all_equal(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(one, other))


class ReplicaGraph:
    """The compiled graph of a number of replicas.

    Parameters
    ----------
    forwards, optimizers
        As for :class:`ReplicaState`.
    like : tuple (x, y, sample_weight or None)
        One row like those that they are fed with.

    Attributes
    ----------
    states : list of ReplicaState
        The devices it can run on, first the one it was traced with.

    Raises
    ------
    CannotTrainSideBySide
        If the replicas cannot be computed in one graph, or an optimizer would not act on each.
    """

    def __init__(
        self, forwards: Sequence[Forward], optimizers: Sequence[OwnOptimizer], like: tuple
    ):
        self.forwards = list(forwards)
        kinds = _common_kinds(forwards, like)
        if tf.IndexedSlices in kinds:
            for own in optimizers:
                _refuse_division_by_zero(own.optimizer)
        self._settings = (forwards, kinds, optimizers)
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
            The rows and settings of each replica, see :func:`feed_of`; the `order` of its rows, the
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
                raise ValueError(f"the graph takes shape {wanted.shape}, but got {tensor.shape}")
        handles = [[v.value.handle for v in s.variables] for s in (self.states[0], state)]
        place = {id(handle): n for n, handle in enumerate(handles[0])}
        captured = [
            handles[1][place[id(tensor)]] if id(tensor) in place else tensor
            for tensor in self._function.captured_inputs
        ]
        tf.raw_ops.StatefulPartitionedCall(args=[*fed, *captured], Tout=[], f=self._function)

    def check_own_code(self, evaluated: Sequence[tuple[Forward, bool]]) -> None:
        """Raise if code that is not of Keras depends on something outside its model.

        Parameters
        ----------
        evaluated : sequence of (Forward, bool)
            Those that have rows held out, and whether these have weights.

        Raises
        ------
        CannotTrainSideBySide
            With the reason.
        """
        own = [variable.value for variable in self.states[0].variables]
        refuse_side_effects(self._function.graph, self.forwards, own)
        for forward, weighted in evaluated:
            evaluation = forward.evaluation(weighted=weighted).get_concrete_function()
            refuse_side_effects(evaluation.graph, [forward], [])

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
        state = self.states[0]
        weights: list[Any] = [None] * len(self.forwards)
        for joint in state.optimizers:
            for k, own in zip(joint.replicas, joint.weights.split()):
                weights[k] = own
        values = zip(weights, state.states.split(), state.metrics.split())
        gradients, states, metrics = [], [], []
        for forward, own, feed in zip(self.forwards, values, feeds):
            start = feed["start"] + step * feed["size"]
            rows = feed["order"][start : start + feed["size"]]
            data = {name: feed[name] for name in self._data}
            slopes, (after, metric) = forward.gradients(list(own), data, rows)
            gradients.append(slopes)
            states.append(after)
            metrics.append(metric)
        for joint in state.optimizers:
            joint.apply([gradients[k] for k in joint.replicas])
        state.states.assign_tensors(states)
        state.metrics.assign_tensors(metrics)
        return step + 1


def _common_kinds(forwards: Sequence[Forward], like: tuple) -> tuple[type, ...]:
    """Return the types of the gradients of the weights, which are the same for all replicas."""
    kinds, *others = {(f.gradient_kinds(like), f.shapes) for f in set(forwards)}
    if others:
        raise errors.OtherArchitecture("the builder makes other graphs for other replicas")
    return kinds[0]


def _refuse_division_by_zero(optimizer) -> None:
    """Raise if an optimizer may divide by zero where the gradient of an embedding has no entry."""
    config = optimizer.get_config()
    if config.get("centered") or config.get("epsilon") == 0:
        raise errors.CannotTrainSideBySide(
            "the optimizer may divide a sparse gradient by zero, and then Keras mixes up its "
            "rows. Set epsilon above 0, and centered=False"
        )


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
