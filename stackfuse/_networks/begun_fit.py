"""A fit between its two phases, who trains its network, and how its epochs are reported."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from stackfuse._core import sklearn_private
from stackfuse._training import Training, copy_state, train

#: Takes a Training, and returns when it is done.
Trainer = Callable[[Training], None]

_trainer: ContextVar[Trainer] = ContextVar("trainer", default=train)


@contextmanager
def trained_by(trainer: Trainer) -> Iterator[None]:
    """Let somebody else train the networks that are fitted within, however deep they lie.

    Other threads are not concerned.

    Parameters
    ----------
    trainer : callable
        Takes each Training, and returns when it is done.
    """
    token = _trainer.set(trainer)
    try:
        yield
    finally:
        _trainer.reset(token)


def present_trainer() -> Trainer:
    """Return who trains the networks that are fitted now; by default each trains by itself."""
    return _trainer.get()


@dataclass
class BegunFit:
    """A fit that is ready to train. Nothing outside the estimator has changed.

    Attributes
    ----------
    X : array-like, sparse matrix or MultiInput of shape (n_all_samples, ...)
        As checked.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    rows : ndarray of int of shape (n_samples,), or None
        The rows of X that y belongs to; None for all.
    reset : bool
        Whether the network is new.
    training : Training or None
        None if there are no epochs.
    """

    X: Any
    y: Any
    rows: np.ndarray | None
    reset: bool
    training: Training | None = None

    def share_x(self, other: "BegunFit") -> None:
        """Read the rows of another fit's X, which is equal: one copy of it is enough."""
        self.X = other.X
        if self.training is not None and other.training is not None:
            self.training.share_x(other.training)

    @property
    def data(self) -> dict[str, Any]:
        """The X and y for scikit-learn's callbacks; some rows are read on demand."""
        X, rows = self.X, self.rows
        return {
            "X": X if rows is None else lambda: sklearn_private.safe_indexing(X, rows),
            "y": self.y,
        }


def epochs_as_tasks(estimator, context, X, y):
    """Return the Keras callback that reports every epoch as a task of scikit-learn's callbacks.

    Parameters
    ----------
    estimator : NetworkEstimator
        The estimator in its fit.
    context : sklearn.callback.CallbackContext
        The context of its fit.
    X, y : array-like
        The data of the fit.
    """

    class Epochs(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.task = context.subcontext(task_name="epoch")
            self.task.call_on_fit_task_begin(estimator=estimator, X=X, y=y)

        def on_epoch_end(self, epoch, logs=None):
            stop = self.task.call_on_fit_task_end(
                estimator=estimator, X=X, y=y, reconstruction_attributes=self.fitted
            )
            if stop:
                self.model.stop_training = True

        def fitted(self) -> dict:
            """Return the attributes with which the estimator predicts as after this epoch."""
            if self.model is not estimator.model_:
                copy_state(self.model, estimator.model_)
            return {"model_": estimator.model_}

    return Epochs()
