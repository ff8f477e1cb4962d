"""All replicas of one network at once, in compiled graphs."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np

from stackfuse._core import errors, multi_input, sklearn_private
from stackfuse._keras import Rows
from stackfuse._networks import BegunFit, NetworkEstimator
from stackfuse._oof.engines.base import Engine
from stackfuse._oof.fits import (
    FoldFit,
    FoldFits,
    plain_history,
)
from stackfuse._oof.replicas import replica
from stackfuse._training import (
    SideBySide,
    Training,
    check_replica,
    groups_of,
    prediction,
    train,
    worth_a_graph,
)


class SideBySideEngine:
    """The fold replicas of a network, trained side by side.

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
        keep=None,
    ) -> FoldFits:
        """See :class:`stackfuse.engines.Engine`.

        Raises
        ------
        CannotTrainSideBySide
            With the reason, if there is no other engine.
        """
        n_folds = len(folds)
        if not n_folds:
            return FoldFits([], [], [])
        seeds = seeds or [None] * n_folds
        places: list[Any] = list(entries or [None] * n_folds)
        keep = list(keep or [True] * n_folds)
        job: dict[str, Any] = {"method": method, "fit_params": fit_params}
        if not isinstance(estimator, NetworkEstimator):
            if self.otherwise is None:
                raise errors.CannotTrainSideBySide(
                    f"{type(estimator).__name__} is no network of ours"
                )
            job |= {"seeds": seeds, "watch": watch, "entries": entries, "keep": keep}
            return self.otherwise.fit_folds(estimator, X, y, folds, **job)

        def prepare(k: int) -> tuple[Any, BegunFit]:
            """Return a replica, and its fit up to the training."""
            twin, rows = replica(estimator, seeds[k], folds, k), folds[k].train
            params = sklearn_private.check_method_params(X, fit_params or {}, indices=rows)
            with _in_fold(k):
                return twin, twin.begin(X, sklearn_private.safe_indexing(y, rows), rows, **params)

        def finish(k: int, twin, prepared: BegunFit, by: Callable[[Training], None]) -> None:
            with watch(k, twin) if watch else nullcontext(), _in_fold(k):
                twin.complete(prepared, by)

        fits: dict[int, Any] = {
            k: entry.recall(estimator) if entry else None for k, entry in enumerate(places)
        }
        missing = [k for k, fit in fits.items() if fit is None]
        with ExitStack() as locks:
            for k in sorted(missing, key=lambda k: getattr(places[k], "key", "")):
                if places[k] is not None:
                    locks.enter_context(places[k].alone())
                    fits[k] = places[k].recall(estimator)  # another process may have been at it
            missing = [k for k in missing if fits[k] is None]
            for group in groups_of(missing):
                try:
                    twins = _fit_together(prepare, finish, group, self._is_better_alone)
                except errors.CannotTrainSideBySide:
                    if self.otherwise is None:
                        raise
                    break
                together = len(twins) == len(group)  # or the first was better alone
                for k in sorted(twins):
                    fit = _outcome(twins.pop(k), X, folds[k].test, k, method)
                    if places[k] is not None:
                        places[k].commit(fit)
                    fits[k] = fit if keep[k] else fit.without_model()
                if not together:
                    break
        left = [k for k in missing if fits[k] is None]
        if left and self.otherwise is not None:
            apart = _picked(left, seeds, places, keep, watch)
            try:
                rest = self.otherwise.fit_folds(
                    estimator, X, y, [folds[k] for k in left], **job, **apart
                )
            except Exception as error:
                if "fold" in vars(error):
                    vars(error)["fold"] = left[vars(error)["fold"]]
                raise
            fits |= {k: FoldFit(*fit) for k, fit in zip(left, zip(*rest))}
        return FoldFits(*map(list, zip(*[fits[k] for k in range(n_folds)])))

    def _is_better_alone(self, training: Training, n_replicas: int) -> bool:
        """Whether replicas like this one cannot be fused, or gain nothing by it.

        Raises
        ------
        CannotTrainSideBySide
            If they cannot, and there is no other engine.
        """
        try:
            check_replica(training)
        except errors.CannotTrainSideBySide:
            if self.otherwise is None:
                raise
            return True
        return self.otherwise is not None and not worth_a_graph(training, n_replicas)


def _fit_together(
    prepare: Callable[[int], tuple[Any, BegunFit]],
    finish: Callable[[int, Any, BegunFit, Callable[[Training], None]], None],
    folds: Sequence[int],
    is_better_alone: Callable[[Training, int], bool],
) -> dict[int, Any]:
    """Return fitted replicas by their folds.

    All of them are prepared, and their graphs made, before the fit of the first is shown as begun:
    a progress task cannot be taken back. A first replica that is better alone is trained as it is,
    and is the only one.

    Raises
    ------
    CannotTrainSideBySide
        If they cannot be trained together. None has been then, no task was begun, and numpy's
        random state, which seeds replicas without a random state, is as it was.
    """
    together = SideBySide()
    twins: dict[int, Any] = {}
    waiting: list[tuple[int, Any, BegunFit]] = []
    drawn = np.random.get_state()
    try:
        for k in folds:
            twins[k], prepared = prepare(k)
            training = prepared.training
            if training is None:  # there are no epochs
                finish(k, twins[k], prepared, train)
                continue
            if not waiting and is_better_alone(training, len(folds)):
                finish(k, twins[k], prepared, train)
                return twins
            waiting.append((k, twins[k], prepared))
            prepared.share_x(waiting[0][-1])
            together.add(training)
        together.make_graphs()
    except errors.CannotTrainSideBySide:
        np.random.set_state(drawn)
        raise

    def begin(place: int) -> None:
        """Begin a fit, in the middle of which the later ones begin, and at last the training."""
        if place < len(waiting):
            finish(*waiting[place], lambda training: begin(place + 1))
            return
        try:
            together.train()
        except Exception as error:
            number = vars(error).get("replica")
            vars(error)["fold"] = None if number is None else folds[number]
            raise

    if waiting:
        begin(0)
    return twins


class _in_fold:
    """Tells of an error the fold it occurred on, unless that is known."""

    def __init__(self, k: int):
        self.k = k

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, Exception) and not isinstance(error, errors.CannotTrainSideBySide):
            vars(error).setdefault("fold", self.k)


def _outcome(twin, X, test, k: int, method: str) -> FoldFit:
    predictions = None
    with _in_fold(k):
        if len(test) and multi_input.is_lazy(X):  # in the pieces that are predicted at once
            n_rows = prediction.rows_per_call(Rows(X, twin.model_, test))
            places = (test[start : start + n_rows] for start in range(0, len(test), n_rows))
            parts = [
                getattr(twin, method)(sklearn_private.safe_indexing(X, some)) for some in places
            ]
            several = isinstance(parts[0], list)
            joined = [np.concatenate(p) for p in zip(*parts)] if several else np.concatenate(parts)
            predictions = joined
        elif len(test):
            predictions = getattr(twin, method)(sklearn_private.safe_indexing(X, test))
    return FoldFit(twin, predictions, plain_history(twin))


def _picked(left: Sequence[int], seeds, entries, keep, watch) -> dict[str, Any]:
    """Return the arguments of an engine for some of the folds."""
    return {
        "seeds": [seeds[k] for k in left],
        "entries": [entries[k] for k in left],
        "keep": [keep[k] for k in left],
        "watch": None if watch is None else lambda j, inner: watch(left[j], inner),
    }
