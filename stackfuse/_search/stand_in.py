"""Stand-ins for an estimator and a splitter in scikit-learn's loops: they plan the fits.

scikit-learn's searches and cross-validation clone an estimator for every fit, set the parameters
of the candidate, fit the clone on the rows of a fold, and score it. All of that is left to them.
Only the clone's ``fit`` is answered with a model that an engine has trained already, on the same
rows with the same parameters. With one job at a time scikit-learn makes the clones one after
another: the number of a clone says which fit it is for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
    process_routing,
)

from stackfuse._core import messages, sklearn_private
from stackfuse._oof import contributions, jobs
from stackfuse._search.fit_times import FitTimes
from stackfuse._search.planned_fits import PlannedFits
from stackfuse._search.shared_bases import SharedBases
from stackfuse._search.tasks import EvaluationTasks


def check_estimator(estimator) -> None:
    """Raise TypeError unless an estimator is one, and no class of them."""
    if isinstance(estimator, type):
        name = estimator.__name__
        raise TypeError(f"estimator is the class {name}: pass an instance, {name}().")
    if not hasattr(estimator, "fit"):
        shown = messages.in_short(estimator)
        raise TypeError(f"estimator must be an estimator, with a method fit, got {shown}.")
    if type(estimator).__module__.startswith("keras.") and not hasattr(estimator, "get_params"):
        shown = messages.in_short(estimator)
        raise TypeError(
            f"estimator must be an estimator, got the Keras model {shown}: wrap it, "
            "sf.KerasClassifier(model)."
        )


def can_plan(estimator, values: Iterable = ()) -> bool:
    """Whether fits can be planned, and gain by it: an estimator, or a value for one, has a network.

    They gain nothing where the estimator trains its networks by an engine of its own, as a stack
    does. They cannot be planned where joblib sends even single jobs elsewhere, as Dask does.
    """
    if joblib.effective_n_jobs(1) != 1 or not hasattr(estimator, "get_params"):
        return False
    if contributions.has_engine(estimator):
        return False
    values = [value for value in values if isinstance(value, BaseEstimator)]
    return any(map(contributions.holds_network, [estimator, *values]))


def refuse_cluster(engine: Any, estimator: Any) -> None:
    """Raise ValueError if an engine names a cluster where no fit is going to be planned for it."""
    if not isinstance(engine, str) or engine not in ("dask", "ray"):
        return
    name = type(estimator).__name__
    instead = f"send all fits there with joblib.parallel_config({engine!r}), and leave engine out"
    if hasattr(estimator, "get_params") and contributions.has_engine(estimator):
        instead = f"write {name}(engine={engine!r}), or {instead}"
    raise ValueError(
        f"engine={engine!r} runs the fits of networks that a search or cross-validation plans, and "
        f"it plans none of {name}: {instead}."
    )


@dataclass
class StandIn:
    """A clone of an estimator: once folds are drawn, the fits of its own clones are answered.

    Attributes
    ----------
    estimator : estimator
    engine : Engine
    params : mapping of str to object
        Those of them that scikit-learn routes to the estimator are passed to fit.
    caller : estimator or None
        The search.
    shares_bases : bool
        Whether candidates use the same fits of a stack's bases.
    """

    estimator: Any
    engine: Any
    params: Mapping[str, Any]
    caller: Any = None
    shares_bases: bool = False

    planned: PlannedFits | SharedBases | None = field(default=None, init=False)
    _times: list[FitTimes] = field(default_factory=list, init=False)

    @property
    def seconds(self) -> np.ndarray:
        """How long each fit took, in the order in which scikit-learn asked for them."""
        return np.concatenate([times.seconds for times in self._times])

    @contextmanager
    def answering(self) -> Iterator[Any]:
        """Yield the clone. Afterwards it is a clone like any other."""
        twin = clone(self.estimator)
        vars(twin)["__sklearn_clone__"] = lambda: (
            twin if self.planned is None else self.planned.next_clone()
        )
        try:
            yield twin
        finally:
            del vars(twin)["__sklearn_clone__"]

    def plan(
        self, X, y, splits: list, candidates: list[dict], tasks: EvaluationTasks | None = None
    ) -> None:
        """Plan to fit candidates on folds.

        Parameters
        ----------
        X, y : array-like of shape (n_samples, ...)
        splits : list of (train, test)
            Row numbers, or masks.
        candidates : list of dict
            The parameters of each.
        tasks : EvaluationTasks or None, default=None
        """
        if self.shares_bases:
            self.planned = SharedBases(clone(self.estimator), candidates, len(splits))
        else:
            self.planned = self._planned_fits(X, y, splits, candidates, tasks)
        self._times.append(self.planned.times)

    def _planned_fits(self, X, y, splits, candidates, tasks) -> PlannedFits:
        rows = [np.asarray(train) for train, _ in splits]
        rows = [np.flatnonzero(part) if part.dtype == bool else part for part in rows]
        return PlannedFits(
            clone(self.estimator),
            candidates,
            [jobs.Fold(part, np.arange(0)) for part in rows],
            jobs.Data(X, y),
            _routed_to_fit(self.estimator, self.params),
            self.engine,
            tasks,
            self.caller,
        )


def _routed_to_fit(estimator, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that scikit-learn passes to an estimator's fit."""
    if not sklearn_private.routing_enabled():
        return dict(params)
    router = MetadataRouter(owner="cross-validation").add(
        estimator=estimator, method_mapping=MethodMapping().add(caller="fit", callee="fit")
    )
    consumed = router.consumes("fit", params)
    return process_routing(router, "fit", **{k: params[k] for k in consumed}).estimator.fit


@dataclass
class RecordedFolds:
    """A splitter that says which folds it gave.

    Attributes
    ----------
    cv : splitter
    record : callable
        Takes X, y and the list of (train, test).
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Split in place of the one that scikit-learn trains on.
    """

    cv: Any
    record: Callable[[Any, Any, list], None]
    y: Any = None

    def split(self, X, y=None, **params) -> Iterator[tuple]:
        """Return the folds."""
        splits = list(self.cv.split(X, y if self.y is None else self.y, **params))
        self.record(X, y, splits)
        return iter(splits)

    def get_n_splits(self, X=None, y=None, **params) -> int:
        """Return the number of folds."""
        return self.cv.get_n_splits(X, y if self.y is None else self.y, **params)

    def get_metadata_routing(self) -> Any:
        """Return which metadata the splitter requests."""
        return get_routing_for_object(self.cv)
