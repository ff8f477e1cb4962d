"""One training of a network, and how it is done by itself."""

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from stackfuse._core import fitting
from stackfuse._keras import Rows, indices
from stackfuse._training.averaging import AveragedWeights
from stackfuse._training.batches import EpochOrders, batches, n_batches
from stackfuse._training.failures import told_by_name
from stackfuse._training.prediction import rows_per_call
from stackfuse._training.program import OptimizerState, Program, _assign, _values

#: Callbacks that may be given a model that others are going to use.
_TRACELESS = (
    keras.callbacks.CSVLogger,
    keras.callbacks.EarlyStopping,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.SwapEMAWeights,
    keras.callbacks.TerminateOnNaN,
)


@dataclass
class Training:
    """All that the training of a compiled model depends on, and its history.

    In epoch e the rows come in the order
    ``numpy.random.default_rng([seed, e]).permutation(len(x))``, or as they are if not `shuffle`;
    all else is ``model.fit``.

    Attributes
    ----------
    model : keras.Model
        Compiled.
    x : Rows
    y : ndarray of shape (n_samples, ...), or tuple or dict of these
        In the structure of the model's outputs.
    sample_weight : ndarray of shape (n_samples,) or None
    optimizer_state : list
        From where the optimizer goes on; holds afterwards where it got to. If it is empty, the
        model's own optimizer tells, when it has been trained before.
    seed : int
    validation : tuple (Rows, y, sample_weight) or None
    callbacks : list of keras.callbacks.Callback
    first_epoch, epochs : int
        The number of the first epoch, and how many to train.
    fit_params : dict
        Further arguments of ``model.fit``.
    history : dict of str to list of float
        Filled by the training.
    """

    model: Any
    x: Rows
    y: Any
    sample_weight: np.ndarray | None
    optimizer_state: OptimizerState
    seed: int
    validation: tuple[Any, ...] | None
    callbacks: list[Any]
    first_epoch: int
    epochs: int
    batch_size: int
    shuffle: bool
    verbose: int | str
    validation_batch_size: int | None = None
    fit_params: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[Any]] = field(default_factory=dict)

    def share_x(self, other: "Training") -> None:
        """Read the rows of another training's X, which is equal: one copy of it is enough."""
        self.x.X = other.x.X
        if self.validation is not None:
            self.validation[0].X = other.x.X


def one_row(training: Training) -> tuple:
    """Return one row like those that a model is fed with."""
    weight = training.sample_weight
    y = keras.tree.map_structure(lambda array: array[:1], training.y)
    return training.x[slice(0, 1)], y, None if weight is None else weight[:1]


def fed_with(training: Training) -> str:
    """Return the shapes of the rows, and the dtypes, that a model is fed with.

    Its configuration may leave them open: the length of sequences, say, which a graph is made for.
    """

    def described(array):
        return None if array is None else str((array.shape[1:], array.dtype))

    return str(keras.tree.map_structure(described, one_row(training)))


def steps_per_epoch(training: Training) -> int:
    """Return the number of batches in an epoch."""
    return n_batches(len(training.x), training.batch_size)


def train(training: Training) -> None:
    """Train a compiled model by ``model.fit``."""
    model, x, first_epoch = training.model, training.x, training.first_epoch
    optimizer_state, callbacks = training.optimizer_state, list(training.callbacks)
    if fitting.averaging.is_wanted():
        callbacks.insert(0, AveragedWeights())  # the others see what it puts into the model
    fit_params = dict(training.fit_params)
    program = Program.of(model) if all(map(_leaves_no_traces, callbacks)) else None
    orders = EpochOrders(len(x), training.seed if training.shuffle else None, first_epoch)
    # One iterator serves all epochs, for to start one takes longer than to train on some hundred
    # rows; but where Keras takes several steps at a time, it would step across an epoch's end.
    endless = model.steps_per_execution == 1
    size = training.batch_size
    data = batches(x, training.y, training.sample_weight, size, orders, endless=endless)
    if endless:
        fit_params["steps_per_epoch"] = steps_per_epoch(training)
    if training.validation is not None:
        held_out, target, weight = training.validation
        as_they_are = EpochOrders(len(held_out), None, 0)
        fit_params["validation_data"] = batches(
            held_out,
            target,
            weight,
            training.validation_batch_size or rows_per_call(held_out),
            as_they_are,
            endless=False,
        )

    def fit(trained) -> dict[str, list]:
        told = told_by_name(trained, x, training.y)
        with told, indices.failed_lookups_explained(model):
            trained.fit(
                data,
                initial_epoch=first_epoch,
                epochs=first_epoch + training.epochs,
                shuffle=False,
                callbacks=[*callbacks, _EndsAtLimit()],
                verbose=training.verbose,
                **fit_params,
            )
        history = trained.history.history
        trained.history = None  # it would keep every callback alive
        return {name: [float(value) for value in values] for name, values in history.items()}

    if program is None:
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        if optimizer_state:
            _assign(model.optimizer.variables, optimizer_state)
        history = fit(model)
        optimizer_state[:] = _values(model.optimizer.variables)
    else:
        with program.training(model, optimizer_state, fed_with(training)) as trained:
            history = fit(trained)
    training.history = history
    check_finite(model, history)


class _EndsAtLimit(keras.callbacks.Callback):
    """Ends a training before an epoch if the limit of time is over."""

    def on_epoch_begin(self, epoch, logs=None):
        fitting.time_limit.check()


def _leaves_no_traces(callback) -> bool:
    """Whether a callback changes of a model no more than its variables, which are copied out."""
    return type(callback).__module__.startswith("stackfuse.") or type(callback) in _TRACELESS


def check_finite(model, history: dict[str, list]) -> None:
    """Raise if training diverged; a ReLU can hide that from the loss, so the weights are read."""
    broken = [v.path for v in model.weights if not np.isfinite(v.numpy().astype(np.float64)).all()]
    losses = history.get("loss", [])
    if broken or not np.isfinite(losses).all():
        bad = next((k for k, loss in enumerate(losses) if not np.isfinite(loss)), None)
        what = f"the loss is {losses[bad]} in epoch {bad}" if bad is not None else ""
        where = f"weights {broken[0]!r} are not finite" if broken else ""
        raise FloatingPointError(
            f"Training {model.name!r} diverged: {' and '.join(filter(None, [what, where]))}. "
            "Scale the inputs (StandardScaler), or lower optimizer__learning_rate."
        )
