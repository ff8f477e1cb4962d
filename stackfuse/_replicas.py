"""Networks of one architecture, trained side by side in one compiled graph.

The weights of all replicas lie in stacks, variables with one more axis in front, and one optimizer
acts on the stacks. A step takes from each replica's rows the next batch, runs the model forward on
its slices, and adds up the losses. With respect to one replica's slice the gradient of the sum is
that of its own loss, so an optimizer that works element by element does to each replica what it
would do to it alone. Replicas keep their own rows, orders, random states, batch statistics and
metrics; what they share is the number of steps done, and so the graph runs them in step until the
epoch of one of them ends.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stackfuse._batches import EpochOrders, n_batches
from stackfuse._checks import CannotFuse
from stackfuse._program import Program, Training, check_finite, locked, rows_per_call

#: Optimizers that treat every element of a variable by itself.
_ELEMENTWISE = {
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lion",
    "Nadam",
    "RMSprop",
    "SGD",
}

#: Settings of an optimizer that look at whole tensors, or keep more than the slots.
_WHOLE = (
    "clipnorm",
    "global_clipnorm",
    "use_ema",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)

#: Replicas that one graph holds; more are trained in groups.
GROUP = 8

#: Steps of one replica that take as long as to trace its part of the graph.
STEPS_OF_A_TRACE = 250

#: Weights of all replicas together; beyond, a step takes so long that its overhead is little.
MOST_WEIGHTS = 40_000_000


def train_together(trainings: Sequence[Training]) -> list[dict[str, list]]:
    """Train models of one architecture and return their histories.

    What each model, optimizer state and history holds afterwards is, up to rounding, what
    :func:`stackfuse._program.train` would have left.

    Parameters
    ----------
    trainings : sequence of Training

    Raises
    ------
    CannotFuse
        If they cannot be trained side by side; nothing has been trained then.
    """
    program = check_fusable(trainings)
    n_groups = -(-len(trainings) // GROUP)
    with locked():
        for group in np.array_split(np.arange(len(trainings)), n_groups):
            _Run(program, [trainings[k] for k in group]).train()
    for k, training in enumerate(trainings):
        try:
            check_finite(training.model, training.history)
        except FloatingPointError as error:
            vars(error)["replica"] = k
            raise
    return [training.history for training in trainings]


def worth_a_graph(training: Training, n_replicas: int) -> bool:
    """Whether it pays to train replicas like this one side by side.

    It does where the graph is there already, or the steps, with those that were done apart since,
    take longer apart than the graph takes to be traced.
    """
    program = Program.of(training.model)
    if program is None:
        return False
    sizes = {min(n_replicas, GROUP), n_replicas % GROUP or GROUP}
    if any(key[0] in sizes for key in program.replica_graphs):
        return True
    program.steps_apart += _n_steps(training) * training.epochs
    return n_replicas > 1 and program.steps_apart >= STEPS_OF_A_TRACE


def check_fusable(trainings: Sequence[Training]) -> Program:
    """Return the program of models that can be trained side by side.

    Raises
    ------
    CannotFuse
        With the reason.
    """
    import keras

    first = trainings[0]
    program = Program.of(first.model)
    if program is None:
        raise CannotFuse(
            f"the model {first.model.name!r} holds code that is not of Keras, of which cannot be "
            "told whether the replicas compute the same"
        )
    if any(Program.of(training.model) is not program for training in trainings):
        raise CannotFuse("the builder makes other graphs for other replicas")
    _check_optimizer(first.model.optimizer)
    _check_settings(trainings)
    if any(variable.constraint is not None for variable in first.model.trainable_variables):
        raise CannotFuse("a weight has a constraint, which looks at whole tensors")
    for layer in first.model._flatten_layers():
        if isinstance(layer, keras.layers.Embedding) and layer.trainable:
            # Entries of a sparse gradient for one word are squared before they are added up.
            raise CannotFuse(
                f"the model {first.model.name!r} holds an Embedding, whose gradients Keras sums "
                "in its own way"
            )
    n_weights = min(len(trainings), GROUP) * first.model.count_params()
    if n_weights > MOST_WEIGHTS:
        raise CannotFuse(f"{n_weights} weights in all replicas are too many to gain anything")
    return program


def _check_optimizer(optimizer) -> None:
    name = type(optimizer).__name__
    if name not in _ELEMENTWISE:
        raise CannotFuse(f"the optimizer {name} looks at whole tensors")
    for setting in _WHOLE:
        if getattr(optimizer, setting, None):
            raise CannotFuse(f"the optimizer's {setting} looks at whole tensors")


def _check_settings(trainings: Sequence[Training]) -> None:
    import keras

    for training in trainings:
        model = training.model
        if training.x.is_lazy or training.x.X is not trainings[0].x.X:
            raise CannotFuse("X is read batch by batch")
        for callback in training.callbacks:
            ours = type(callback).__module__.startswith("stackfuse.")
            if type(callback) is not keras.callbacks.EarlyStopping and not ours:
                raise CannotFuse(f"the callback {type(callback).__name__} may touch the model")
        if training.fit_params:
            raise CannotFuse(f"fit__{next(iter(training.fit_params))} is for model.fit")
        if training.optimizer_state or model.optimizer.iterations.numpy() or training.first_epoch:
            raise CannotFuse("the model has been trained before")
        if training.verbose or model.run_eagerly or model.jit_compile:
            raise CannotFuse("verbose, run_eagerly and jit_compile are for model.fit")
        weighted = training.sample_weight is not None
        if weighted != (trainings[0].sample_weight is not None):
            raise CannotFuse("some replicas have sample weights, others none")


class ReplicaGraph:
    """The compiled graph of a number of replicas, and the stacks that it works on."""

    def __init__(self, twin, n_replicas: int, like: tuple):
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
        self._first_slots = [variable.numpy() for variable in self.optimizer.variables]
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
        for variable, value in zip(self.optimizer.variables, self._first_slots):
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


class _Run:
    """One training of a group of replicas."""

    def __init__(self, program: Program, trainings: Sequence[Training]):
        import keras
        import tensorflow as tf

        self.trainings = trainings
        first = trainings[0]
        everything = type(first.x)(first.x.X, first.model)
        self.x = keras.tree.map_structure(tf.convert_to_tensor, everything[slice(None)])
        x, y = (keras.tree.map_structure(lambda a: a[:1], part) for part in (self.x, first.y))
        like = (x, y, None if first.sample_weight is None else first.sample_weight[:1])
        key = (len(trainings), first.sample_weight is not None)
        if key not in program.replica_graphs:
            program.replica_graphs[key] = ReplicaGraph(program.model, len(trainings), like)
        self.graph: ReplicaGraph = program.replica_graphs[key]
        self.graph.load([training.model for training in trainings])
        longest = max(map(_n_steps, trainings))
        self.replicas = [
            _Replica(self.graph, self.x, k, training, longest)
            for k, training in enumerate(trainings)
        ]

    def train(self) -> None:
        """Run until every replica is done; each stops to be counted when it is."""
        import tensorflow as tf

        waiting = [replica for replica in self.replicas if replica.begin()]
        while waiting:
            n_steps = min(replica.left for replica in waiting)
            feeds = [replica.feed for replica in self.replicas]
            self.graph.steps(self.x, feeds, tf.constant(n_steps, tf.int32))
            waiting = [replica for replica in waiting if replica.advance(n_steps)]


class _Replica:
    """Where one replica is: its epoch, its order of rows, and how many steps of the epoch are left.

    A replica that is done has been copied out; in the steps of the others it takes part with a
    single row, again and again.
    """

    def __init__(self, graph: ReplicaGraph, x, k: int, training: Training, longest: int):
        import keras
        import tensorflow as tf

        self.graph, self.x, self.k, self.training = graph, x, k, training
        self.n_steps, self.longest = _n_steps(training), longest
        seed = training.seed if training.shuffle else None
        self.orders = EpochOrders(len(training.x), seed, 0).endless()
        self.epoch, self.left = 0, 0
        self.feed = _feed(training.x, training.y, training.sample_weight)
        self.feed["size"] = tf.constant(training.batch_size, tf.int32)
        self.callbacks = keras.callbacks.CallbackList(list(training.callbacks))
        self.callbacks.set_model(training.model)
        self.history: dict[str, list] = {}
        self.held_out = None
        if training.validation is not None:
            self.held_out = _feed(*training.validation)
            rows = training.validation[0]
            self.n_rows = training.validation_batch_size or rows_per_call(rows)

    def begin(self) -> bool:
        """Begin the training, and the first epoch; return whether there is any."""
        self.training.model.stop_training = False
        self.callbacks.on_train_begin()
        return self._next_epoch()

    def advance(self, n_steps: int) -> bool:
        """Note steps that were done; return whether there are more to do."""
        import tensorflow as tf

        self.left -= n_steps
        self.feed["start"] += tf.constant(n_steps * self.training.batch_size, tf.int32)
        if self.left:
            return True
        logs = self.graph.take_logs(self.k)
        if self.held_out is not None:
            values = self.graph.values(self.k)
            n_rows = tf.constant(self.n_rows, tf.int32)
            metrics = self.graph.evaluate(values, self.x, self.held_out, n_rows)
            logs |= {f"val_{name}": value for name, value in self.graph.logs(metrics).items()}
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
        if self.training.callbacks:
            self.graph.copy_to(self.training.model, self.k)
        self.callbacks.on_epoch_end(self.epoch, logs)
        self.epoch += 1
        return self._next_epoch()

    def _next_epoch(self) -> bool:
        import tensorflow as tf

        self.feed["order"] = tf.constant(next(self.orders), tf.int32)
        self.feed["start"] = tf.constant(0, tf.int32)
        if self.epoch < self.training.epochs and not self.training.model.stop_training:
            self.callbacks.on_epoch_begin(self.epoch)
            self.left = self.n_steps
            return True
        self.graph.copy_to(self.training.model, self.k)
        self.training.optimizer_state[:] = self.graph.optimizer_state(self.k)
        self.training.history = self.history
        self.callbacks.on_train_end()
        self.feed["size"] = tf.constant(1, tf.int32)
        self.feed["order"] = tf.zeros(self.longest, tf.int32)
        return False


def _batch(x, feed, rows):
    """Return x, y and weights of some rows of a replica."""
    import keras
    import tensorflow as tf

    def at(places):
        return lambda tensor: tf.gather(tensor, places)

    of_x = keras.tree.map_structure(at(tf.gather(feed["chosen"], rows)), x)
    y = keras.tree.map_structure(at(rows), feed["y"])
    return of_x, y, at(rows)(feed["weight"]) if "weight" in feed else None


def _feed(x, y, weight) -> dict[str, Any]:
    """Return as tensors what a replica is fed with: the numbers of its rows, targets, weights."""
    import keras
    import tensorflow as tf

    chosen = np.arange(len(x)) if x.chosen is None else x.chosen
    feed = {"chosen": tf.constant(chosen, tf.int32)}
    feed["y"] = keras.tree.map_structure(tf.convert_to_tensor, y)
    return feed if weight is None else feed | {"weight": tf.convert_to_tensor(weight)}


def _n_steps(training: Training) -> int:
    return n_batches(len(training.x), training.batch_size)


def _spec(array):
    import tensorflow as tf

    return tf.TensorSpec((None, *array.shape[1:]), array.dtype)
