"""Out-of-fold predictions: every row predicted by estimators that did not see it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import indexable
from sklearn.utils.validation import column_or_1d

from stackfuse._core import (
    targets,
)
from stackfuse._oof.assembly import assemble
from stackfuse._oof.bases import FitOptions, fit_bases
from stackfuse._oof.checks import FitCheck, check_averages, warn_if_large
from stackfuse._oof.columns import methods_of
from stackfuse._oof.folds import draw_folds, warn_missing_classes
from stackfuse._oof.labels import relabelled
from stackfuse._oof.result import OutOfFold


def out_of_fold(
    estimators: Sequence[tuple[str, Any]],
    X,
    y,
    *,
    cv=None,
    groups=None,
    stack_method: str | Mapping[str, str] = "auto",
    sample_weight=None,
    engine="auto",
    n_jobs=None,
    memory=None,
    on_error="raise",
    random_state=None,
    classifier: bool | None = None,
) -> OutOfFold:
    """Return the out-of-fold predictions of base estimators.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and unfitted estimators; they are cloned.
    X : array-like of shape (n_samples, ...)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    cv : int, splitter or iterable, default=None
        By default five folds, stratified for classifiers. The test sets need not cover all rows.
    groups : array-like of shape (n_samples,), default=None
        Passed to the splitter.
    stack_method : {"auto", "predict_proba", "decision_function", "predict", "features"} or dict, \
default="auto"
        See :class:`StackingClassifier`. Features are in the frame of the first fold's model.
    sample_weight : array-like of shape (n_samples,), default=None
        Passed to every base estimator's fit.
    engine, n_jobs, memory, on_error
        See :class:`StackingClassifier`.
    random_state : int or None, default=None
        Seeds every estimator whose own random state is None, one seed per estimator and fold.
    classifier : bool, default=None
        Whether y holds classes; by default whether the first estimator is a classifier.

    Returns
    -------
    oof : OutOfFold

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> oof = sf.out_of_fold([("lr", LogisticRegression(max_iter=1000))], X, y, cv=3)
    >>> oof.to_frame().round(1).head(2)
       lr_0  lr_1  lr_2
    0   1.0   0.0   0.0
    1   1.0   0.0   0.0
    """
    estimators = [(name, e) for name, e in estimators if not targets.is_dropped(e)]
    if not estimators:
        raise ValueError("estimators is empty: pass a list of (name, estimator).")
    names = [name for name, _ in estimators]
    if len(set(names)) < len(names):
        raise ValueError(f"The names of the estimators are not unique: {names}.")
    how = FitOptions(engine, n_jobs, memory, on_error, random_state)
    targets.check_same_length(X=X, y=y, groups=groups, sample_weight=sample_weight)
    (X,) = indexable(X)
    if classifier is None:
        classifier = any(is_classifier(estimator) for _, estimator in estimators)
    y = targets.check_target(y, classifier=classifier, owner=estimators[0][1])
    classes = None
    if classifier:
        targets.refuse_several_columns(y)
    if classifier and targets.task_of(y, classifier=True) != "multilabel":
        classes, y = np.unique(column_or_1d(y), return_inverse=True)
        estimators = [(name, relabelled(estimator, classes)) for name, estimator in estimators]
    methods = list(methods_of(estimators, stack_method, names).values())
    split_params = {} if groups is None else {"groups": groups}
    folds = draw_folds(
        cv, X, y, classifier=classifier, split_params=split_params, random_state=random_state
    )
    check_averages(folds, methods, classes)
    warn_missing_classes(folds, y, classes, methods)
    warn_if_large(methods, y, classes)
    fit_params = {} if sample_weight is None else {"sample_weight": np.asarray(sample_weight)}
    fits = fit_bases(
        estimators,
        methods,
        X,
        y,
        folds,
        how=how,
        fit_params=dict.fromkeys(names, fit_params),
        check=FitCheck(folds, dict(zip(names, methods)), classes, constant=on_error == "raise"),
    )
    methods = [method for name, method in zip(names, methods) if name in fits.folds]
    return assemble(methods, fits.folds, folds, y, classes)
