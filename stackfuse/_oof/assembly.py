"""Out-of-fold predictions: every row predicted by estimators that did not see it."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.utils import indexable
from sklearn.utils.validation import column_or_1d

from stackfuse._core.targets import (
    check_same_length,
    check_target,
    is_dropped,
    refuse_several_columns,
    relabelled,
    task_of,
)
from stackfuse._oof.bases import (
    HowToFit,
    fit_bases,
)
from stackfuse._oof.columns import (
    aligned,
    as_block,
    as_labels,
    as_numbers,
    columns_of,
    labels_for,
    methods_of,
)
from stackfuse._oof.contributions import FEATURES
from stackfuse._oof.engines import FoldFits
from stackfuse._oof.folds import (
    Fold,
    draw_folds,
    tell_missing_classes,
)
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
    estimators = [(name, e) for name, e in estimators if not is_dropped(e)]
    if not estimators:
        raise ValueError("estimators is empty: pass a list of (name, estimator).")
    names = [name for name, _ in estimators]
    if len(set(names)) < len(names):
        raise ValueError(f"The names of the estimators are not unique: {names}.")
    how = HowToFit(engine, n_jobs, memory, on_error, random_state)
    check_same_length(X=X, y=y, groups=groups, sample_weight=sample_weight)
    (X,) = indexable(X)
    if classifier is None:
        classifier = any(is_classifier(estimator) for _, estimator in estimators)
    y = check_target(y, classifier=classifier, owner=estimators[0][1])
    classes = None
    if classifier:
        refuse_several_columns(y)
    if classifier and task_of(y, classifier=True) != "multilabel":
        classes, y = np.unique(column_or_1d(y), return_inverse=True)
        estimators = [(name, relabelled(estimator, classes)) for name, estimator in estimators]
    methods = list(methods_of(estimators, stack_method, names).values())
    split_params = {} if groups is None else {"groups": groups}
    folds = draw_folds(
        cv, X, y, classifier=classifier, split_params=split_params, random_state=random_state
    )
    check_averages(folds, methods, classes)
    tell_missing_classes(folds, y, classes, methods)
    tell_size(methods, y, classes)
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


def assemble(
    methods: Sequence[str],
    fits: dict[str, FoldFits],
    folds: Sequence[Fold],
    y: np.ndarray,
    classes: np.ndarray | None,
) -> OutOfFold:
    """Put the folds' predictions together into one matrix.

    Parameters
    ----------
    methods : sequence of str
        One per base estimator.
    fits : dict of str to FoldFits
        By the name of the base; of each the first ``len(folds)`` entries are used.
    folds : sequence of Fold
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class numbers where `classes` are given.
    classes : ndarray or None
    """
    n_classes = None if classes is None else len(classes)
    count = np.zeros(len(y), int)
    for fold in folds:
        count[fold.test] += 1
    columns, scores, histories, matrices = [], {}, {}, []
    for (name, fit), method in zip(fits.items(), methods):
        matrix, tables = None, []
        for fold, estimator, prediction in zip(folds, fit.estimators, fit.predictions):
            labels = labels_for(estimator, classes, prefit=False)
            block = as_block(prediction, estimator, method, labels)
            matrix = np.zeros((len(y), block.shape[1])) if matrix is None else matrix
            matrix[fold.test] += block
            table = as_numbers(_as_table(prediction, estimator), estimator, method, labels)
            table = aligned(table, estimator, method, labels)
            tables.append(_scores(table, y[fold.test], method, classes))
        with np.errstate(invalid="ignore"):
            matrix /= count[:, None]  # 0 / 0 is the NaN of a row never predicted
        matrices.append(matrix)
        columns += columns_of(name, method, matrix.shape[1], n_classes)
        scores[name] = {metric: np.array([t[metric] for t in tables]) for metric in tables[0]}
        histories[name] = fit.histories[: len(folds)]
    predictions = np.hstack(matrices)
    return OutOfFold(
        predictions, count > 0, columns, list(folds), scores, histories, classes_=classes, y=y
    )


def tell_size(methods: Sequence[str], y: np.ndarray, classes: np.ndarray | None) -> None:
    """Warn if the out-of-fold matrix would take more than half of the memory that is free."""
    if classes is not None:
        several = 1 if len(classes) == 2 else len(classes)
        widths = {"predict": 1, FEATURES: 0}  # how many features is known when one is fitted
        n_columns = sum(widths.get(method, several) for method in methods)
    else:
        n_columns = len(methods) * (1 if y.ndim == 1 else y.shape[1])
    size, free = 8 * len(y) * n_columns, free_memory()
    if free is not None and size > free / 2:
        warnings.warn(
            f"The out-of-fold predictions, {len(y)} rows by {n_columns} columns, will take "
            f"{size / 2**30:.1f} GiB; {free / 2**30:.1f} GiB of memory are free. Use fewer base "
            "estimators or fewer rows.",
            ResourceWarning,
            stacklevel=2,
        )


def free_memory() -> int | None:
    """Return the bytes of memory that are free, or None where the system does not tell.

    Not by psutil: where that is installed, joblib stops processes that import TensorFlow, because
    they have grown.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(dict(line.split(":") for line in lines)["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):  # no Linux
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_averages(
    folds: Sequence[Fold], methods: Sequence[str], classes: np.ndarray | None
) -> None:
    """Raise if class numbers would be averaged, before anything is fitted."""
    if classes is None or "predict" not in methods:
        return
    tested = np.concatenate([fold.test for fold in folds])
    if np.unique(tested).size < tested.size:
        raise ValueError(
            "Some rows are predicted several times, and class numbers cannot be averaged. Use "
            "stack_method='predict_proba', or folds that do not overlap."
        )


@dataclass(frozen=True)
class FitCheck:
    """Raises if what a base predicted cannot be used.

    Attributes
    ----------
    folds : sequence of Fold
    methods : dict of str to str
        By the name of the base.
    classes : ndarray or None
    constant : bool
        Whether a base may predict the same for every row.
    prefit : bool
        Whether all bases came fitted.
    """

    folds: Sequence[Fold]
    methods: dict[str, str]
    classes: np.ndarray | None
    constant: bool
    prefit: bool = False

    def __call__(self, name: str, fits: FoldFits) -> None:
        varies, width = not any(len(fold.test) for fold in self.folds), None
        for k, (fold, estimator, prediction) in enumerate(
            zip(self.folds, fits.estimators, fits.predictions)
        ):
            if prediction is None:  # the refit
                continue
            labels = labels_for(estimator, self.classes, prefit=self.prefit)
            block = as_block(prediction, estimator, self.methods[name], labels)
            width = block.shape[1] if width is None else width
            if len(block) != len(fold.test):
                raise _at(k, f"it returned {len(block)} predictions for {len(fold.test)} rows")
            if block.shape[1] != width:
                raise _at(k, f"it predicted {block.shape[1]} columns, and {width} before")
            if not np.isfinite(block).all():
                raise _at(k, "it predicted NaN or infinity")
            varies = varies or len(block) == 1 or bool((block != block[0]).any())
        if not (varies or self.constant):
            raise ValueError("it predicted the same for every row")


def _at(k: int, message: str) -> ValueError:
    error = ValueError(message)
    vars(error)["fold"] = k
    return error


def _as_table(prediction, estimator) -> np.ndarray:
    """Return multilabel probabilities given as a list, one array per label, as one array."""
    return as_labels(prediction, estimator) if isinstance(prediction, list) else prediction


def _scores(table: np.ndarray, y: np.ndarray, method: str, classes) -> dict[str, float]:
    """Score one fold's predictions, higher is better but for the log-loss; of features nothing."""
    if method == FEATURES:
        return {}
    if classes is None and y.dtype.kind == "f":
        return {"r2": r2_score(y, table) if len(y) > 1 else np.nan}
    if classes is None:  # multilabel, or whole numbers to be regressed
        if y.ndim == 1 or method == "predict":
            return {"r2": r2_score(y, table) if len(y) > 1 else np.nan}
        return {"accuracy": accuracy_score(y, table > (0.5 if method == "predict_proba" else 0))}
    if method == "predict":
        return {"accuracy": float(np.mean(table == y))}
    threshold = 0.5 if method == "predict_proba" else 0
    hard = table.argmax(axis=1) if table.ndim == 2 else (table > threshold).astype(int)
    scores = {"accuracy": float(np.mean(hard == y))}
    if method == "predict_proba":
        scores["log_loss"] = log_loss(y, table, labels=np.arange(len(classes)))
    return scores
