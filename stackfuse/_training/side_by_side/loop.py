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

from stackfuse._core import errors, fitting
from stackfuse._keras import Rows, indices
from stackfuse._training.batches import (
    EpochOrders,
    rows_of,
)
from stackfuse._training.failures import told_by_name
from stackfuse._training.prediction import rows_per_call
from stackfuse._training.process import locked
from stackfuse._training.program import Program
from stackfuse._training.side_by_side.eligibility import (
    check_replica,
    graphs_of,
    kind_of,
)
from stackfuse._training.side_by_side.forward import Forward
from stackfuse._training.side_by_side.graph import (
    ReplicaGraph,
    ReplicaState,
    feed_of,
)
from stackfuse._training.side_by_side.optimizers import OwnOptimizer
from stackfuse._training.side_by_side.replica_callbacks import ReplicaCallbacks
from stackfuse._training.side_by_side.written_files import WrittenFiles
from stackfuse._training.training import (
    Training,
    check_finite,
    fed_with,
    one_row,
    steps_per_epoch,
)

#: Graphs of one model that are kept: of other numbers of replicas, or lengths of sequences.
MOST_GRAPHS = 8

#: Bytes of rows that are read ahead, for all replicas together, where X is read piece by piece.
BLOCK_BYTES = 2**22

#: Weights of all replicas together; beyond, a step takes so long that its overhead is little.
MOST_WEIGHTS = 40_000_000


class SideBySide:
    """Trainings that are going to be done at once, eight at most.

    Their models may differ in computation, learning rate, optimizer, dropout or seed, as
    long as their variables are of the same shapes and they are fed with rows of the same kind.

    Attributes
    ----------
    trainings : list of Training
    programs : list of Program or None
        One program per replica. None if the configuration of a model does not say all that it
        computes: then each replica is computed by its own model.
    """

    def __init__(self):
        self.trainings: list[Training] = []
        self.programs: list[Program | None] = []
        self._as_built: Any = None
        self._graphs: list[ReplicaGraph] = []

    def add(self, training: Training) -> None:
        """Add a training, as soon as its model is built.

        Raises
        ------
        OtherArchitecture
            If it cannot be trained beside the others, but could be beside others like it.
        CannotTrainSideBySide
            If it cannot be trained beside any others. Either way, nothing has been trained.
        """
        program = Program.of(training.model)
        check_replica(training)
        if self.trainings:
            self._check_like_first(training, program)
        elif program is None:
            like = one_row(training)
            with _declined(training.model):
                self._as_built = Forward(training.model, like).traced(like)
        self.trainings.append(training)
        self.programs.append(program)
        owned = [id(v) for other in self.trainings for v in other.model.variables]
        if len(set(owned)) < sum(len(other.model.variables) for other in self.trainings):
            raise errors.CannotTrainSideBySide(
                "the builder gives the same variables to several replicas"
            )
        n_weights = len(self.trainings) * training.model.count_params()
        if n_weights > MOST_WEIGHTS:
            raise errors.CannotTrainSideBySide(
                f"{n_weights} weights in all replicas are too many to save time"
            )

    def _check_like_first(self, training: Training, program: Program | None) -> None:
        """Raise if a training cannot be done beside the first."""
        first, first_program = self.trainings[0], self.programs[0]
        same = (program is None) == (first_program is None)
        if program is not None and first_program is not None:
            same = program.loss_and_metrics == first_program.loss_and_metrics
        if not same or kind_of(training) != kind_of(first):
            raise errors.OtherArchitecture("the builder makes other graphs for other replicas")

    def make_graphs(self) -> None:
        """Make the graphs, once all trainings are added.

        Raises
        ------
        CannotTrainSideBySide
            If they cannot be trained in one graph; nothing has been trained then.
        """
        with locked():
            self._graphs = [self._graph(list(group)) for group in self._groups()]

    def train(self) -> None:
        """Train them all, in the graphs that are made.

        Up to rounding, each model, optimizer state and history is afterwards the same as after
        :func:`stackfuse._training.program.train`.

        Raises
        ------
        ReplicaFailed
            If one fails or diverges; the cause says why.

        An error that is known to be of one replica has its number as attribute ``replica``.
        """
        first = self.trainings[0]
        told = told_by_name(first.model, first.x, first.y)
        explained = indices.failed_lookups_explained(first.model)
        with locked(), WrittenFiles(self.trainings), told, explained:
            _run_at_once(self._runs())
        for k, training in enumerate(self.trainings):
            with _of_replica(k):
                check_finite(training.model, training.history)

    def _runs(self) -> list["_GraphRun"]:
        """Return the work to do: each replica in one of its graphs."""
        lazy = [training for training in self.trainings if training.x.is_lazy]
        in_step = sum(training.x.bytes_per_row * training.batch_size for training in lazy)
        most_steps = max(1, BLOCK_BYTES // in_step) if in_step else None
        tables: dict[int, Any] = {}
        used: Counter = Counter()
        runs = []
        for graph, numbers in zip(self._graphs, self._groups(), strict=True):
            group = {number: self.trainings[number] for number in numbers}
            if used[graph] == len(graph.states):
                graph.one_more_state()
            runs.append(_GraphRun(graph, graph.states[used[graph]], group, tables, most_steps))
            used[graph] += 1
        return runs

    def _groups(self) -> list[list[int]]:
        """Return the numbers of the trainings, those of each graph together."""
        return graphs_of(range(len(self.trainings)))

    def _graph(self, numbers: Sequence[int]) -> ReplicaGraph:
        """Return the graph of some of the replicas, which others may share."""
        first = self.trainings[numbers[0]]
        programs = [p for p in (self.programs[number] for number in numbers) if p is not None]
        if programs:
            return _graph_of_programs(programs, first)
        with _declined(first.model):
            return self._graph_of_own_code([self.trainings[number] for number in numbers])

    def _graph_of_own_code(self, trainings: Sequence[Training]) -> ReplicaGraph:
        first, like = trainings[0], one_row(trainings[0])
        forwards = [Forward(training.model, like) for training in trainings]
        if first is self.trainings[0] and forwards[0].traced(like) != self._as_built:
            raise errors.CannotTrainSideBySide(
                f"the code in the model {first.model.name!r} computes different results at "
                "different calls, or after other models were built"
            )
        graph = ReplicaGraph(forwards, [_own_optimizer(t.model) for t in trainings], like)
        held_out = ((f, t.validation) for f, t in zip(forwards, trainings))
        graph.check_own_code([(f, rows[2] is not None) for f, rows in held_out if rows is not None])
        return graph


def _graph_of_programs(programs: Sequence[Program], first: Training) -> ReplicaGraph:
    """Return the graph of replicas whose configuration says all, which is kept for others."""
    fed, like = fed_with(first), one_row(first)
    kept = programs[0].replica_graphs
    key = (*(program.key for program in programs), fed)
    if key not in kept:
        for program in programs:
            if fed not in program.forwards:
                _keep(program.forwards, fed, Forward(program.model, like))
        forwards = [program.forwards[fed] for program in programs]
        optimizers = [
            OwnOptimizer(program.model.optimizer, program.first_optimizer_state)
            for program in programs
        ]
        _keep(kept, key, ReplicaGraph(forwards, optimizers, like))
    return kept[key]


def _own_optimizer(model) -> OwnOptimizer:
    optimizer = model.optimizer
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return OwnOptimizer(optimizer, [variable.numpy() for variable in optimizer.variables])


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


def _run_at_once(runs: Sequence["_GraphRun"]) -> None:
    """Train until every replica of every run is done.

    If one fails, the runs before it go on: as in a loop, the first failure is the one that counts.
    """
    failed, failure = len(runs), None
    with ThreadPoolExecutor(len(runs)) as pool:
        doing = {pool.submit(run.take_steps): k for k, run in enumerate(runs) if run.begin()}
        while doing:
            for future in wait(doing, return_when=FIRST_COMPLETED).done:
                k = doing.pop(future)
                if k > failed:
                    continue
                try:
                    future.result()
                    if runs[k].advance():
                        doing[pool.submit(runs[k].take_steps)] = k
                except Exception as error:
                    failed, failure = k, error
    if failure is not None:
        raise failure


@contextmanager
def _of_replica(number: int) -> Iterator[None]:
    """Raise an error as the failure of one replica."""
    try:
        yield
    except Exception as error:
        raise errors.ReplicaFailed(number) from error


class _GraphRun:
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
            most = [self.most_steps, *(replica.most_steps for replica in self.waiting)]
            self.n_steps = min(most)
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
        self.rows = _RowsToFeed(training.x, training.y, training.sample_weight, tables)
        self.feed: dict[str, Any] = {"size": tf.constant(training.batch_size, tf.int32)}
        self.callbacks = ReplicaCallbacks(state, k, training, self.n_steps)
        self.held_out = None
        if training.validation is not None:
            x, y, weight = training.validation
            self.held_out = _RowsToFeed(x, y, weight, tables)

    @property
    def most_steps(self) -> int:
        """How many steps may be taken at once."""
        return 1 if self.callbacks.at_batches or self.callbacks.is_stopped else self.left

    def begin(self) -> bool:
        """Begin the training, and the first epoch; return whether there is any."""
        self.callbacks.begin()
        return self._next_epoch()

    def prepare(self, n_steps: int) -> None:
        """Lay ready the rows of the next steps."""
        size, place = self.training.batch_size, self.n_steps - self.left
        start = place * size
        if self.rows.is_lazy:
            self.feed |= self.rows.at(self.order[start : start + n_steps * size])
            n_rows = len(self.feed["chosen"])
            self.feed |= {"order": tf.range(n_rows), "start": tf.constant(0, tf.int32)}
        else:
            self.feed["start"] = tf.constant(start, tf.int32)
        self.callbacks.begin_batch(place)

    def advance(self, n_steps: int) -> bool:
        """Note steps that were done; return whether there are more to do."""
        self.left -= n_steps
        self.callbacks.end_batches(self.n_steps - self.left, n_steps)
        if self.left and not self.callbacks.is_stopped:
            return True
        logs = self.state.logs(self.k)
        self.state.begin_metrics(self.k)
        if self.held_out is not None:
            logs |= {f"val_{name}": value for name, value in self._validate(self.held_out).items()}
        self.callbacks.end_epoch(self.epoch, logs)
        self.epoch += 1
        return self._next_epoch()

    def _validate(self, held_out: "_RowsToFeed") -> dict[str, float]:
        rows = held_out.x
        n_rows = self.training.validation_batch_size or rows_per_call(rows)
        state, forward = self.state, self.state.forwards[self.k]
        weights, states = state.weights(self.k), state.states.values(self.k)
        metrics = [tf.constant(value) for value in forward.fresh_metrics]
        evaluate = forward.evaluation(weighted=held_out.weight is not None)
        step = n_rows if held_out.is_lazy else len(rows)
        for start in range(0, len(rows), step):
            part = held_out.at(np.arange(start, min(start + step, len(rows))))
            many = tf.constant(n_rows, tf.int32)
            states, metrics = evaluate(weights, states, metrics, part, many)
        state.states.assign_values(self.k, states)  # a layer may draw random numbers even here
        return forward.logs(metrics)

    def _next_epoch(self) -> bool:
        if self.epoch < self.training.epochs and not self.callbacks.is_stopped:
            fitting.time_limit.check()
            self.callbacks.begin_epoch(self.epoch)
            self.left, self.order = self.n_steps, next(self.orders)
            if not self.rows.is_lazy:
                self.feed |= {**self.rows.whole, "order": tf.constant(self.order, tf.int32)}
            return True
        self.callbacks.end()
        order = self.order
        if self.rows.is_lazy:
            order = np.arange(len(self.feed.get("chosen", ())))
        batch = order[: self.training.batch_size]
        self.feed["order"] = tf.constant(np.tile(batch, self.longest), tf.int32)
        self.feed |= {"start": tf.constant(0, tf.int32), "size": tf.constant(len(batch), tf.int32)}
        return False


class _RowsToFeed:
    """Rows with their targets and weights, as a graph is fed with them.

    Rows in memory are fed whole, with the same x for all replicas. From a sparse matrix or a file
    only the needed rows are read.
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
