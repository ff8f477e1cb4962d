"""The callbacks of one replica, called as ``model.fit`` calls them."""

from typing import Any

import keras
import numpy as np

from stackfuse._training.side_by_side.callbacks import Sight, is_called_at_batches, sight_of
from stackfuse._training.side_by_side.graph import ReplicaState
from stackfuse._training.training import Training


class ReplicaCallbacks:
    """The callbacks of one replica, and its model as they see it.

    Parameters
    ----------
    state : ReplicaState
    k : int
        The number of the replica in it.
    training : Training
    n_steps : int
        The number of steps of an epoch.

    Attributes
    ----------
    at_batches : bool
        Whether any is to be called after every step.
    """

    def __init__(self, state: ReplicaState, k: int, training: Training, n_steps: int):
        self._state, self._k, self._training = state, k, training
        self._model, self._n_steps, self._n_done = training.model, n_steps, 0
        own = list(training.callbacks)
        self.at_batches = any(map(is_called_at_batches, own))
        self._sight = max(map(sight_of, own), default=None)
        self._ends_at_nan = [c for c in own if isinstance(c, keras.callbacks.TerminateOnNaN)]
        self._all = keras.callbacks.CallbackList(
            own,
            add_history=True,
            model=training.model,
            verbose=0,
            epochs=training.epochs,
            steps=n_steps,
        )

    @property
    def is_stopped(self) -> bool:
        """Whether one of them has asked to stop."""
        return self._model.stop_training

    def begin(self) -> None:
        """Begin the training."""
        optimizer = self._model.optimizer
        self._first_numbers = _numbers(optimizer)
        if self._sight is not None and self._sight >= Sight.OPTIMIZER and not optimizer.built:
            optimizer.build(self._model.trainable_variables)
        self._model.stop_training = False
        self._all.on_train_begin()

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        self._all.on_epoch_begin(epoch)
        self._take_over()

    def begin_batch(self, step: int) -> None:
        """Begin a step, where a callback wants to know of it."""
        if self.at_batches:
            self._all.on_train_batch_begin(step)
            self._take_over()

    def end_batches(self, n_done: int, n_steps: int) -> None:
        """Note steps that were taken, `n_done` of the epoch in all."""
        self._n_done += n_steps
        if self.at_batches:
            self._show()
            self._all.on_train_batch_end(n_done - 1, self._state.logs(self._k))
            self._take_over()

    def end_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """End an epoch with its logs."""
        self._show()
        if not self.at_batches:
            for callback in self._ends_at_nan:
                callback.on_batch_end(self._n_steps - 1, logs)
        self._all.on_epoch_end(epoch, logs)
        self._take_over()

    def end(self) -> None:
        """End the training, and leave in it what ``model.fit`` would have left."""
        model, state, k = self._model, self._state, self._k
        state.copy_to(model, k)
        learnt = state.optimizer_state(k)
        optimizer = model.optimizer
        if optimizer.use_ema:
            self._show_optimizer(learnt)
            optimizer.finalize_variable_values(model.trainable_variables)
        history = model.history.history
        self._all.on_train_end(_last(history))
        if self._sight == Sight.CHANGES:
            learnt = [variable.numpy() for variable in optimizer.variables]
        elif not optimizer.built:
            _set_numbers(optimizer, self._first_numbers)
        self._training.optimizer_state[:] = learnt
        self._training.history = {
            name: [float(value) for value in values] for name, values in history.items()
        }
        model.history = None  # it would keep every callback alive

    def _show(self) -> None:
        """Write into the model what its callbacks are going to look at."""
        if self._sight is None:
            return
        self._model.optimizer.variables[0].assign(self._n_done)
        if self._sight >= Sight.WEIGHTS:
            self._state.copy_to(self._model, self._k)
        if self._sight >= Sight.OPTIMIZER:
            self._show_optimizer(self._state.optimizer_state(self._k))

    def _show_optimizer(self, values: list[np.ndarray]) -> None:
        optimizer = self._model.optimizer
        if not optimizer.built:
            optimizer.build(self._model.trainable_variables)
        for variable, value in zip(optimizer.variables, values, strict=True):
            variable.assign(value)

    def _take_over(self) -> None:
        """Read from the model what its callbacks may have changed."""
        if self._sight is None:
            return
        optimizer = self._model.optimizer
        if self._state.has_rate(self._k):
            self._state.set_rate(self._k, float(optimizer.learning_rate))
        if self._sight == Sight.CHANGES:
            self._state.copy_from(self._model, self._k)
            values = [variable.numpy() for variable in optimizer.variables]
            self._state.set_optimizer_state(self._k, values)


def _numbers(optimizer) -> list[Any]:
    """Return the state of an optimizer before it is built, without its state for each weight."""
    return [] if optimizer.built else [variable.numpy() for variable in optimizer.variables]


def _set_numbers(optimizer, values: list[Any]) -> None:
    for variable, value in zip(optimizer.variables, values, strict=True):
        variable.assign(value)


def _last(history: dict[str, list]) -> dict[str, Any] | None:
    """Return the logs of the last epoch, which are given to callbacks at the end."""
    return {name: values[-1] for name, values in history.items()} or None
