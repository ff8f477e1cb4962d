"""Checks for engines, converters and formats of your own."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from stackfuse._core.errors import FitFailed
from stackfuse._export import check_converter, check_format
from stackfuse._networks import KerasClassifier
from stackfuse._oof.engines import Engine, SequentialEngine
from stackfuse._oof.jobs import Data, Fold, FoldFit, FoldJob

__all__ = ["check_converter", "check_engine", "check_format"]

#: How far what networks predict may differ from the loop.
_TOLERANCE = 5e-5


def check_engine(engine: Engine) -> None:
    """Check that an engine computes what it must: what ``SequentialEngine`` computes.

    Several base estimators are fitted on folds, with weights and seeds, with and without rows to
    predict; one of the fits fails.

    Parameters
    ----------
    engine : Engine
        An object with the method ``run_jobs``.

    Raises
    ------
    TypeError
        If it has no such method.
    AssertionError
        If a job is left out or done twice, or leaves another model, other predictions or another
        history than the loop: more than 5e-5 away for networks, at all for other estimators.

    Examples
    --------
    >>> import stackfuse as sf
    >>> sf.testing.check_engine(sf.engines.SequentialEngine())
    """
    if isinstance(engine, type) or not hasattr(engine, "run_jobs"):
        raise TypeError(f"engine must be an object with a method run_jobs, got {engine!r}.")
    for title, jobs, data, tolerance in _cases():
        wanted = dict(SequentialEngine().run_jobs(iter(jobs), data))
        got: dict[int, FoldFit] = {}
        for number, fit in engine.run_jobs(iter(jobs), data):
            _demand(number not in got, f"{title}: job {number} is yielded twice")
            got[number] = fit
        _demand(sorted(got) == sorted(wanted), f"{title}: jobs {sorted(got)} of {len(jobs)}")
        for number, job in enumerate(jobs):
            what = f"{title}, job {number}"
            _compare(job, got[number], wanted[number], data, tolerance, what)
    _check_failure(engine)


def _compare(job: FoldJob, got: FoldFit, wanted: FoldFit, data: Data, tolerance, what: str):
    _close(got.predictions, wanted.predictions, tolerance, f"the predictions of {what}")
    kept = hasattr(got.estimator, "fit")
    _demand(kept == job.keep_model, f"{what}: the model is {'' if kept else 'not '}there")
    if kept:
        method = getattr(got.estimator, job.method), getattr(wanted.estimator, job.method)
        _close(method[0](data.X), method[1](data.X), tolerance, f"the model of {what}")
    same = (got.history or {}).keys() == (wanted.history or {}).keys()
    _demand(same, f"{what}: the history has {got.history}, the loop's {wanted.history}")


def _close(got: Any, wanted: Any, tolerance: float, what: str) -> None:
    if wanted is None or got is None:
        _demand(got is wanted, f"{what} are {got!r} instead of {wanted!r}")
        return
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance, err_msg=what)


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _cases() -> Iterator[tuple[str, list[FoldJob], Data, float]]:
    """Yield titles, jobs, data, and how far from the loop the results may be."""
    X, y = load_iris(return_X_y=True)
    data, proba = Data(X, y), "predict_proba"
    weights = {"sample_weight": np.random.default_rng(0).uniform(size=len(y))}
    tree = DecisionTreeClassifier(max_features=1)
    yield "seeded trees", _jobs(tree, y, method=proba, fit_params=weights), data, 0.0
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    yield "a pipeline", _jobs(pipe, y, method="decision_function"), data, 0.0
    network = KerasClassifier(_network, epochs=2, validation_split=0.2)
    yield "a network", _jobs(network, y, method=proba, fit_params=weights), data, _TOLERANCE
    X, y = load_diabetes(return_X_y=True)
    both = np.column_stack([y, X[:, 0]])
    yield "two targets", _jobs(Ridge(), y, method="predict"), Data(X, both), 0.0
    yield "no jobs", [], data, 0.0


def _jobs(estimator, y, **settings) -> list[FoldJob]:
    """Return jobs on three folds, of which one model is discarded, and on all rows."""
    parts = [*KFold(3, shuffle=True, random_state=0).split(y), (np.arange(len(y)), np.arange(0))]
    return [
        FoldJob(estimator, Fold(*part), seed=k, keep_model=k != 1, place=f"on fold {k}", **settings)
        for k, part in enumerate(parts)
    ]


def _network(meta):
    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(meta["n_classes_"], activation="softmax"),
        ]
    )


def _check_failure(engine: Engine) -> None:
    X, y = load_diabetes(return_X_y=True)
    jobs = _jobs(Ridge(alpha=-1.0), y, method="predict")
    try:
        list(engine.run_jobs(iter(jobs), Data(X, y)))
    except FitFailed as failure:
        _demand(isinstance(failure.cause, ValueError), f"the cause is {failure.cause!r}")
        known = failure.place in {"", *(job.place for job in jobs)}
        _demand(known, f"the place is {failure.place!r}")
    else:
        raise AssertionError(
            "a fit failed, but the engine raised nothing. Do not catch the FitFailed of job.run"
        )
