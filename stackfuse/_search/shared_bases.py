"""A search over meta-learners fits the bases of a stack once for each fold, and asks them once."""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import joblib
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from stackfuse._core import fitting, sklearn_private
from stackfuse._search.fit_times import FitTimes
from stackfuse._stacking import Stack


def can_share(estimator, n_jobs: int | None) -> bool:
    """Whether the candidates of a search can share the fits of bases: of a stack, in one process.

    With metadata routing what reaches which step is left to scikit-learn.
    """
    one_process = joblib.effective_n_jobs(n_jobs) == 1
    return one_process and stack_in(estimator) is not None and not sklearn_private.routing_enabled()


def stack_in(estimator) -> Stack | None:
    """Return the stack that an estimator is, or that ends a pipeline, None if there is none."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    return last if isinstance(last, Stack) else None


@dataclass
class SharedBases:
    """The fits of some candidates on some folds, in scikit-learn's order: fold after fold of each.

    Attributes
    ----------
    estimator : stack, or pipeline that ends in one
        Cloned, never fitted itself.
    candidates : list of dict
        The parameters of each.
    n_folds : int
    """

    estimator: Any
    candidates: list[dict[str, Any]]
    n_folds: int

    _n_cloned: int = field(default=0, init=False)
    _fitted: dict[tuple, Any] = field(default_factory=dict, init=False)

    def __post_init__(self):
        self._prefix = ""
        if isinstance(self.estimator, Pipeline):
            self._prefix = f"{self.estimator.steps[-1][0]}__"
        self._keys = [self._key_of_bases(candidate) for candidate in self.candidates]
        self._wanted = Counter((fold, key) for key in self._keys for fold in range(self.n_folds))
        self.times = FitTimes(len(self.candidates) * self.n_folds)

    def next_clone(self) -> Any:
        """Return a clone of the stack, whose next fit uses bases that are fitted already.

        When all fits have been asked for, it is a clone like any other.
        """
        number = self._n_cloned
        twin = self._clone(number)
        self._n_cloned += 1
        if number < len(self.times.seconds):
            vars(twin)["fit"] = partial(self._fit, twin, number)
        return twin

    def _clone(self, number: int) -> Any:
        """Return a clone; one whose bases will not be fitted has those of the original.

        To clone the bases takes longer than to fit a meta-learner.
        """
        candidate, fold = divmod(number, self.n_folds)
        is_last = number >= len(self.times.seconds)
        if is_last or isinstance(self.estimator, Pipeline) or self._keys[candidate]:
            return clone(self.estimator)
        if (fold, self._keys[candidate]) not in self._fitted:
            return clone(self.estimator)
        twin = fitting.as_it_is(self.estimator)
        twin.final_estimator = clone(self.estimator.final_estimator, safe=False)
        vars(twin)["set_params"] = partial(self._set_final, twin)
        return twin

    def _set_final(self, twin, **params) -> Any:
        """Stand for the ``set_params`` of a clone, once: those of bases are not looked at."""
        del vars(twin)["set_params"]
        final, start = params.get("final_estimator", twin.final_estimator), "final_estimator__"
        nested = {n.removeprefix(start): v for n, v in params.items() if n.startswith(start)}
        if nested and (isinstance(final, type) or not hasattr(final, "set_params")):
            return twin.set_params(**params)
        twin.final_estimator = final.set_params(**nested) if nested else final
        return twin

    def _fit(self, twin, number: int, X, y, **params) -> Any:
        """Stand for the ``fit`` of a clone, once."""
        del vars(twin)["fit"]
        candidate, fold = divmod(number, self.n_folds)
        key = (fold, self._keys[candidate])
        self._wanted[key] -= 1
        fitted = self._fitted.get(key)
        with self.times.of(number):
            if fitted is None or not self._fit_on_bases_of(fitted, twin, X, params):
                twin.fit(X, y, **params)
        if self._wanted[key]:
            if fitted is None:
                self._fitted[key] = twin
                if (stack := stack_in(twin)) is not None:
                    stack._share_columns()
        else:
            self._fitted.pop(key, None)
        return twin

    def _key_of_bases(self, candidate: dict[str, Any]) -> tuple:
        """Return the identity of a candidate's bases."""
        meta_learner = f"{self._prefix}final_estimator"
        return tuple(
            (name, id(value))
            for name, value in candidate.items()
            if name != meta_learner and not name.startswith(f"{meta_learner}__")
        )

    def _fit_on_bases_of(self, fitted, twin, X, params: dict[str, Any]) -> bool:
        """Fit the meta-learner of a clone on fitted bases; return whether that is possible."""
        source, stack = stack_in(fitted), stack_in(twin)
        if source is None or stack is None:  # a candidate puts something else in its place
            return False
        if isinstance(twin, Pipeline):
            if stack._passes_through():  # the columns of X as the steps before it have left them
                return False
            twin.steps = [*fitted.steps[:-1], twin.steps[-1]]
        own = {
            n.removeprefix(self._prefix): v for n, v in params.items() if n.startswith(self._prefix)
        }
        own.pop("groups", None)
        stack.fit_on_bases_of(source, X, **own)
        return True
