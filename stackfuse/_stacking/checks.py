"""What is asked of the parts of a stack before anything is fitted."""

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import has_fit_parameter

from stackfuse._core import sampling, targets
from stackfuse._networks import (
    KerasClassifier,
    KerasRegressor,
)
from stackfuse._oof.contributions import FEATURES
from stackfuse._oof.folds import Fold
from stackfuse._oof.result import OutOfFold


def named_bases(names: Iterable[str], estimators: Iterable) -> list[tuple[str, Any]]:
    """Return the names and estimators that are not dropped.

    Raises
    ------
    TypeError
        If one of them is no estimator.
    """
    bases = [(n, e) for n, e in zip(names, estimators) if not targets.is_dropped(e)]
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
    methods: Iterable[str],
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


def check_weights(
    bases: Sequence[tuple[str, Any]], final_estimator, on_error: str, failures: dict[str, str]
) -> list[tuple[str, Any]]:
    """Return the bases that can take sample weights.

    Raises
    ------
    TypeError
        If the meta-learner cannot, or a base with ``on_error="raise"``; with ``"drop"`` such bases
        are added to the failures, and told.
    """
    takers = []
    for name, estimator in [*bases, ("final_estimator", final_estimator)]:
        if has_fit_parameter(estimator, "sample_weight"):
            takers.append((name, estimator))
            continue
        cause = (
            f"Underlying estimator {name} ({type(estimator).__name__}) does not support sample "
            "weights"
        )
        if on_error == "raise" or estimator is final_estimator:
            raise TypeError(
                f"{cause}. Leave sample_weight out, drop such bases with on_error='drop', or "
                "enable scikit-learn's metadata routing and set_fit_request on those that take it."
            )
        failures[name] = cause
        warnings.warn(f"{cause}, and is dropped.", stacklevel=2)
    if len(takers) == 1:
        raise ValueError("No base estimator supports sample weights: leave sample_weight out.")
    return takers[:-1]


def networks_from_files(estimators, *, classifier: bool) -> list:
    """Replace the paths of Keras files among the estimators by networks that are not trained."""
    if not isinstance(estimators, list | tuple):
        return estimators
    wrapper = KerasClassifier if classifier else KerasRegressor
    return [
        (pair[0], wrapper(os.fspath(pair[1]), epochs=0))
        if len(pair) == 2
        and isinstance(pair[1], str | os.PathLike)
        and not targets.is_dropped(pair[1])
        else pair
        for pair in estimators
    ]


def check_saved(
    saved: OutOfFold,
    methods: dict[str, str],
    y: np.ndarray,
    classes: np.ndarray | None,
    *,
    refit: bool,
) -> None:
    """Raise unless out-of-fold predictions are of these bases, for these rows."""
    columns = {column.estimator: column.method for column in saved.columns}
    if columns != methods or list(columns) != list(methods):
        raise ValueError(
            f"cv holds out-of-fold predictions of {columns}, but the bases are {methods}, in this "
            "order. Pass the same names and methods."
        )
    features = [name for name, method in methods.items() if method == FEATURES]
    if features:
        raise ValueError(
            f"cv holds out-of-fold features of {features[0]!r}, in the frame of a model that was "
            "fitted then; the one fitted now has another. Fit with folds (memory= keeps the fits), "
            "or train another meta-learner with refit_final."
        )
    now, then = (y, classes), (saved.y, saved.classes_)
    if not all(a is b or np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(now, then)):
        raise ValueError(
            "cv holds out-of-fold predictions for another y. Fit on the rows, in the order, that "
            "they were made from."
        )
    if not refit:
        raise ValueError(
            "cv holds out-of-fold predictions, but not the models of the folds: use refit=True."
        )


def warn_seen_rows(bases: Sequence[tuple[str, Any]], X, *, prefit: bool) -> None:
    """Warn of fitted bases that are known to have been trained on rows of X."""
    here: set[bytes] = set()
    for name, base in bases:
        fitted = base.estimator if isinstance(base, FrozenEstimator) else base
        if fitted is base and not prefit:
            continue
        seen = getattr(fitted, "_seen_rows", None)
        if seen is None and hasattr(fitted, "_sample_X"):
            seen = sampling.row_digests(fitted._sample_X)
        if seen and not here:
            here = set(sampling.row_digests(X))
        # Some rows may be equal by chance, where there are few columns.
        if seen and np.mean([row in here for row in seen]) > 0.1:
            warnings.warn(
                f"Base estimator {name!r} was trained on rows that now train the meta-learner: it "
                "is better at them than at new ones, and will be trusted too much. Fit the stack "
                "on rows that its bases have not seen.",
                stacklevel=2,
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
