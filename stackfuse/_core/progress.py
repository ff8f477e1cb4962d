"""Progress: report each fit inside a fit as a task to scikit-learn's callbacks."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from rich.console import Console
from sklearn.callback import ProgressBar

from stackfuse._core.messages import printable
from stackfuse._core.sklearn_private import has_callbacks, outer_context

_fold: ContextVar[str] = ContextVar("fold", default="")


@contextmanager
def fold_named(name: str) -> Iterator[None]:
    """Give the fits within the name of a fold; within another fold it follows that one's name."""
    token = _fold.set(f"{_fold.get()}.{name}" if _fold.get() else name)
    try:
        yield
    finally:
        _fold.reset(token)


def name_of_fold() -> str:
    """Return the name of the fold that is being fitted: its number, or "all" for all rows."""
    return _fold.get() or "all"


@contextmanager
def progress_bars(estimator) -> Iterator[None]:
    """Show progress bars with ``verbose=1``, unless the caller has set up callbacks.

    Inside a pipeline, a search or another stack without callbacks the bars are those of this
    estimator alone: scikit-learn sets up bars for the outermost estimator only.
    """
    if not estimator.verbose or has_callbacks(estimator):
        yield
        return
    saved = outer_context(estimator)
    for name in saved:
        delattr(estimator, name)
    estimator.set_callbacks(ProgressBar())
    try:
        yield
    finally:
        estimator.set_callbacks()
        vars(estimator).update(saved)


def show(what: str, by_name: dict[str, str]) -> None:
    """Show a line that says something of each of several things."""
    each = ", ".join(f"{printable(name)} {said}" for name, said in by_name.items())
    Console().print(f"{what}: {each}.", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def task(context, name: str, *, owner, inner) -> Iterator[None]:
    """Report the fit of an inner estimator as a task of its owner.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
        The task that this one belongs to.
    name : str
    owner, inner : estimator
        The inner estimator reports its own tasks below this one, if it supports callbacks.
    """
    part = context.subcontext(task_name=printable(name))
    if hasattr(inner, "set_callbacks"):
        with part.propagate_callback_context(inner):
            part.call_on_fit_task_begin(estimator=owner)
            yield
    else:
        part.call_on_fit_task_begin(estimator=owner)
        yield
    part.call_on_fit_task_end(estimator=owner)


class FitTask:
    """The task of one fit, used once as a context around the fit.

    Attributes
    ----------
    begun : bool
        Whether the fit has begun.
    """

    def __init__(self, context, name: str, owner):
        self._context = context
        self._name = name
        self._owner = owner
        self.begun = False

    def __call__(self, inner) -> AbstractContextManager[None]:
        """Return the context of a fit; the inner estimator reports its own tasks below it."""
        self.begun = True
        return task(self._context, self._name, owner=self._owner, inner=inner)

    def report_as_done(self) -> None:
        """Report a fit that was recalled, or made in another process, as done."""
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
        The estimator that is being fitted.
    data : dict
        The X and y that it is fitted on.
    """
    part = context.subcontext(task_name=printable(name), max_subtasks=len(names))
    part.call_on_fit_task_begin(estimator=owner, **data)
    try:
        yield [FitTask(part, each, owner) for each in names]
    finally:
        part.call_on_fit_task_end(estimator=owner, **data)
