"""Networks of one architecture, trained side by side: in one compiled graph for every processor.

Replicas keep their own rows, orders, random states, batch statistics and metrics; what those of a
graph share is the number of steps done, and so they run in step until the epoch of one of them
ends. The graphs run at once, each in a thread, and all else is done in the thread that called.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from stackfuse._core import errors
from stackfuse._keras import Rows
from stackfuse._training.batches import (
    EpochOrders,
    rows_of,
)
from stackfuse._training.prediction import rows_per_call
from stackfuse._training.process import locked
from stackfuse._training.program import Program
from stackfuse._training.side_by_side.eligibility import (
    check_replica,
    fed_with,
    graphs_of,
    kind_of,
    one_row,
    steps_per_epoch,
)
from stackfuse._training.side_by_side.forward import Forward
from stackfuse._training.side_by_side.graph import (
    ReplicaGraph,
    ReplicaState,
    feed_of,
)
from stackfuse._training.training import (
    Training,
    check_finite,
)

#: Graphs of one model that are kept: of other numbers of replicas, or lengths of sequences.
MOST_GRAPHS = 8

#: Bytes of rows that are read ahead, for all replicas together, where X is read piece by piece.
BLOCK_BYTES = 2**22

#: Weights of all replicas together; beyond, a step takes so long that its overhead is little.
MOST_WEIGHTS = 40_000_000


class SideBySide:
    """Trainings that are going to be done at once, eight at most.

    Attributes
    ----------
    trainings : list of Training
    program : Program or None
        None if the configuration of the models does not say all that they compute: then each
        replica is computed by its own model.
    """

    def __init__(self):
        self.trainings: list[Training] = []
        self.program: Program | None = None
        self._as_built: Any = None
        self._graphs: list[ReplicaGraph] = []

    def add(self, training: Training) -> None:
        """Add a training, as soon as its model is built.

        Raises
        ------
        CannotTrainSideBySide
            If it cannot be trained beside the others; nothing has been trained then.
        """
        program = Program.of(training.model)
        check_replica(training)
        if not self.trainings:
            self.program = program
            if program is None:
                like = one_row(training)
                with _declined(training.model):
                    self._as_built = Forward(training.model, like).traced(like)
        elif program is not self.program or kind_of(training) != kind_of(self.trainings[0]):
            raise errors.CannotTrainSideBySide("the builder makes other graphs for other replicas")
        self.trainings.append(training)
        owned = [id(v) for other in self.trainings for v in other.model.variables]
        if len(set(owned)) < sum(len(other.model.variables) for other in self.trainings):
            raise errors.CannotTrainSideBySide(
                "the builder gives the same variables to several replicas"
            )
        n_weights = len(self.trainings) * training.model.count_params()
        if n_weights > MOST_WEIGHTS:
            raise errors.CannotTrainSideBySide(
                f"{n_weights} weights in all replicas are too many to gain anything"
            )

    def make_graphs(self) -> None:
        """Make the graphs, once all trainings are added.

        Raises
        ------
        CannotTrainSideBySide
            If they cannot be trained in one graph; nothing has been trained then.
        """
        with locked():
            self._graphs = [self._graph(list(group.values())) for group in self._groups()]

    def train(self) -> None:
        """Train them all, in the graphs that are made.

        What each model, optimizer state and history holds afterwards is, up to rounding, what
        :func:`stackfuse._training.program.train` would have left.

        Raises
        ------
        ReplicaFailed
            If one fails or diverges; the cause says why.

        An error that is known to be of one replica has its number as attribute ``replica``.
        """
        with locked():
            _run_at_once(self._runs())
        for k, training in enumerate(self.trainings):
            with _of_replica(k):
                check_finite(training.model, training.history)

    def _runs(self) -> list["_Run"]:
        """Return what is to be run, each replica in one of its graphs."""
        lazy = [training for training in self.trainings if training.x.is_lazy]
        in_step = sum(training.x.bytes_per_row * training.batch_size for training in lazy)
        most_steps = max(1, BLOCK_BYTES // in_step) if in_step else None
        tables: dict[int, Any] = {}
        used: Counter = Counter()
        runs = []
        for graph, group in zip(self._graphs, self._groups(), strict=True):
            if used[graph] == len(graph.states):
                graph.one_more_state()
            runs.append(_Run(graph, graph.states[used[graph]], group, tables, most_steps))
            used[graph] += 1
        return runs

    def _groups(self) -> list[dict[int, Training]]:
        """Return the trainings by their numbers, those of each graph together."""
        return [dict(group) for group in graphs_of(list(enumerate(self.trainings)))]

    def _graph(self, trainings: Sequence[Training]) -> ReplicaGraph:
        """Return the graph of some of the replicas, which others may share."""
        program, first, like = self.program, trainings[0], one_row(trainings[0])
        if program is not None:
            fed = fed_with(first)
            key = (len(trainings), fed)
            if fed not in program.forwards:
                _keep(program.forwards, fed, Forward(program.model, like))
            if key not in program.replica_graphs:
                forwards = [program.forwards[fed]] * len(trainings)
                state = program.first_optimizer_state
                graph = ReplicaGraph(forwards, like, program.model.optimizer, state)
                _keep(program.replica_graphs, key, graph)
            return program.replica_graphs[key]
        with _declined(first.model):
            return self._graph_of_own_code(trainings, like)

    def _graph_of_own_code(self, trainings: Sequence[Training], like: tuple) -> ReplicaGraph:
        first = trainings[0]
        forwards = [Forward(training.model, like) for training in trainings]
        if first is self.trainings[0] and forwards[0].traced(like) != self._as_built:
            raise errors.CannotTrainSideBySide(
                f"the code in the model {first.model.name!r} computes something else each time it "
                "is called, or since the models of other replicas were built"
            )
        optimizer = first.model.optimizer
        if not optimizer.built:
            optimizer.build(first.model.trainable_variables)
        state = [variable.numpy() for variable in optimizer.variables]
        graph = ReplicaGraph(forwards, like, optimizer, state)
        graph.check_own_code([f for f, t in zip(forwards, trainings) if t.validation is not None])
        return graph


@contextmanager
def _declined(model) -> Iterator[None]:
    """Decline a model whose code cannot be traced as the graph needs it: for any number of rows."""
    try:
        yield
    except errors.CannotTrainSideBySide:
        raise
    except Exception as error:
        raise errors.CannotTrainSideBySide(
            f"the model {model.name!r} cannot be traced: {error}"
        ) from error


def _keep(graphs: dict, key, graph) -> None:
    """Keep a graph, and of those of one model no more than the newest."""
    graphs[key] = graph
    while len(graphs) > MOST_GRAPHS:
        graphs.pop(next(iter(graphs)))


def _run_at_once(runs: Sequence["_Run"]) -> None:
    """Train until every replica of every run is done."""
    with ThreadPoolExecutor(len(runs)) as pool:
        doing = {pool.submit(run.take_steps): run for run in runs if run.begin()}
        while doing:
            for future in wait(doing, return_when=FIRST_COMPLETED).done:
                run = doing.pop(future)
                future.result()
                if run.advance():
                    doing[pool.submit(run.take_steps)] = run


@contextmanager
def _of_replica(number: int) -> Iterator[None]:
    """Raise an error as the failure of one replica."""
    try:
        yield
    except Exception as error:
        raise errors.ReplicaFailed(number) from error


class _Run:
    """One training of the replicas of a graph; each stops to be counted when it is done.

    Parameters
    ----------
    graph : ReplicaGraph
    state : ReplicaState
    trainings : dict of int to Training
        By the number of the replica among all.
    tables : dict
        The rows that are in memory already, by the id of their X.
    most_steps : int or None
        How many are taken at once, where rows are read piece by piece.
    """

    def __init__(
        self,
        graph: ReplicaGraph,
        state: ReplicaState,
        trainings: dict[int, Training],
        tables: dict[int, Any],
        most_steps: int | None,
    ):
        self.graph, self.state = graph, state
        state.load([training.model for training in trainings.values()])
        longest = max(map(steps_per_epoch, trainings.values()))
        self.replicas = [
            _Replica(state, k, number, training, tables, longest)
            for k, (number, training) in enumerate(trainings.items())
        ]
        self.most_steps = most_steps or longest
        self.waiting: list[_Replica] = []

    def begin(self) -> bool:
        """Begin the training of all, and return whether there is anything to do."""
        self.waiting = []
        for replica in self.replicas:
            with _of_replica(replica.number):
                if replica.begin():
                    self.waiting.append(replica)
        return self._prepare()

    def _prepare(self) -> bool:
        """Lay ready what the next steps need, as many as no epoch ends in between."""
        if self.waiting:
            self.n_steps = min([self.most_steps, *(replica.left for replica in self.waiting)])
            for replica in self.waiting:
                replica.prepare(self.n_steps)
        return bool(self.waiting)

    def take_steps(self) -> None:
        """Take the steps that are prepared."""
        feeds = [replica.feed for replica in self.replicas]
        self.graph.steps(self.state, feeds, tf.constant(self.n_steps, tf.int32))

    def advance(self) -> bool:
        """Note the steps that were taken, and return whether there are more to take."""
        waiting, self.waiting = self.waiting, []
        for replica in waiting:
            with _of_replica(replica.number):
                if replica.advance(self.n_steps):
                    self.waiting.append(replica)
        return self._prepare()


class _Replica:
    """Where one replica is: its epoch, its order of rows, and how many steps of the epoch are left.

    A replica that is done has been copied out; in the steps of the others it takes part with the
    first batch of its last epoch, again and again: its code may not be able to do with others.
    """

    def __init__(
        self,
        state: ReplicaState,
        k: int,
        number: int,
        training: Training,
        tables: dict[int, Any],
        longest: int,
    ):
        self.state, self.k, self.number, self.training = state, k, number, training
        self.n_steps, self.longest = steps_per_epoch(training), longest
        seed = training.seed if training.shuffle else None
        self.orders = EpochOrders(len(training.x), seed, 0).endless()
        self.epoch, self.left = 0, 0
        self.order = np.arange(0)
        self.rows = _Fed(training.x, training.y, training.sample_weight, tables)
        self.feed: dict[str, Any] = {"size": tf.constant(training.batch_size, tf.int32)}
        self.callbacks = keras.callbacks.CallbackList(list(training.callbacks))
        self.callbacks.set_model(training.model)
        self.history: dict[str, list] = {}
        self.held_out = None
        if training.validation is not None:
            x, y, weight = training.validation
            self.held_out = _Fed(x, y, weight, tables)

    def begin(self) -> bool:
        """Begin the training, and the first epoch; return whether there is any."""
        self.training.model.stop_training = False
        self.callbacks.on_train_begin()
        return self._next_epoch()

    def prepare(self, n_steps: int) -> None:
        """Lay ready the rows of the next steps."""
        size = self.training.batch_size
        start = (self.n_steps - self.left) * size
        if self.rows.is_lazy:
            self.feed |= self.rows.at(self.order[start : start + n_steps * size])
            n_rows = len(self.feed["chosen"])
            self.feed |= {"order": tf.range(n_rows), "start": tf.constant(0, tf.int32)}
        else:
            self.feed["start"] = tf.constant(start, tf.int32)

    def advance(self, n_steps: int) -> bool:
        """Note steps that were done; return whether there are more to do."""
        self.left -= n_steps
        if self.left:
            return True
        logs = self.state.take_logs(self.k)
        if self.held_out is not None:
            logs |= {f"val_{name}": value for name, value in self._validate(self.held_out).items()}
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
        if self.training.callbacks:
            self.state.copy_to(self.training.model, self.k)
        self.callbacks.on_epoch_end(self.epoch, logs)
        self.epoch += 1
        return self._next_epoch()

    def _validate(self, held_out: "_Fed") -> dict[str, float]:
        rows = held_out.x
        n_rows = self.training.validation_batch_size or rows_per_call(rows)
        whole, forward = self.state, self.state.forwards[self.k]
        weights, states = whole.weights.values(self.k), whole.states.values(self.k)
        metrics = [tf.constant(value) for value in forward.fresh_metrics]
        step = n_rows if held_out.is_lazy else len(rows)
        for start in range(0, len(rows), step):
            part = held_out.at(np.arange(start, min(start + step, len(rows))))
            many = tf.constant(n_rows, tf.int32)
            states, metrics = forward.evaluate(weights, states, metrics, part, many)
        whole.states.assign_values(self.k, states)  # a layer may draw random numbers even here
        return forward.logs(metrics)

    def _next_epoch(self) -> bool:
        if self.epoch < self.training.epochs and not self.training.model.stop_training:
            self.callbacks.on_epoch_begin(self.epoch)
            self.left, self.order = self.n_steps, next(self.orders)
            if not self.rows.is_lazy:
                self.feed |= {**self.rows.whole, "order": tf.constant(self.order, tf.int32)}
            return True
        self.state.copy_to(self.training.model, self.k)
        self.training.optimizer_state[:] = self.state.optimizer_state(self.k)
        self.training.history = self.history
        self.callbacks.on_train_end()
        order = self.order
        if self.rows.is_lazy:
            order = np.arange(len(self.feed.get("chosen", ())))
        batch = order[: self.training.batch_size]
        self.feed["order"] = tf.constant(np.tile(batch, self.longest), tf.int32)
        self.feed |= {"start": tf.constant(0, tf.int32), "size": tf.constant(len(batch), tf.int32)}
        return False


class _Fed:
    """Rows with their targets and weights, as a graph is fed with them.

    What lies in memory is fed whole, x being the same for all replicas; of what is sparse, or
    mapped from a file, only the rows that are asked for are read.
    """

    def __init__(self, x: Rows, y, weight, tables: dict[int, Any]):
        self.x, self.y, self.weight = x, y, weight
        self.is_lazy = x.is_lazy
        if not self.is_lazy:
            if id(x.X) not in tables:
                everything = Rows(x.X, x.model)[slice(None)]
                tables[id(x.X)] = keras.tree.map_structure(tf.convert_to_tensor, everything)
            chosen = np.arange(len(x)) if x.chosen is None else x.chosen
            self.whole = feed_of(tables[id(x.X)], y, weight, chosen)

    def at(self, places: np.ndarray) -> dict[str, Any]:
        """Return the feed of some rows; where x lies in memory, of all."""
        if not self.is_lazy:
            return self.whole
        x = keras.tree.map_structure(tf.convert_to_tensor, self.x[places])
        y = rows_of(self.y, places)
        weight = None if self.weight is None else self.weight[places]
        return feed_of(x, y, weight, np.arange(len(places)))
