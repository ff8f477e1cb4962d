"""Networks of one architecture, trained side by side in one compiled graph.

Replicas keep their own rows, orders, random states, batch statistics and metrics; what they share
is the number of steps done, and so they run in step until the epoch of one of them ends.
"""

from collections.abc import Sequence

import numpy as np

from stackfuse._batches import EpochOrders, n_batches
from stackfuse._checks import CannotFuse
from stackfuse._program import Program, Training, check_finite, locked, rows_per_call
from stackfuse._replica_graph import ReplicaGraph, feed_of

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


def train_together(trainings: Sequence[Training]) -> None:
    """Train models of one architecture.

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
    with locked():
        for group in groups_of(trainings):
            _Run(program, group).train()
    for k, training in enumerate(trainings):
        try:
            check_finite(training.model, training.history)
        except FloatingPointError as error:
            vars(error)["replica"] = k
            raise


def groups_of(things: Sequence) -> list[list]:
    """Return things in groups of nearly equal size, of as many as one graph holds at most."""
    n_groups = -(-len(things) // GROUP)
    parts = np.array_split(np.arange(len(things)), max(1, n_groups))
    return [[things[k] for k in part] for part in parts if len(part)]


def worth_a_graph(training: Training, n_replicas: int) -> bool:
    """Whether it pays to train replicas like this one side by side.

    It does where the graph is there already, or the steps, with those that were done apart since,
    take longer apart than the graph takes to be traced.
    """
    program = Program.of(training.model)
    if program is None:
        return False
    if any(key[0] == n_replicas for key in program.replica_graphs):
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


class _Run:
    """One training of a group of replicas."""

    def __init__(self, program: Program, trainings: Sequence[Training]):
        import keras
        import tensorflow as tf

        first = trainings[0]
        everything = type(first.x)(first.x.X, first.model)
        self.x = keras.tree.map_structure(tf.convert_to_tensor, everything[slice(None)])
        x, y = (keras.tree.map_structure(lambda a: a[:1], part) for part in (self.x, first.y))
        like = (x, y, None if first.sample_weight is None else first.sample_weight[:1])
        key = (len(trainings), first.sample_weight is not None)
        if key not in program.replica_graphs:
            program.replica_graphs[key] = ReplicaGraph(
                program.model, len(trainings), like, program.first_optimizer_state
            )
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
        self.feed = feed_of(training.x, training.y, training.sample_weight)
        self.feed["size"] = tf.constant(training.batch_size, tf.int32)
        self.callbacks = keras.callbacks.CallbackList(list(training.callbacks))
        self.callbacks.set_model(training.model)
        self.history: dict[str, list] = {}
        self.held_out = None
        if training.validation is not None:
            self.held_out = feed_of(*training.validation)
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


def _n_steps(training: Training) -> int:
    return n_batches(len(training.x), training.batch_size)
