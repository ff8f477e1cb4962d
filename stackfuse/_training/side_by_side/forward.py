"""The computation of a model, as a function of a batch and of the values of its variables."""

import re
from typing import Any

import keras
import tensorflow as tf

from stackfuse._core import errors
from stackfuse._keras import private

#: Operations that are run whatever they return, and give the same each time.
_HARMLESS = {"Assert", "Case", "If", "PrintV2", "StatefulPartitionedCall", "While"}


class Forward:
    """One compiled model as a function that changes nothing.

    Parameters
    ----------
    model : keras.Model
        Compiled; is built as far as it is not yet.
    like : tuple (x, y, sample_weight or None)
        One row like those of its later calls.

    Attributes
    ----------
    parts : tuple of list of keras.Variable
        The weights, the other variables, and those of the metrics.
    fresh_metrics : list of ndarray
        The values of the last part before the first batch.
    changes : set of int
        Variables that are none of the model's, but that a call would have changed.
    """

    def __init__(self, model, like: tuple):
        self.model = model
        private.build_for_training(model, like)
        model.reset_metrics()
        self.parts = (
            list(model.trainable_variables),
            list(model.non_trainable_variables),
            list(model.metrics_variables),
        )
        self.fresh_metrics = [variable.numpy() for variable in self.parts[2]]
        self.changes: set[int] = set()
        self._specs = [[tf.TensorSpec(v.shape, v.dtype) for v in part] for part in self.parts]
        self._feed = feed_spec(like)
        self._evaluations: dict[bool, Any] = {}
        # As in Keras' own steps, the code of the user's own layers is not rewritten.
        #: Traced once for all replicas; TensorFlow puts it in the place of each call.
        self.gradients = tf.function(self._gradients, autograph=False)

    @property
    def shapes(self) -> tuple:
        """The shapes and dtypes of all variables, by part."""
        return tuple(tuple((tuple(v.shape), v.dtype) for v in part) for part in self.parts)

    def __call__(self, values, x, y, weight, *, training: bool):
        """Return the loss of one batch, and what it would leave in the variables."""
        model = self.model
        pairs = [pair for part, now in zip(self.parts, values) for pair in zip(part, now)]
        with keras.StatelessScope(state_mapping=pairs, collect_losses=True) as scope:
            outputs = model(x, training=training) if private.takes_training(model) else model(x)
            loss = private.compute_loss(model, x, y, outputs, weight, training=training)
            n_rows = tf.shape(keras.tree.flatten(x)[0])[0]
            private.update_mean_loss(model, loss, n_rows)
            model.compute_metrics(x, y, outputs, weight)
        self.changes |= set(scope.state_mapping) - {id(variable) for variable, _ in pairs}
        return loss, [[scope.get_current_value(v) for v in part] for part in self.parts]

    def _gradients(self, values, feed, rows):
        """Return the gradients of the loss of some rows, and what they leave in the other parts."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values[0])
            loss, changed = self(values, *batch_of(feed, rows), training=True)
        return tape.gradient(loss, values[0]), changed[1:]

    def gradient_kinds(self, like: tuple) -> tuple[type, ...]:
        """Return the types of the gradients of the weights: sparse, dense, or none."""
        rows = tf.TensorSpec((None,), tf.int32)
        traced = self.gradients.get_concrete_function(self._specs, feed_spec(like), rows)
        return tuple(type(gradient) for gradient in traced.structured_outputs[0])

    def evaluation(self, *, weighted: bool) -> Any:
        """Return the compiled function that evaluates rows, which :meth:`_evaluate` describes.

        Parameters
        ----------
        weighted : bool
            Whether the rows have weights: those held out may have none where the others do.
        """
        if weighted not in self._evaluations:
            feed = {n: spec for n, spec in self._feed.items() if weighted or n != "weight"}
            signature = [*self._specs, feed, tf.TensorSpec((), tf.int32)]
            self._evaluations[weighted] = tf.function(
                self._evaluate, input_signature=signature, autograph=False
            )
        return self._evaluations[weighted]

    def _evaluate(self, weights, states, metrics, feed, n_rows):
        """Return the states and the metrics after the rows of a feed, in parts of `n_rows`."""
        total = tf.shape(feed["chosen"])[0]

        def step(start, states, metrics):
            rows = tf.range(start, tf.minimum(start + n_rows, total))
            values = [weights, states, metrics]
            changed = self(values, *batch_of(feed, rows), training=False)[1]
            return start + n_rows, changed[1], changed[2]

        first = [tf.constant(0), states, metrics]
        return tf.while_loop(lambda start, *_: start < total, step, first)[1:]

    def logs(self, metrics) -> dict[str, float]:
        """Return the results of metrics from the values of their variables."""
        with keras.StatelessScope(state_mapping=list(zip(self.parts[2], metrics))):
            results = self.model.get_metrics_result()
            # Within the scope: a metric may return a variable of its own.
            return {name: float(value) for name, value in results.items()}

    def traced(self, like: tuple) -> tuple[list[str], list[int]]:
        """Return texts of the graph that the model's code makes now, and what it takes along.

        It is the same each time, unless the code depends on something that changes in between.
        """

        def compute(values, feed, rows):
            batch = batch_of(feed, rows)
            return [self(values, *batch, training=training) for training in (True, False)]

        function = tf.function(compute, autograph=False)
        rows = tf.TensorSpec((None,), tf.int32)
        graph = function.get_concrete_function(self._specs, feed_spec(like), rows).graph
        definition = graph.as_graph_def()
        parts = [*definition.node, *definition.library.function]
        # The names of functions are numbered on with every one made, and their order follows these.
        texts = sorted("\n".join(map(_unnumbered, str(part).split("\n"))) for part in parts)
        return texts, [id(outside) for outside, _ in graph.captures]


def _unnumbered(line: str) -> str:
    """Return a line of a graph's text without the numbers in names; constants stay."""
    return line if "_content:" in line else re.sub(r"_\d+(?![a-z\d])", "_", line)


def refuse_side_effects(graph, forwards: list[Forward], own: list) -> None:
    """Raise if a graph depends on something besides its arguments and variables.

    Parameters
    ----------
    graph : tf.Graph
        The graph of a traced function that calls `forwards`.
    forwards : list of Forward
    own : list of tf.Variable
        Those that it may read and change.

    Raises
    ------
    CannotTrainSideBySide
        With the reason.
    """
    name = forwards[0].model.name
    handles = {id(variable.handle) for variable in own}
    for forward in forwards:  # tables never change
        handles |= {id(handle) for handle in private.lookup_tables(forward.model)}
    resources = [t for t, _ in graph.captures if t.dtype in (tf.resource, tf.variant)]
    if any(forward.changes for forward in forwards) or any(
        id(tensor) not in handles for tensor in resources
    ):
        raise errors.CannotTrainSideBySide(
            f"the model {name!r} uses a variable, a table or a random generator from outside. "
            "Make it an attribute of the layer; for random numbers, a keras.random.SeedGenerator"
        )
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    for kind in {node.op for node in nodes} - _HARMLESS:
        described: Any = private.definition_of(kind)
        if described is None or not described.is_stateful:
            continue
        if all(argument.type != tf.resource.as_datatype_enum for argument in described.input_arg):
            raise errors.CannotTrainSideBySide(
                f"the model {name!r} runs the operation {kind}, which may return another result "
                "each time"
            )


def feed_spec(like: tuple) -> dict[str, Any]:
    """Return the specs of the source of a batch: x, y, weights, and the numbers of x's rows.

    Parameters
    ----------
    like : tuple (x, y, sample_weight or None)
    """

    def spec(array):
        return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

    x, y = (keras.tree.map_structure(spec, part) for part in like[:2])
    feed = {"x": x, "y": y, "chosen": tf.TensorSpec((None,), tf.int32)}
    return feed if like[2] is None else feed | {"weight": spec(like[2])}


def batch_of(feed: dict[str, Any], rows) -> tuple:
    """Return x, y and weights of some rows of a feed."""

    def at(places):
        return lambda tensor: tf.gather(tensor, places)

    x = keras.tree.map_structure(at(tf.gather(feed["chosen"], rows)), feed["x"])
    y = keras.tree.map_structure(at(rows), feed["y"])
    return x, y, at(rows)(feed["weight"]) if "weight" in feed else None
