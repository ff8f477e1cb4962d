"""Progress: every fit inside a fit is a task of scikit-learn's callbacks."""

from collections.abc import Iterator
from contextlib import contextmanager

from sklearn.callback import ProgressBar

from stackfuse._training.program import copy_state


@contextmanager
def shown(estimator) -> Iterator[None]:
    """Show progress bars with ``verbose=1``, unless the caller has set up callbacks."""
    if not estimator.verbose or hasattr(estimator, "_skl_callbacks"):
        yield
        return
    estimator.set_callbacks(ProgressBar())
    try:
        yield
    finally:
        estimator.set_callbacks()


@contextmanager
def task(context, name: str, *, owner, inner) -> Iterator[None]:
    """Report the fit of an inner estimator as a task of its owner.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
        The task that this one is a part of.
    name : str
    owner, inner : estimator
        The inner estimator reports its own tasks below this one, if it knows how to.
    """
    part = context.subcontext(task_name=name)
    if hasattr(inner, "set_callbacks"):
        with part.propagate_callback_context(inner):
            part.call_on_fit_task_begin(estimator=owner)
            yield
    else:
        part.call_on_fit_task_begin(estimator=owner)
        yield
    part.call_on_fit_task_end(estimator=owner)


def epochs_as_tasks(estimator, context, X, y):
    """Return the Keras callback that reports every epoch as a task of scikit-learn's callbacks.

    Parameters
    ----------
    estimator : NetworkEstimator
        Being fitted.
    context : sklearn.callback.CallbackContext
        Of its fit.
    X, y : array-like
        What it is fitted on.
    """
    import keras

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
            """Return what makes the estimator predict as after this epoch."""
            if self.model is not estimator.model_:
                copy_state(self.model, estimator.model_)
            return {"model_": estimator.model_}

    return Epochs()
