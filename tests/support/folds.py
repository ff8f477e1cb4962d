"""Engines asked for all folds at once, as tests do it."""

from types import SimpleNamespace

from stackfuse._core.errors import FitFailed
from stackfuse._oof.jobs import Data, jobs_of


def fit_folds(engine, estimator, X, y, folds, **settings):
    """Return what an engine leaves of an estimator on folds, as lists of one entry per fold.

    What a fit raised is raised as it was, with the place as a note.
    """
    if "keep" in settings:
        settings["keep_models"] = settings.pop("keep")
    try:
        jobs = jobs_of(estimator, folds, **settings)
        fits = dict(engine.run_jobs(jobs, Data(X, y)))
    except FitFailed as failure:
        failure.cause.add_note(failure.place)
        raise failure.cause from None
    assert sorted(fits) == list(range(len(folds)))
    ordered = [fits[k] for k in range(len(folds))]
    return SimpleNamespace(
        estimators=[fit.estimator for fit in ordered],
        predictions=[fit.predictions for fit in ordered],
        histories=[fit.history for fit in ordered],
    )
