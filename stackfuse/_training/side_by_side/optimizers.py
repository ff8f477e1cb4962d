"""One optimizer that acts on the weights of several replicas as their own would on each.

An optimizer that works element by element does, in one go, to all replicas what it would do to
each. Steps that look at a whole variable or at all of them are done for each replica by itself:
gradients are clipped before, and weights constrained after the step. Each replica has its own
learning rate.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from stackfuse._keras import private
from stackfuse._training.program import has_rate
from stackfuse._training.side_by_side.variables import Stacks


class OwnOptimizer(NamedTuple):
    """The optimizer of one replica.

    Attributes
    ----------
    optimizer : keras.optimizers.Optimizer
        Built. Only its configuration is read.
    first_state : sequence of ndarray
        The values of its variables before the first step, the learning rate aside.
    """

    optimizer: Any
    first_state: Sequence[np.ndarray]


def without_rate(optimizer) -> str:
    """Return a text of all settings of an optimizer but a learning rate that is a number."""
    config = {**optimizer.get_config(), "name": None}
    if has_rate(optimizer):
        config["learning_rate"] = None
    return f"{type(optimizer).__name__} {json.dumps(config, sort_keys=True, default=str)}"


def joint_optimizers(
    weights: Sequence, kinds: Sequence[type], optimizers: Sequence[OwnOptimizer]
) -> list["JointOptimizer"]:
    """Return as few optimizers for all replicas as their settings allow.

    Parameters
    ----------
    weights : sequence of keras.Variable
        The weights of one replica.
    kinds : sequence of type
        The types of the gradients of the weights.
    optimizers : sequence of OwnOptimizer
        One per replica.
    """
    alike: dict[str, list[int]] = {}
    for k, own in enumerate(optimizers):
        alike.setdefault(without_rate(own.optimizer), []).append(k)
    return [JointOptimizer(ks, weights, kinds, optimizers[ks[0]]) for ks in alike.values()]


class JointOptimizer:
    """The weights of replicas whose optimizers differ in their rates alone, and one for them all.

    Parameters
    ----------
    replicas : list of int
        Their numbers in the graph.
    weights, kinds
        See :func:`joint_optimizers`.
    own : OwnOptimizer
        The optimizer of one of them.

    Attributes
    ----------
    weights : Stacks
    rates : keras.Variable of shape (n_replicas,), or None where a schedule tells the rate
    """

    def __init__(
        self, replicas: list[int], weights: Sequence, kinds: Sequence[type], own: OwnOptimizer
    ):
        self.replicas, self._own = replicas, own
        self.weights = Stacks(weights, len(replicas), kinds)
        #: By weight; Keras constrains none that has no gradient.
        self._constraints = [
            None if kind is type(None) else weight.constraint
            for weight, kind in zip(weights, kinds)
        ]
        self.rates: Any = None
        if has_rate(own.optimizer):
            self.rates = keras.Variable("zeros", shape=(len(replicas),), name="replicas_rates")
        self._joint = self._made()
        self._places(len(weights))

    def _made(self):
        """Return the optimizer of all, which neither clips by norms nor knows of one rate."""
        own = self._own.optimizer
        config = {**own.get_config(), "clipnorm": None, "global_clipnorm": None}
        stacks = {id(stack.variable.value): stack for stack in self.weights.each}

        def rate_of(variable, rate):
            return rate if self.rates is None else stacks[id(variable)].spread(self.rates.value)

        joint = _class_with_rates(type(own), rate_of, own.weight_decay).from_config(config)
        joint.weight_decay = None
        joint.build(self.weights.variables)
        return joint

    def _places(self, n_weights: int) -> None:
        """Note which variables of a replica's optimizer are which of this one's."""
        own, joint = self._own.optimizer, self._joint
        left = {id(variable): place for place, variable in enumerate(own.variables)}
        slots = [[left.pop(id(v)) for v in slot] for slot in _slots(own, n_weights)]
        wholes = _slots(joint, len(self.weights.each))
        of_weights = {id(variable) for slot in wholes for variable in slot}
        numbers = [v for v in joint.variables if id(v) not in of_weights]
        #: The numbers kept for each weight, and the others, such as the number of steps done.
        self._slots = list(zip(slots, wholes, strict=True))
        self._numbers = list(zip(left.values(), numbers, strict=True))
        self._rate_place: Any = None if self.rates is None else left[id(own.learning_rate)]

    @property
    def variables(self) -> list:
        """All variables, in the same order for all that are made of the same replicas."""
        rates = [] if self.rates is None else [self.rates]
        return [*self.weights.variables, *rates, *self._joint.variables]

    def load(self, weights: Sequence[Sequence[np.ndarray]], optimizers: Sequence) -> None:
        """Begin with the weights of each replica and the rate of its optimizer, nothing learnt."""
        self.weights.assign(weights)
        if self.rates is not None:
            self.rates.assign([float(optimizer.learning_rate) for optimizer in optimizers])
        first = self._own.first_state
        for place, variable in self._numbers:
            variable.assign(first[place])
        for places, wholes in self._slots:
            self.weights.assign([[first[place] for place in places]] * len(weights), wholes)

    def set_rate(self, j: int, rate: float) -> None:
        """Set the learning rate of the j-th of the replicas."""
        rates = self.rates.numpy()
        if rates[j] != np.asarray(rate, rates.dtype):
            rates[j] = rate
            self.rates.assign(rates)

    def state(self, j: int) -> list[np.ndarray]:
        """Return the state that the optimizer of the j-th replica alone would have."""
        state = {place: variable.numpy() for place, variable in self._numbers}
        if self.rates is not None:
            state[self._rate_place] = self.rates.numpy()[j]
        for places, wholes in self._slots:
            state |= zip(places, self.weights.values(j, wholes))
        return [state[place] for place in range(len(state))]

    def set_state(self, j: int, values: Sequence[np.ndarray]) -> None:
        """Set what is kept for each weight of the j-th replica."""
        for places, wholes in self._slots:
            self.weights.assign_values(j, [values[place] for place in places], wholes)

    def apply(self, gradients: Sequence[Sequence]) -> None:
        """Take a step, in a graph, with the gradients of each of the replicas."""
        clipped = [_clipped(self._own.optimizer, own) for own in gradients]
        self._joint.apply(self.weights.joined_tensors(clipped), self.weights.variables)
        if any(self._constraints):
            self.weights.assign_tensors([self._constrained(own) for own in self.weights.split()])

    def _constrained(self, weights: Sequence) -> list:
        pairs = zip(self._constraints, weights)
        return [
            weight if constraint is None else constraint(weight) for constraint, weight in pairs
        ]


def _class_with_rates(kind: type, rate_of: Callable, decay: float | None) -> type:
    """Return a kind of optimizer that asks for the rate by which it changes each variable."""

    class WithRates(kind):
        def update_step(self, gradient, variable, learning_rate):
            rate = rate_of(variable, learning_rate)
            if decay is not None:
                numbers = tf.cast(decay, variable.dtype), tf.cast(rate, variable.dtype)
                variable.assign_sub(variable * numbers[0] * numbers[1])
            super().update_step(gradient, variable, rate)

    return WithRates


def _clipped(optimizer, gradients: Sequence) -> list:
    """Return the gradients of one replica, clipped by their norms if its optimizer does so."""
    if not (optimizer.clipnorm or optimizer.global_clipnorm):
        return list(gradients)
    clipped: Iterator = iter(private.clip(optimizer, [g for g in gradients if g is not None]))
    return [None if gradient is None else next(clipped) for gradient in gradients]


def _slots(optimizer, n_weights: int) -> list[list]:
    """Return the state of an optimizer for every weight, in lists as long as the weights."""
    known = {id(variable) for variable in optimizer.variables} - {id(optimizer.variables[0])}
    lists = [value for value in vars(optimizer).values() if isinstance(value, list)]
    return [own for own in lists if len(own) == n_weights and {id(v) for v in own} <= known]
