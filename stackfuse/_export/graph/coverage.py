"""Outputs besides the predictions: the ends of intervals, or sets of classes."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import messages
from stackfuse._stacking import IntervalMaker, SetMaker, StackingClassifier, StackingRegressor

#: The settings in ``coverage={...}``.
_SETTINGS = ("coverage", "method", "bounds")


def covered(estimator, coverage: Any) -> Any:
    """Return a copy of an estimator that says intervals or sets too; with None itself.

    Parameters
    ----------
    estimator : fitted estimator
        A stack, or a pipeline or search around one.
    coverage : float, mapping or None
        The arguments of ``predict_interval`` or ``predict_set``.

    Raises
    ------
    TypeError, ValueError
        If there is no stack, or it cannot say so.
    """
    if coverage is None:
        return estimator
    settings = dict(coverage) if isinstance(coverage, Mapping) else {"coverage": coverage}
    unknown = [name for name in settings if name not in _SETTINGS]
    if unknown or "coverage" not in settings:
        raise ValueError(
            "coverage must be a number, or a dict such as {'coverage': 0.9, 'method': 'absolute'}, "
            f"got {messages.in_short(coverage)}."
        )
    return _covered(estimator, settings)


def _covered(estimator, settings: dict[str, Any]) -> Any:
    if hasattr(estimator, "best_estimator_"):
        changed = {"best_estimator_": _covered(estimator.best_estimator_, settings)}
    elif isinstance(estimator, Pipeline) and estimator.steps:
        name, last = estimator.steps[-1]
        changed = {"steps": [*estimator.steps[:-1], (name, _covered(last, settings))]}
    elif isinstance(estimator, StackingRegressor):
        check_is_fitted(estimator)
        changed = {"_coverage": IntervalMaker(estimator, **settings)}
    elif isinstance(estimator, StackingClassifier):
        check_is_fitted(estimator)
        if "bounds" in settings:
            raise ValueError(
                "bounds are for intervals, but a classifier predicts sets. Leave bounds out."
            )
        changed = {"_coverage": SetMaker(estimator, **settings)}
    else:
        raise TypeError(
            "coverage adds intervals or sets, which "
            f"{messages.with_article(type(estimator).__name__)} does not have. Export a fitted "
            "StackingRegressor or StackingClassifier, or leave coverage out."
        )
    other = copy.copy(estimator)
    for attribute, value in changed.items():
        setattr(other, attribute, value)
    return other


def maker_of(estimator) -> IntervalMaker | SetMaker | None:
    """Return what makes the intervals or sets of an estimator from :func:`covered`, if it is."""
    inner = _inside(estimator)
    return getattr(estimator, "_coverage", None) if inner is None else maker_of(inner)


def coverage_settings(estimator) -> dict[str, Any] | None:
    """Return what an estimator from :func:`covered` was asked for, for a manifest."""
    maker = maker_of(estimator)
    return None if maker is None else maker.settings


def answers_of(estimator, X) -> dict[str, np.ndarray]:
    """Return the intervals or sets that an estimator from :func:`covered` makes for X, by name."""
    inner = _inside(estimator)
    if inner is None:
        return estimator._coverage.outputs(estimator, X)
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        X = estimator[:-1].transform(X)
    return answers_of(inner, X)


def _inside(estimator) -> Any:
    """Return the best estimator of a search, the last step of a pipeline, or None."""
    if isinstance(estimator, Pipeline):
        return estimator.steps[-1][1] if estimator.steps else None
    return getattr(estimator, "best_estimator_", None)
