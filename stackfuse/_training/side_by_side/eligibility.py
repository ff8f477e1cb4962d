"""Which networks can be trained side by side in one graph, and when that pays."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import joblib
import keras
import numpy as np

from stackfuse._core import errors
from stackfuse._keras import architecture, private
from stackfuse._training.program import Program
from stackfuse._training.side_by_side.callbacks import check_callback, is_called_at_batches
from stackfuse._training.training import Training, fed_with, steps_per_epoch

#: Optimizers that change every element of a variable by itself.
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

#: Methods that a model has to have from Keras for its steps to be those that are computed here.
_METHODS_OF_KERAS = (
    "evaluate",
    "fit",
    "make_test_function",
    "make_train_function",
    "test_step",
    "train_step",
)

#: Steps of all replicas together that must be ahead before a graph for them is traced and
#: optimised: in all, and more for every weight, every other variable and every recurrent layer.
#: Graphs that are compiled already do not count, so that equal fits are trained alike: the graph is
#: weighed against a loop that has to be compiled too, which takes about half as long. Measured with
#: six replicas on two cores, in seconds for the graph, in milliseconds saved per step of one
#: replica, and in steps that make up for the time of the graph or, after "or", for its time beyond
#: that of a compiled loop:
#:
#:     model (hidden layers of 16 units)          trace    saved    steps ahead
#:     dense, 1, 3 and 8 layers           0.6, 0.6, 0.7    1.1, 1.2, 1.1  580, 480, 640
#:                                                                     or 470, 240, 180
#:     convolution, 1 and 4 layers             0.8, 0.8         2.9, 2.6  270, 300 or 110, 80
#:     3 x dense, BatchNormalization, Dropout       1.1              1.1  970 or 310
#:     attention                                    0.9              1.0  900 or 440
#:     LSTM, GRU, two GRUs                1.8, 1.7, 3.0    2.3, 3.0, 1.5  750, 550, 2,000
#:                                                                     or 390, 270, 920
#:
#: The time of ``model.fit`` besides its steps is saved too: 0.14 s a replica, or 140 steps.
#: One epoch of 200 rows with two folds and all rows took, as the first fit of a process and as the
#: second, 1.4 and 0.2 s in the graph and 1.5 and 0.5 s in the loop (dense, 1 layer), 1.5 and 0.3
#: against 1.9 and 0.6 (8 layers), 3.0 and 0.2 against 2.4 and 0.6 (GRU).
STEPS_PER_FIT = 140
STEPS_AHEAD = 120
STEPS_PER_WEIGHT = 15
STEPS_PER_STATE = 30
STEPS_PER_RECURRENT_LAYER = 300

#: The time of a small replica's step in a graph on one processor, as a part of its own, and that of
#: one with recurrent layers. Three further replicas took, in ``benchmarks/grouping.py``, a fifth to
#: a quarter of their time one by one (dense layers, convolutions), and three quarters (a GRU).
STEP_IN_GRAPH, RECURRENT_STEP_IN_GRAPH = 1 / 5, 3 / 4

#: Weights of all replicas together, up to which a step in the graph is the quicker: six tables of
#: 20,000 x 32 took 2.3 ms of a processor instead of 2.5 by Adam, six of 100,000 x 32 took 11.6
#: instead of 10.7.
WEIGHTS_THAT_GAIN = 10_000_000

#: Replicas that are trained at once; more are trained in groups.
GROUP = 8

#: The processors for graphs; None stands for all of the machine.
_processors: ContextVar[int | None] = ContextVar("processors", default=None)


@contextmanager
def on_processors(number: int) -> Iterator[None]:
    """Let what is trained within use so many processors: others have work of their own."""
    token = _processors.set(number)
    try:
        yield
    finally:
        _processors.reset(token)


def groups_of(things: Sequence) -> list[list]:
    """Return things in groups of as many as are trained at once at most."""
    return _in_parts(things, -(-len(things) // GROUP))


def graphs_of(things: Sequence) -> list[list]:
    """Return groups of replicas; each group is trained at once in one graph.

    A graph for every processor: three replicas in each of two graphs take 0.04 ms per step of one,
    where six in a graph of which TensorFlow runs the parts on both take 0.065.
    """
    return _in_parts(things, min(len(things), _processors.get() or joblib.cpu_count()))


def _in_parts(things: Sequence, n_parts: int) -> list[list]:
    """Return things in parts of nearly equal size, in their order."""
    parts = np.array_split(np.arange(len(things)), max(1, n_parts))
    return [[things[k] for k in part] for part in parts if len(part)]


def worth_a_graph(training: Training, n_replicas: int) -> bool:
    """Whether it pays to train replicas like this one side by side.

    It does where the steps ahead save more than the graphs take to be traced; never where all
    weights are so many that a step takes as long. A model with code of the user's own is traced
    apart just as often, so that it always does unless it is recurrent. Nothing that was trained
    before matters.
    """
    model = training.model
    if n_replicas < 2 or n_replicas * model.count_params() > WEIGHTS_THAT_GAIN:
        return False
    if Program.of(model) is None:
        return not _n_recurrent(model)
    return n_replicas * _steps_alone(training) >= _steps_for_graph(model)


def steps_of_fits(training: Training, n_replicas: int) -> float:
    """Return the time of some replicas like this one on one processor, in steps of a single one.

    Side by side, where that pays, a step of a small replica takes a part of it; the more weights,
    the less is gained. Compiling the step itself, which every machine does once, is not in it.
    """
    alone = n_replicas * _steps_alone(training)
    if not worth_a_graph(training, n_replicas):
        return alone
    size = n_replicas * training.model.count_params() / WEIGHTS_THAT_GAIN
    small = RECURRENT_STEP_IN_GRAPH if _n_recurrent(training.model) else STEP_IN_GRAPH
    share = small + (1 - small) * size
    steps = n_replicas * steps_per_epoch(training) * training.epochs
    return min(alone, _steps_for_graph(training.model) + share * steps)


def _steps_alone(training: Training) -> float:
    return STEPS_PER_FIT + steps_per_epoch(training) * training.epochs


def _steps_for_graph(model) -> int:
    """Return the steps that make up for the time in which graphs of a model are traced."""
    return (
        STEPS_AHEAD
        + STEPS_PER_WEIGHT * len(model.trainable_variables)
        + STEPS_PER_STATE * len(model.non_trainable_variables)
        + STEPS_PER_RECURRENT_LAYER * _n_recurrent(model)
    )


def _n_recurrent(model) -> int:
    return sum(isinstance(layer, keras.layers.RNN) for layer in private.flatten_layers(model))


def check_replica(training: Training) -> None:
    """Raise if a training is not to be computed beside others, whichever these are."""
    _check_model(training.model)
    _check_settings(training)


def _check_model(model) -> None:
    """Raise if a model does not train by Keras' own steps, or its optimizer in another way."""
    for method in _METHODS_OF_KERAS:
        function = getattr(model, method)
        if not (getattr(function, "__module__", None) or "").startswith("keras."):
            raise errors.CannotTrainSideBySide(f"the model {model.name!r} has its own {method}")
    optimizer = model.optimizer
    name = type(optimizer).__name__
    if name not in _ELEMENTWISE or not type(optimizer).__module__.startswith("keras."):
        raise errors.CannotTrainSideBySide(f"the optimizer {name} looks at whole tensors")
    if optimizer.loss_scale_factor:
        raise errors.CannotTrainSideBySide("loss_scale_factor works only in model.fit")
    if optimizer.gradient_accumulation_steps and (optimizer.clipnorm or optimizer.global_clipnorm):
        raise errors.CannotTrainSideBySide(
            "the optimizer clips gradients that are added up over several steps"
        )
    if architecture.exempts_from_decay(optimizer):
        raise errors.CannotTrainSideBySide("exclude_from_weight_decay treats weights differently")
    if not isinstance(optimizer.get_config()["learning_rate"], float | dict):
        raise errors.CannotTrainSideBySide(
            "the optimizer's learning rate is neither a number nor a schedule"
        )


def _check_settings(training: Training) -> None:
    """Raise if a training is not to be computed as one among others."""
    model = training.model
    for callback in training.callbacks:
        check_callback(callback)
        if is_called_at_batches(callback) and model.steps_per_execution != 1:
            raise errors.CannotTrainSideBySide(
                f"the callback {type(callback).__name__} is called at every batch, but "
                "steps_per_execution takes several batches at once"
            )
    if training.fit_params:
        raise errors.CannotTrainSideBySide(
            f"fit__{next(iter(training.fit_params))} works only in model.fit"
        )
    if training.optimizer_state or model.optimizer.iterations.numpy() or training.first_epoch:
        raise errors.CannotTrainSideBySide("the model has been trained before")
    if training.verbose or model.run_eagerly or model.jit_compile:
        raise errors.CannotTrainSideBySide(
            "verbose, run_eagerly and jit_compile work only in model.fit"
        )


def kind_of(training: Training) -> list:
    """Return the properties in which replicas must agree to be trained together."""
    parts = (training.model.trainable_variables, training.model.non_trainable_variables)
    shapes = [[(tuple(v.shape), v.dtype) for v in part] for part in parts]
    return [shapes, fed_with(training)]
