"""Fits that stacks inside a stack share: equal ones are made once.

With ``cv="outer"`` a stack inside is fitted on the rows without an outer fold j, and its bases
without another fold k too; later it is fitted without k, and its bases without j too. Both train a
base on the same rows. Only the rows that it predicts differ, and it has seen neither.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stackfuse._core import messages, sklearn_private
from stackfuse._oof.contributions import has_engine
from stackfuse._oof.jobs import Data, FoldFit, FoldJob, outer_parts, unset_random_states


@dataclass
class FitsInside:
    """The fits of the bases of stacks inside a stack.

    Attributes
    ----------
    shares : bool
        Whether stacks inside are on the folds around them, so that equal fits will come.
    models : dict of str to fitted estimator
        By the digest of all that the fit depends on.
    n_made, n_shared : int
        How many were made, and how many found among the models.
    """

    shares: bool
    models: dict[str, Any] = field(default_factory=dict)
    n_made: int = 0
    n_shared: int = 0

    def told(self) -> str:
        """Say how many fits there were, and begin to count anew; empty if there was none."""
        made, shared, self.n_made, self.n_shared = self.n_made, self.n_shared, 0, 0
        if not made + shared:
            return ""
        others = f", {shared} more shared" if shared else ""
        return f"{messages.counted(made, 'fit')} of bases inside{others}"


_around: ContextVar[FitsInside | None] = ContextVar("around", default=None)


def around() -> FitsInside | None:
    """Return the fits inside of the stack around this one; None if there is no stack around."""
    return _around.get()


@contextmanager
def fits_inside(bases: Iterable[Any]) -> Iterator[FitsInside]:
    """Note the fits of stacks inside.

    Parameters
    ----------
    bases : iterable of estimator
        The bases of this stack.

    Yields
    ------
    fits : FitsInside
        That of the stack around if it has the same folds; else a new one.
    """
    outer, shares = _around.get(), any(outer_parts(base) for base in bases)
    fits = outer if outer is not None and (outer.shares or not shares) else FitsInside(shares)
    token = _around.set(fits)
    try:
        yield fits
    finally:
        _around.reset(token)
        if outer is not None and outer is not fits:
            outer.n_made, outer.n_shared = (
                outer.n_made + fits.n_made,
                outer.n_shared + fits.n_shared,
            )


class SharingEngine:
    """Runs by another engine the jobs whose fits no other stack inside has made.

    Parameters
    ----------
    engine : Engine
    fits : FitsInside
    """

    def __init__(self, engine: Any, fits: FitsInside):
        self.engine, self.fits = engine, fits

    def run_jobs(self, jobs: Iterable[FoldJob], data: Data) -> Iterator[tuple[int, FoldFit]]:
        """See :class:`stackfuse.engines.Engine`."""
        run: list[tuple[int, FoldJob, str | None]] = []
        found: deque[tuple[int, FoldJob, Any]] = deque()

        def missing() -> Iterator[FoldJob]:
            for number, job in enumerate(jobs):
                key = self._key(job, data)
                if key in self.fits.models:
                    found.append((number, job, self.fits.models[key]))
                else:
                    run.append((number, job, key))
                    yield job if key is None else replace(job, keep_model=True)

        for place, fit in self.engine.run_jobs(missing(), data):
            yield from self._of_found(found, data)
            number, job, key = run[place]
            self.fits.n_made += not has_engine(job.estimator)  # a stack is counted by its bases
            if key is not None:
                self.fits.models[key] = fit.estimator
            yield number, job.kept(fit)
        yield from self._of_found(found, data)

    def _of_found(
        self, found: deque[tuple[int, FoldJob, Any]], data: Data
    ) -> Iterator[tuple[int, FoldFit]]:
        while found:
            number, job, model = found.popleft()
            with job.failing_here():
                fit = job.outcome(model, data)
            self.fits.n_shared += not has_engine(job.estimator)
            yield number, fit._replace(how="shared")

    def _key(self, job: FoldJob, data: Data) -> str | None:
        """Return the digest of all that a fit depends on; None if no equal one will be known."""
        if not self.fits.shares:
            return None
        from stackfuse._oof.memory.fingerprint import (  # loads TensorFlow
            NotComparable,
            fingerprint,
        )

        X, y = (sklearn_private.safe_indexing(part, job.fold.train) for part in data)
        seeds = (job.seed, job.inner_seed) if unset_random_states(job.estimator) else None
        X = np.asarray(X) if isinstance(X, list) else X
        try:
            params = job.params(data)
            return fingerprint(job.estimator, X, y, params, seeds, job.inner_folds)
        except NotComparable:
            return None
