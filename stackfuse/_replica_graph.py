"""The compiled graph that trains replicas of one network in step.

The weights of all replicas lie in stacks, variables with one more axis in front, and one optimizer
acts on the stacks. A step takes from each replica's rows the next batch, runs the model forward on
its slices, and adds up the losses. With respect to one replica's slice the gradient of the sum is
that of its own loss, so an optimizer that works element by element does to each replica what it
would do to it alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


class ReplicaGraph:
    """The compiled graph of a number of replicas, and the stacks that it works on."""

    def __init__(self, twin, n_replicas: int, like: tuple, optimizer_state: Sequence):
        import keras
        import tensorflow as tf

        self.twin = twin
        self.n_replicas = n_replicas
        twin._symbolic_build(data_batch=like)
        twin.reset_metrics()
        self.parts = (
            list(twin.trainable_variables),
            list(twin.non_trainable_variables),
            list(twin.metrics_variables),
        )
        self.fresh_metrics = [variable.numpy() for variable in self.parts[2]]

        def stack(variable):
            zeros = np.zeros((n_replicas, *variable.shape), variable.dtype)
            return keras.Variable(zeros, dtype=variable.dtype, name=f"replicas_{variable.name}")

        self.stacks = tuple([stack(variable) for variable in part] for part in self.parts)
        self.optimizer = type(twin.optimizer).from_config(twin.optimizer.get_config())
        self.optimizer.build(self.stacks[0])
        # Not from the twin's optimizer, whose learning rate a callback may have lowered since.
        self._first_state = [
            value if value.shape == variable.shape else np.stack([value] * n_replicas)
            for value, variable in zip(optimizer_state, self.optimizer.variables, strict=True)
        ]
        x, y = (keras.tree.map_structure(_spec, part) for part in like[:2])
        weight = None if like[2] is None else _spec(like[2])
        rows = tf.TensorSpec((None,), tf.int32)
        number = tf.TensorSpec((), tf.int32)
        held_out = {"chosen": rows, "y": y} | ({} if weight is None else {"weight": weight})
        feed = {**held_out, "order": rows, "start": number, "size": number}
        self.steps = tf.function(self._steps, input_signature=[x, [feed] * n_replicas, number])
        values = [[tf.TensorSpec(v.shape, v.dtype) for v in part] for part in self.parts[:2]]
        self.evaluate = tf.function(
            self._evaluate, input_signature=[values, x, held_out, tf.TensorSpec((), tf.int32)]
        )

    # ------------------------------------------------------------------ the graph

    def _steps(self, x, feeds, n_steps):
        import tensorflow as tf

        for step in tf.range(n_steps):
            self._step(x, feeds, step)

    def _step(self, x, feeds, step):
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for stack in self.stacks[0]:
                tape.watch(stack.value)
            slices = [
                [tf.unstack(tf.convert_to_tensor(stack.value)) for stack in part]
                for part in self.stacks
            ]
            losses, after = [], []
            for k, feed in enumerate(feeds):
                start = feed["start"] + step * feed["size"]
                rows = feed["order"][start : start + feed["size"]]
                values = [[replicas[k] for replicas in part] for part in slices]
                loss, changed = self._forward(values, *_batch(x, feed, rows), training=True)
                losses.append(loss)
                after.append(changed)
            total = tf.add_n(losses)
        gradients = tape.gradient(total, [stack.value for stack in self.stacks[0]])
        self.optimizer.apply(gradients, self.stacks[0])
        for place in (1, 2):
            columns = zip(*[changed[place] for changed in after])
            for stack, values in zip(self.stacks[place], columns):
                stack.assign(tf.stack(values))

    def _forward(self, values, x, y, weight, *, training: bool):
        """Return the loss of one batch, and what it leaves in the variables of one replica."""
        import keras
        import tensorflow as tf

        twin = self.twin
        pairs = [pair for part, now in zip(self.parts, values) for pair in zip(part, now)]
        with keras.StatelessScope(state_mapping=pairs, collect_losses=True) as scope:
            outputs = twin(x, training=training)
            loss = twin.compute_loss(x, y, outputs, weight, training=training)
            n_rows = tf.shape(keras.tree.flatten(x)[0])[0]
            twin._loss_tracker.update_state(loss, sample_weight=n_rows)
            twin.compute_metrics(x, y, outputs, weight)
        return loss, [[scope.get_current_value(v) for v in part] for part in self.parts]

    def _evaluate(self, values, x, held_out, n_rows):
        """Return the metrics of one replica on held-out rows, in parts of `n_rows`."""
        import tensorflow as tf

        metrics = [tf.constant(value) for value in self.fresh_metrics]
        total = tf.shape(held_out["chosen"])[0]
        for start in tf.range(0, total, n_rows):
            rows = tf.range(start, tf.minimum(start + n_rows, total))
            batch = _batch(x, held_out, rows)
            metrics = self._forward([*values, metrics], *batch, training=False)[1][2]
        return metrics

    # ------------------------------------------------------------------ its state

    def load(self, models: Sequence) -> None:
        """Begin with the weights and random states of models, and a fresh optimizer."""
        number = {id(v): k for k, v in enumerate(self.twin.variables)}
        for part, stacks in zip(self.parts[:2], self.stacks):
            for variable, stack in zip(part, stacks):
                place = number[id(variable)]
                stack.assign(np.stack([model.variables[place].numpy() for model in models]))
        for variable, value in zip(self.optimizer.variables, self._first_state):
            variable.assign(value)
        for stack, value in zip(self.stacks[2], self.fresh_metrics):
            stack.assign(np.stack([value] * self.n_replicas))

    def values(self, k: int) -> list[list]:
        """Return the weights and the states of one replica."""
        return [[stack.value[k] for stack in part] for part in self.stacks[:2]]

    def copy_to(self, model, k: int) -> None:
        """Copy the weights and random states of one replica into its model."""
        number = {id(v): place for place, v in enumerate(self.twin.variables)}
        for part, values in zip(self.parts, self.values(k)):
            for variable, value in zip(part, values):
                model.variables[number[id(variable)]].assign(value)

    def optimizer_state(self, k: int) -> list[np.ndarray]:
        """Return what the optimizer of one replica alone would hold."""
        values = [variable.numpy() for variable in self.optimizer.variables]
        return [value[k] if value.ndim else value for value in values]

    def take_logs(self, k: int) -> dict[str, float]:
        """Return the metrics of one replica since it was asked last."""
        values = [stack.value[k] for stack in self.stacks[2]]
        for stack, fresh in zip(self.stacks[2], self.fresh_metrics):
            stack.value[k].assign(fresh)
        return self.logs(values)

    def logs(self, metrics: Sequence) -> dict[str, float]:
        """Return the results of metrics from the values of their variables."""
        import keras

        with keras.StatelessScope(state_mapping=list(zip(self.parts[2], metrics))):
            results = self.twin.get_metrics_result()
        return {name: float(value) for name, value in results.items()}


def _batch(x, feed, rows):
    """Return x, y and weights of some rows of a replica."""
    import keras
    import tensorflow as tf

    def at(places):
        return lambda tensor: tf.gather(tensor, places)

    of_x = keras.tree.map_structure(at(tf.gather(feed["chosen"], rows)), x)
    y = keras.tree.map_structure(at(rows), feed["y"])
    return of_x, y, at(rows)(feed["weight"]) if "weight" in feed else None


def feed_of(x, y, weight) -> dict[str, Any]:
    """Return as tensors what a replica is fed with: the numbers of its rows, targets, weights."""
    import keras
    import tensorflow as tf

    chosen = np.arange(len(x)) if x.chosen is None else x.chosen
    feed = {"chosen": tf.constant(chosen, tf.int32)}
    feed["y"] = keras.tree.map_structure(tf.convert_to_tensor, y)
    return feed if weight is None else feed | {"weight": tf.convert_to_tensor(weight)}


def _spec(array):
    import tensorflow as tf

    return tf.TensorSpec((None, *array.shape[1:]), array.dtype)
