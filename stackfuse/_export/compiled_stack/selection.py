"""The bases of a fitted stack that are best together and answer in time."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import NotConvertible, fitting, messages, targets
from stackfuse._export.compiled_stack.compiling import compiled
from stackfuse._export.compiled_stack.latency import Latency
from stackfuse._stacking import Stack

#: Bases that are expected to take so much longer than they may, together, are not compiled.
_CLEARLY = 1.25

#: The limits that are allowed.
_SETTINGS = {
    "max_latency": fitting.Wanted(fitting.is_limit, "a positive number of milliseconds"),
}


def select(
    stack: Any,
    rows: Any,
    *,
    max_latency: float,
    X: Any = None,
    sample_weight: Any = None,
    scoring: Any = None,
) -> Any:
    """Return a stack over those bases of a fitted one that are best together and answer in time.

    No base is fitted: the meta-learner is trained anew on the out-of-fold predictions of the bases
    that stay. Sets of bases are scored as in ``stack.report()``, and the best whose compiled stack
    keeps to the time is taken. Compiling takes some seconds for each set that is tried.

    Parameters
    ----------
    stack : fitted StackingClassifier or StackingRegressor
        Or a search whose best estimator is one. It stays as it is.
    rows : array-like of shape (n_rows, ...)
        Rows that are asked for in one call; ``X[:1]`` for one row at a time.
    max_latency : float
        Milliseconds that the median call of ``compiled(stack)`` may take on this machine, see
        :meth:`CompiledStack.latency`.
    X : array-like of shape (n_samples, ...), default=None
        The rows of fit; needed with `passthrough` only.
    sample_weight : array-like of shape (n_samples,), default=None
        As in fit.
    scoring : str or callable, default=None
        As in ``stack.report()``.

    Returns
    -------
    stack : fitted stack
        It predicts, compiles and exports as every other. A base that cannot be compiled is not
        among its bases.

    Raises
    ------
    ValueError
        If no base answers in time; the message says how long the fastest takes.
    NotConvertible
        If no base can be compiled.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True)
    >>> bases = [("linear", LogisticRegression(max_iter=1000)), ("bayes", GaussianNB())]
    >>> stack = sf.StackingClassifier(bases, cv=3).fit(X, y)
    >>> quick = sf.select(stack, X[:1], max_latency=1000)
    >>> [name for name, _ in quick.estimators]
    ['linear', 'bayes']
    """
    fitting.check_settings({"max_latency": max_latency}, _SETTINGS)
    stack = Stack._within(stack, "select")
    check_is_fitted(stack)
    targets.n_rows(rows, "rows")
    if scoring is not None:
        get_scorer(scoring)  # raises now if there is none

    def of_bases(names) -> Any:
        return stack.of_bases(names, X, sample_weight=sample_weight)

    def score(smaller) -> float:
        return smaller._score_of_folds(X, scoring, sample_weight)

    trial = _Trial(of_bases, score, rows, max_latency)
    return trial.best_of([name for name, _ in stack._columns_by_base()])


@dataclass
class _Trial:
    """Sets of bases, the best first, until one answers in time.

    A set that is too slow is replaced by the sets with one base less. The time of a set is
    estimated from the times of its bases, because it would take minutes to compile each set.

    Attributes
    ----------
    of_bases : callable
        From names of bases to a stack over these.
    score : callable
        From a stack to its score; greater is better.
    rows : array-like of shape (n_rows, ...)
    most : float
        Milliseconds.
    """

    of_bases: Callable[[list[str]], Any]
    score: Callable[[Any], float]
    rows: Any
    most: float
    alone: dict[str, float] = field(default_factory=dict)
    shared: float = 0.0

    def best_of(self, names: list[str]) -> Any:
        """Return the stack over the best set of bases that answers in time."""
        usable, whole = self._usable(names), None
        if len(usable) > 1:
            whole = self._latency(self.of_bases(usable)).median
            if whole <= self.most:
                return self.of_bases(usable)
            # The time of each base alone includes the time that every call takes.
            over = sum(self.alone[name] for name in usable) - whole
            self.shared = float(np.clip(over / (len(usable) - 1), 0, min(self.alone.values())))
        waiting: list[tuple[float, int, tuple[str, ...]]] = []
        seen: set[tuple[str, ...]] = set()

        def wait_for(some: tuple[str, ...]) -> None:
            if some not in seen:
                seen.add(some)
                heapq.heappush(waiting, (-self.score(self.of_bases(list(some))), len(some), some))

        wait_for(tuple(usable))
        while True:  # single bases answer in time
            *_, some = heapq.heappop(waiting)
            if self._in_time(some, is_whole=whole is not None and len(some) == len(usable)):
                return self.of_bases(list(some))
            for name in some:
                wait_for(tuple(other for other in some if other != name))

    def _usable(self, names: list[str]) -> list[str]:
        """Return the bases that answer in time by themselves."""
        refused: list[NotConvertible] = []
        for name in names:
            try:
                self.alone[name] = self._latency(self.of_bases([name])).median
            except NotConvertible as reason:
                refused.append(reason)
        if not self.alone:
            raise refused[0]
        fastest = min(self.alone, key=self.alone.__getitem__)
        if self.alone[fastest] > self.most:
            raise ValueError(
                f"No base answers {messages.counted(len(self.rows), 'row')} within "
                f"max_latency={self.most:g} ms: the fastest, {fastest!r} alone, takes "
                f"{self.alone[fastest]:.3g} ms. Allow more time, or pass fewer rows."
            )
        return [name for name, took in self.alone.items() if took <= self.most]

    def _in_time(self, some: tuple[str, ...], *, is_whole: bool) -> bool:
        """Whether a set of bases answers in time; all of them have been tried before."""
        if is_whole:
            return False
        if len(some) == 1:
            return True
        expected = sum(self.alone[name] for name in some) - (len(some) - 1) * self.shared
        if expected > _CLEARLY * self.most:
            return False
        return self._latency(self.of_bases(list(some))).median <= self.most

    def _latency(self, stack) -> Latency:
        return compiled(stack).latency(self.rows)
