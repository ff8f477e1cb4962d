"""All replicas of one network in one compiled graph."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from stackfuse._checks import CannotFuse
from stackfuse._network import NetworkEstimator
from stackfuse._program import Training
from stackfuse._replicas import check_fusable, train_together, worth_a_graph
from stackfuse._store import Entry, FoldFit
from stackfuse.engines._base import Engine, FoldFits, replica


class FusedEngine:
    """The fold replicas of a network, trained side by side; see :mod:`stackfuse._replicas`.

    Parameters
    ----------
    otherwise : Engine, default=None
        Fits what cannot be fused, or would gain nothing; by default the first is an error and the
        second is fused all the same.
    """

    def __init__(self, otherwise: Engine | None = None):
        self.otherwise = otherwise

    def fit_folds(
        self,
        estimator,
        X,
        y,
        folds,
        *,
        method,
        fit_params=None,
        seeds=None,
        watch=None,
        entries=None,
    ) -> FoldFits:
        """See :class:`stackfuse.engines.Engine`.

        Raises
        ------
        CannotFuse
            With the reason, if there is no other engine.
        """
        seeds = seeds or [None] * len(folds)
        places = entries or [None] * len(folds)
        fits = {k: entry.recall() if entry else None for k, entry in enumerate(places)}

        def fit_on_fold(k: int, learn: Callable[[Training], None]):
            """Return a replica that hands its training over to `learn`."""
            twin = replica(estimator, seeds[k], folds, k)
            rows = folds[k].train
            params = _check_method_params(X, fit_params or {}, indices=rows)
            with watch(k, twin) if watch and learn is not check else nullcontext():
                try:
                    twin.fit_on(X, _safe_indexing(y, rows), rows, learn, **params)
                except CannotFuse:
                    raise
                except Exception as error:
                    vars(error).setdefault("fold", k)
                    raise
            return twin

        def check(training: Training) -> None:
            check_fusable([training])
            if self.otherwise and not worth_a_graph(training, len(missing)):
                raise CannotFuse("so few steps are done sooner in the loop")

        missing = [k for k, fit in fits.items() if fit is None]
        try:
            if missing:
                if not isinstance(estimator, NetworkEstimator):
                    raise CannotFuse(f"{type(estimator).__name__} is no network of ours")
                fit_on_fold(missing[0], check)
        except CannotFuse:
            if self.otherwise is None:
                raise
            return self.otherwise.fit_folds(
                estimator,
                X,
                y,
                folds,
                method=method,
                fit_params=fit_params,
                seeds=seeds,
                watch=watch,
                entries=entries,
            )
        with ExitStack() as locks:
            for k in sorted(missing, key=lambda k: getattr(places[k], "key", "")):
                entry = places[k]
                if entry is not None:
                    locks.enter_context(entry.alone())
                    fits[k] = entry.recall()  # another process may have been at it
            missing = [k for k in missing if fits[k] is None]
            for k, twin in _fit_together(fit_on_fold, missing).items():
                fits[k] = _outcome(twin, X, folds[k].test, k, method)
                _keep(places[k], fits[k])
        return FoldFits(*map(list, zip(*[fits[k] for k in range(len(folds))])))


def _fit_together(fit_on_fold: Callable, folds: Sequence[int]) -> dict[int, Any]:
    """Return fitted replicas by their folds: the fit of each waits in the middle for the others."""
    trainings: list[Training] = []
    twins: dict[int, Any] = {}

    def begin(place: int) -> None:
        if place == len(folds):
            try:
                train_together(trainings)
            except FloatingPointError as error:
                vars(error)["fold"] = folds[vars(error)["replica"]]
                raise
            return

        def learn(training: Training) -> None:
            trainings.append(training)
            training.share_x(trainings[0])
            begin(place + 1)

        twins[folds[place]] = fit_on_fold(folds[place], learn)

    if folds:
        begin(0)
    return twins


def _outcome(twin, X, test, k: int, method: str) -> FoldFit:
    try:
        predictions = getattr(twin, method)(_safe_indexing(X, test)) if len(test) else None
    except Exception as error:
        vars(error).setdefault("fold", k)
        raise
    return FoldFit(twin, predictions, twin.history_)


def _keep(entry: Entry | None, fit: FoldFit | None) -> None:
    if entry is not None and fit is not None:
        entry.commit(fit)
