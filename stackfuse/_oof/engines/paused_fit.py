"""A fit that stops wherever a network is to be trained, so that others can be trained beside it."""

import contextvars
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from greenlet import getcurrent, greenlet

from stackfuse._core import multi_input, progress, sklearn_private
from stackfuse._keras import Rows
from stackfuse._networks import BegunFit, NetworkEstimator, trained_by
from stackfuse._oof.contributions import is_network
from stackfuse._oof.jobs import Data, FoldFit, FoldJob, plain_history
from stackfuse._training import Training, prediction, train


class PausedFit:
    """The fit of one job, in a coroutine of its own.

    Whatever the estimator does in its ``fit`` is its own code: a Pipeline fits its transformers, a
    search tries its candidates. Where a network within is about to be trained, the fit stops, and
    goes on when somebody has trained it. The fit of a network itself stops once before, when it is
    built and nothing has been reported of it: then it can be given up without a trace.

    Parameters
    ----------
    job : FoldJob
    data : Data
    like : PausedFit, default=None
        Another fit of a network on the same X: one checked copy of it is enough for both.

    Attributes
    ----------
    training : Training or None
        The training that the fit waits for; None before the first and after the last.
    how : str
        How the networks within were trained.
    is_ready : bool
        Whether the fit can go on: what it waited for is done, or has failed.
    is_reported : bool
        Whether the fit has begun as a task.
    """

    def __init__(self, job: FoldJob, data: Data, like: "PausedFit | None" = None):
        self.job, self.data = job, data
        self.training: Any = None
        self.how = "one by one"
        self._begun: BegunFit | None = None
        self._like = like
        self._model: Any = None
        self._error: Exception | None = None
        self.is_ready = False
        self.is_reported = False
        self._first_values: list[np.ndarray] = []
        self._surroundings = _Surroundings()
        self._outside = getcurrent()
        self._coroutine = greenlet(self._fit)
        self._coroutine.gr_context = contextvars.copy_context()

    @property
    def has_failed(self) -> bool:
        """Whether what the fit waited for has failed; it is going to raise the error."""
        return self._error is not None

    @property
    def has_own_rows(self) -> bool:
        """Whether the rows that the network is trained on are in memory for this fit alone."""
        return not is_plain_network(self.job.estimator)

    def start(self) -> None:
        """Start, if that has not been done: the fit stops at its first network."""
        if not self._coroutine and not self._coroutine.dead:
            self.go_on()

    def report(self) -> None:
        """Report the fit as a task, if that has not been done."""
        if not self.is_reported:
            self.go_on()

    def go_on(self) -> None:
        """Go on until a network is to be trained, or the fit is done.

        Raises
        ------
        FitFailed
            If it fails.
        """
        error, self._error = self._error, None
        self.training, self.is_ready = None, False
        self._switch(self._coroutine.switch if error is None else self._coroutine.throw, error)
        if self._coroutine.dead:
            self._begun = None  # it holds rows

    def close(self) -> None:
        """Give the fit up, if it is not done."""
        if self._coroutine:
            self._switch(self._coroutine.throw, None)

    def done(self, how: str) -> None:
        """Note that the training is done, and how."""
        self.how, self.is_ready = how, True

    def begin_anew(self) -> None:
        """Undo what was trained so far, since the training of another fit has failed."""
        for variable, value in zip(self.training.model.variables, self._first_values, strict=True):
            variable.assign(value)
        self.training.optimizer_state.clear()
        self.training.history.clear()

    def failed(self, error: Exception) -> None:
        """Note that the training failed; the fit raises the error when it goes on."""
        self._error, self.is_ready = error, True

    def train_alone(self, how: str) -> None:
        """Train the network by itself."""
        try:
            train(self.training)
        except Exception as error:
            self.failed(error)
        else:
            self.done(how)

    def outcome(self) -> FoldFit:
        """Return the result of the fit; rows that are read on demand are predicted in pieces."""
        job, model, data = self.job, self._model, self.data
        with job.failing_here():
            test = job.fold.test
            if not (len(test) and multi_input.is_lazy(data.X) and is_network(model)):
                return job.outcome(model, data)._replace(how=self.how)
            n_rows = prediction.rows_per_call(Rows(data.X, model.model_, test))
            pieces = (test[start : start + n_rows] for start in range(0, len(test), n_rows))
            predict = getattr(model, job.method)
            parts = [predict(sklearn_private.safe_indexing(data.X, piece)) for piece in pieces]
            several = isinstance(parts[0], list)
            joined = [np.concatenate(p) for p in zip(*parts)] if several else np.concatenate(parts)
            return job.kept(FoldFit(model, joined, plain_history(model), self.how))

    def _switch(self, switch: Callable, error: Exception | None) -> None:
        """Switch to the coroutine until it switches back, each with its own surroundings."""
        self._outside = self._coroutine.parent = getcurrent()
        ours = _Surroundings()
        self._surroundings.restore()
        try:
            switch(*([] if error is None else [error]))
        finally:
            self._surroundings = _Surroundings()
            ours.restore()

    def _fit(self) -> None:
        job = self.job
        with job.failing_here(), trained_by(self._pause), progress.fold_named(job.name):
            self._model = model = job.replica()
            if is_plain_network(model):
                self._begin_network(model)
            self.is_reported = True
            with job.progress(model):
                if self._begun is not None:
                    model.complete(self._begun)
                    return
                X, y = (sklearn_private.safe_indexing(part, job.fold.train) for part in self.data)
                model.fit(X, y, **job.params(self.data))

    def _begin_network(self, model: NetworkEstimator) -> None:
        """Begin the fit of a network on rows of X that are not copied out."""
        X, rows = self.data.X, self.job.fold.train
        y = sklearn_private.safe_indexing(self.data.y, rows)
        self._begun = model.begin(X, y, rows, **self.job.params(self.data))
        if self._like is not None and self._like._begun is not None:
            self._begun.share_x(self._like._begun)
        if self._begun.training is not None:
            self._pause(self._begun.training)

    def _pause(self, training: Training) -> None:
        """Stop until the training is done."""
        self.training = training
        if self.has_own_rows:  # another fit than that of a network may go on after a failure
            self._first_values = [variable.numpy() for variable in training.model.variables]
        self._outside.switch()


def is_plain_network(estimator) -> bool:
    """Whether an estimator is a network that is fitted in the two phases of its class alone."""
    return is_network(estimator) and type(estimator).fit is NetworkEstimator.fit


class _Surroundings:
    """Settings of the whole thread by ``with`` statements around a fit, to be set again.

    Fits that stop within such statements leave them in another order than they entered them.
    """

    def __init__(self):
        self.filters, self.show = warnings.filters, warnings.showwarning
        self.config = sklearn.get_config()

    def restore(self) -> None:
        """Set it again."""
        warnings.filters, warnings.showwarning = self.filters, self.show
        sklearn.set_config(**self.config)
