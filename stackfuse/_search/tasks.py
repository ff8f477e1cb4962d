"""The tasks of scikit-learn's callbacks, begun where a fit is made in advance."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any


class EvaluationTasks:
    """Stands for the context of a search, and remembers the task of each evaluation.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
    """

    def __init__(self, context):
        self._context = context
        self._tasks: list[EvaluationTask] = []

    def subcontext(self, **settings: Any) -> "EvaluationTask":
        """Return the task of the next evaluation."""
        self._tasks.append(EvaluationTask(self._context.subcontext(**settings)))
        return self._tasks[-1]

    def __getitem__(self, number: int) -> "EvaluationTask":
        return self._tasks[number]


class EvaluationTask:
    """The task of fitting and scoring one candidate on one fold.

    scikit-learn enters it when it fits. A fit that was made in advance has entered it before, and
    has reported its own tasks below it.

    Attributes
    ----------
    answered : bool
        Whether the fit was made in advance.
    """

    def __init__(self, context):
        self._context = context
        self._begun = False
        self.answered = False

    @contextmanager
    def around(self, replica, **data: Any) -> Iterator[None]:
        """Enter the task for the fit of a replica that is made in advance.

        Parameters
        ----------
        replica : estimator
            Reports its own tasks below this one, if it knows how to.
        **data : object
            For the callbacks.
        """
        with self._context.propagate_callback_context(replica):
            self.call_on_fit_task_begin(**data)
            yield

    def propagate_callback_context(self, estimator) -> AbstractContextManager[None]:
        """Let an estimator report below this task, unless its fit has been made in advance."""
        if self.answered:
            return nullcontext()
        return self._context.propagate_callback_context(estimator)

    def call_on_fit_task_begin(self, **data: Any) -> None:
        """Report that the task begins, once."""
        if not self._begun:
            self._begun = True
            self._context.call_on_fit_task_begin(**data)

    def call_on_fit_task_end(self, **data: Any) -> None:
        """Report that the task ends."""
        self._context.call_on_fit_task_end(**data)
