"""Progress: every fit inside a fit is a task of scikit-learn's callbacks."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.console import Console
from sklearn.callback import ProgressBar

from stackfuse._core.sklearn_private import has_callbacks, outer_context


@contextmanager
def progress_bars(estimator) -> Iterator[None]:
    """Show progress bars with ``verbose=1``, unless the caller has set up callbacks.

    Inside a pipeline, a search or another stack without callbacks the bars are those of this
    estimator alone: scikit-learn sets up bars for the outermost estimator only.
    """
    if not estimator.verbose or has_callbacks(estimator):
        yield
        return
    around = outer_context(estimator)
    for name in around:
        delattr(estimator, name)
    estimator.set_callbacks(ProgressBar())
    try:
        yield
    finally:
        estimator.set_callbacks()
        vars(estimator).update(around)


def show(what: str, by_name: dict[str, str]) -> None:
    """Show a line that says something of each of several things."""
    each = ", ".join(f"{name} {said}" for name, said in by_name.items())
    Console().print(f"{what}: {each}.", markup=False, highlight=False, soft_wrap=True)


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


class FitTask:
    """The task of one fit: a context around it, which is entered once.

    Attributes
    ----------
    begun : bool
        Whether it has been entered.
    """

    def __init__(self, context, name: str, owner):
        self._context = context
        self._name = name
        self._owner = owner
        self.begun = False

    def __call__(self, inner) -> AbstractContextManager[None]:
        """Return the context; an inner estimator reports its own tasks below this one."""
        self.begun = True
        return task(self._context, self._name, owner=self._owner, inner=inner)

    def done_elsewhere(self) -> None:
        """Report a fit that was found, or was made in another process."""
        if not self.begun:
            with self(None):
                pass


@contextmanager
def tasks(
    context, name: str, names: Sequence[str], *, owner, data: dict[str, Any]
) -> Iterator[list[FitTask]]:
    """Report several fits as the parts of one task.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
    name : str
    names : sequence of str
        One per fit.
    owner : estimator
        Being fitted.
    data : dict
        The X and y that it is fitted on.
    """
    part = context.subcontext(task_name=name, max_subtasks=len(names))
    part.call_on_fit_task_begin(estimator=owner, **data)
    try:
        yield [FitTask(part, each, owner) for each in names]
    finally:
        part.call_on_fit_task_end(estimator=owner, **data)
