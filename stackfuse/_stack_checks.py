"""What is asked of the parts of a stack before anything is fitted."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import has_fit_parameter

from stackfuse._folds import Fold


def named_bases(names: Iterable[str], estimators: Iterable) -> list[tuple[str, Any]]:
    """Return the names and estimators that are not dropped.

    Raises
    ------
    TypeError
        If one of them is no estimator.
    """
    bases = [(n, e) for n, e in zip(names, estimators) if not is_dropped(e)]
    for name, estimator in bases:
        if isinstance(estimator, type):
            raise TypeError(
                f"Base estimator {name!r} is the class {estimator.__name__}: "
                f"pass an instance, {estimator.__name__}()."
            )
        if not hasattr(estimator, "get_params"):
            raise TypeError(
                f"Base estimator {name!r} is no scikit-learn estimator, got {estimator!r}. "
                "Wrap a function that builds a Keras model: sf.KerasClassifier(build)."
            )
    return bases


def check_coverage(
    folds: Sequence[Fold],
    y: np.ndarray,
    classes: np.ndarray | None,
    *,
    averaged: bool,
    methods: Sequence[str],
) -> None:
    """Raise if the meta-learner could not learn all classes, or class numbers were averaged."""
    if classes is None:
        return
    covered = np.unique(y[np.concatenate([fold.test for fold in folds])])
    if len(covered) < len(classes):
        lost = np.delete(classes, covered).tolist()
        raise ValueError(
            f"cv: no fold predicts a row of class {lost[0]!r}, so the meta-learner would not "
            "know it. Use folds whose test sets hold every class."
        )
    if averaged and "predict" in methods:
        raise ValueError(
            "refit=False averages the fold models, but class numbers cannot be averaged. Use "
            "stack_method='predict_proba' or refit=True."
        )


def check_weights(estimators: Iterable[tuple[str, Any]]) -> None:
    """Raise for estimators that cannot take sample weights."""
    for name, estimator in estimators:
        if not has_fit_parameter(estimator, "sample_weight"):
            raise TypeError(
                f"Underlying estimator {name} ({type(estimator).__name__}) does not support "
                "sample weights. Leave sample_weight out, or enable scikit-learn's metadata "
                "routing and set_fit_request on the estimators that take it."
            )


def check_final(final_estimator, kind: str, example: str) -> None:
    """Raise unless the meta-learner is None or an estimator instance."""
    is_class = isinstance(final_estimator, type)
    if final_estimator is None or (hasattr(final_estimator, "get_params") and not is_class):
        return
    fusion = (
        "sf.FusionClassifier('dense')" if kind == "classifier" else "sf.FusionRegressor('dense')"
    )
    raise TypeError(
        f"final_estimator must be a {kind}, such as {example} or {fusion}, got {final_estimator!r}."
    )


def is_dropped(estimator) -> bool:
    return isinstance(estimator, str) and estimator == "drop"
