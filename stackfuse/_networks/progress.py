"""Epochs as tasks of scikit-learn's callbacks."""

import keras

from stackfuse._training import copy_state


def epochs_as_tasks(estimator, context, X, y):
    """Return the Keras callback that reports every epoch as a task of scikit-learn's callbacks.

    Parameters
    ----------
    estimator : NetworkEstimator
        The estimator in its fit.
    context : sklearn.callback.CallbackContext
        Of its fit.
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
