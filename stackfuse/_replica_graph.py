"""The compiled graph that trains replicas of one network in step.

The variables of all replicas lie end to end in stacks, and one optimizer acts on the stacks. A step
takes from each replica's rows the next batch, runs its model forward on its parts, and adds up the
losses. With respect to one replica's part the gradient of the sum is that of its own loss, so an
optimizer that works element by element does to each replica what it would do to it alone.

The gradient of an embedding is sparse: a list of rows, in which a word that occurs twice has two
entries. Keras' optimizers square such entries before they add them up. Laid end to end, the tables
of all replicas are one table, with a sparse gradient whose entries are those of each replica.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stackfuse._checks import CannotFuse
from stackfuse._forward import Forward, feed_spec, refuse_side_effects


class Stack:
    """One variable of all replicas: their values end to end, along the first axis.

    Attributes
    ----------
    is_mixed, is_sparse : bool
        Whether the gradients of the replicas are of different kinds, which nothing can act on;
        whether they are those of an embedding.
    """

    def __init__(self, variable, n_replicas: int):
        import keras

        self.shape, self.n_replicas = tuple(variable.shape), n_replicas
        self.is_mixed = self.is_sparse = False
        rest = self.shape[1:]
        shape = (n_replicas * self.shape[0], *rest) if self.shape else (n_replicas,)
        self.variable = keras.Variable(
            "zeros", shape=shape, dtype=variable.dtype, name=f"replicas_{variable.name}"
        )

    def joined(self, values: Sequence) -> np.ndarray:
        """Return the value of the whole from those of the replicas."""
        return np.concatenate(values) if self.shape else np.stack(values)

    def assign(self, values: Sequence[np.ndarray]) -> None:
        """Give each replica its value."""
        self.variable.assign(self.joined(values))

    def assign_tensors(self, values: Sequence) -> None:
        """Give each replica its value, in a graph."""
        import tensorflow as tf

        self.variable.assign(tf.concat(values, 0) if self.shape else tf.stack(values))

    def split(self) -> list:
        """Return the part of each replica."""
        import tensorflow as tf

        tensor = tf.convert_to_tensor(self.variable.value)
        return tf.split(tensor, self.n_replicas) if self.shape else tf.unstack(tensor)

    def _place(self, k: int):
        return slice(k * self.shape[0], (k + 1) * self.shape[0]) if self.shape else k

    def part(self, k: int, variable=None) -> np.ndarray:
        """Return the part of one replica, of the values or of a variable that is laid out alike."""
        whole = (self.variable if variable is None else variable).numpy()
        return whole[self._place(k)].copy()  # a view would keep the values of all replicas

    def assign_part(self, k: int, value) -> None:
        """Give one replica its value."""
        whole = self.variable.numpy()
        whole[self._place(k)] = value
        self.variable.value.assign(whole, read_value=False)

    def gradient(self, gradients: Sequence):
        """Return the gradient of the whole from those of the parts; None where there is none."""
        import tensorflow as tf

        kinds = {type(gradient) for gradient in gradients}
        if kinds == {type(None)}:
            return None
        if kinds == {tf.IndexedSlices}:
            self.is_sparse = True
            rows = [g.indices + k * self.shape[0] for k, g in enumerate(gradients)]
            shape = tf.constant(list(self.variable.shape), rows[0].dtype)
            values = tf.concat([gradient.values for gradient in gradients], 0)
            return tf.IndexedSlices(values, tf.concat(rows, 0), shape)
        if type(None) in kinds or tf.IndexedSlices in kinds:
            self.is_mixed = True  # an error raised in a graph would come out as another
            return tf.zeros_like(self.variable.value)
        return tf.concat(gradients, 0) if self.shape else tf.stack(gradients)


class ReplicaGraph:
    """The compiled graph of a number of replicas, and the stacks that it works on.

    Parameters
    ----------
    forwards : sequence of Forward
        One per replica; may be the same for all.
    like : tuple (x, y, sample_weight or None)
        One row of what they are fed with.
    optimizer : keras.optimizers.Optimizer
        Of each replica. What acts here is made from its configuration.
    optimizer_state : sequence of ndarray
        The values of its variables before the first step. Not read from it, whose learning rate a
        callback may have lowered since.
    """

    def __init__(
        self, forwards: Sequence[Forward], like: tuple, optimizer, optimizer_state: Sequence
    ):
        import tensorflow as tf

        self.forwards = list(forwards)
        self.stacks = tuple(
            [Stack(variable, len(forwards)) for variable in part] for part in forwards[0].parts
        )
        weights = [stack.variable for stack in self.stacks[0]]
        self.optimizer = type(optimizer).from_config(optimizer.get_config())
        self.optimizer.build(weights)
        of_shape = {stack.shape: stack for stack in self.stacks[0]}
        pairs = list(zip(optimizer_state, self.optimizer.variables, strict=True))
        #: The stack that each of the optimizer's variables is laid out like; None of a number.
        self._laid_out = [of_shape[v.shape] if len(own.shape) else None for v, own in pairs]
        self._first_state = list(optimizer_state)
        number = tf.TensorSpec((), tf.int32)
        order = tf.TensorSpec((None,), tf.int32)
        feed = feed_spec(like) | {"order": order, "start": number, "size": number}
        signature = [[feed] * len(forwards), number]
        self.steps = tf.function(self._steps, input_signature=signature, autograph=False)

    def check(self) -> None:
        """Trace the graph, and raise if an optimizer of the whole would not act on each replica.

        Raises
        ------
        CannotFuse
            With the reason.
        """
        self.steps.get_concrete_function()
        if any(stack.is_mixed for stack in self.stacks[0]):
            raise CannotFuse("the builder makes other graphs for other replicas")
        config = self.optimizer.get_config()
        risky = config.get("centered") or config.get("epsilon") == 0
        if risky and any(stack.is_sparse for stack in self.stacks[0]):
            raise CannotFuse(
                "a sparse gradient is divided by what may be zero, where Keras mixes up its rows: "
                "let the optimizer have an epsilon, and not be centered"
            )

    def check_own_code(self, evaluated: Sequence[Forward]) -> None:
        """Raise if code that is not of Keras depends on something outside its model.

        Parameters
        ----------
        evaluated : sequence of Forward
            Those that have rows held out.

        Raises
        ------
        CannotFuse
            With the reason.
        """
        stacks = [stack.variable for part in self.stacks for stack in part]
        own = [variable.value for variable in [*stacks, *self.optimizer.variables]]
        refuse_side_effects(self.steps.get_concrete_function().graph, self.forwards, own)
        for forward in evaluated:
            refuse_side_effects(forward.evaluate.get_concrete_function().graph, [forward], [])

    # ------------------------------------------------------------------ the graph

    def _steps(self, feeds, n_steps):
        import tensorflow as tf

        # Not tf.while_loop: TensorFlow would spread that over the graph around it, which takes a
        # tenth longer to optimise and to run.
        first = [tf.constant(0), n_steps, feeds]
        step = tf.function(self._step, autograph=False).get_concrete_function(*first)
        flat = [*tf.nest.flatten(first), *step.captured_inputs]

        def body(*values):
            (now,) = tf.raw_ops.StatefulPartitionedCall(args=values, Tout=[tf.int32], f=step)
            return [now, *values[1:]]

        specs = [tf.TensorSpec(value.shape, value.dtype) for value in flat]
        is_left = tf.function(lambda step, n_steps, *_: step < n_steps, autograph=False)
        tf.raw_ops.While(
            input=flat,
            cond=is_left.get_concrete_function(*specs),
            body=tf.function(body, autograph=False).get_concrete_function(*specs),
        )

    def _step(self, step, n_steps, feeds):
        parts = [[stack.split() for stack in part] for part in self.stacks]
        slopes, after = [], []
        for k, feed in enumerate(feeds):
            start = feed["start"] + step * feed["size"]
            rows = feed["order"][start : start + feed["size"]]
            values = [[replicas[k] for replicas in part] for part in parts]
            slope, changed = self.forwards[k].slope(values, feed, rows)
            slopes.append(slope)
            after.append(changed)
        gradients = [stack.gradient(each) for stack, each in zip(self.stacks[0], zip(*slopes))]
        self.optimizer.apply(gradients, [stack.variable for stack in self.stacks[0]])
        for stacks, changed in zip(self.stacks[1:], zip(*after)):
            for stack, values in zip(stacks, zip(*changed)):
                stack.assign_tensors(values)
        return step + 1

    # ------------------------------------------------------------------ its state

    def load(self, models: Sequence) -> None:
        """Begin with the weights and random states of models, and a fresh optimizer."""
        for place in (0, 1):
            columns = zip(*[self._variables(k, m)[place] for k, m in enumerate(models)])
            for stack, variables in zip(self.stacks[place], columns):
                stack.assign([variable.numpy() for variable in variables])
        for variable, stack, value in zip(
            self.optimizer.variables, self._laid_out, self._first_state
        ):
            variable.assign(value if stack is None else stack.joined([value] * len(models)))
        for stack, value in zip(self.stacks[2], self.forwards[0].fresh_metrics):
            stack.assign([value] * len(models))

    def _variables(self, k: int, model) -> list[list]:
        """Return the weights and the other variables of a model in the order of the stacks."""
        forward = self.forwards[k]
        number = {id(variable): n for n, variable in enumerate(forward.model.variables)}
        return [[model.variables[number[id(v)]] for v in part] for part in forward.parts[:2]]

    def values(self, k: int) -> list[list]:
        """Return the weights and the states of one replica."""
        return [[stack.part(k) for stack in part] for part in self.stacks[:2]]

    def assign_states(self, k: int, values: Sequence) -> None:
        """Give one replica the values of what is no weight."""
        for stack, value in zip(self.stacks[1], values):
            stack.assign_part(k, value)

    def copy_to(self, model, k: int) -> None:
        """Copy the weights and random states of one replica into its model."""
        for part, values in zip(self._variables(k, model), self.values(k)):
            for variable, value in zip(part, values):
                variable.assign(value)

    def optimizer_state(self, k: int) -> list[np.ndarray]:
        """Return what the optimizer of one replica alone would hold."""
        return [
            variable.numpy() if stack is None else stack.part(k, variable)
            for stack, variable in zip(self._laid_out, self.optimizer.variables)
        ]

    def take_logs(self, k: int) -> dict[str, float]:
        """Return the metrics of one replica since it was asked last."""
        values = [stack.part(k) for stack in self.stacks[2]]
        for stack, fresh in zip(self.stacks[2], self.forwards[k].fresh_metrics):
            stack.assign_part(k, fresh)
        return self.forwards[k].logs(values)


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
    import keras
    import tensorflow as tf

    feed = {"x": x, "chosen": tf.constant(chosen, tf.int32)}
    feed["y"] = keras.tree.map_structure(tf.convert_to_tensor, y)
    return feed if weight is None else feed | {"weight": tf.convert_to_tensor(weight)}
