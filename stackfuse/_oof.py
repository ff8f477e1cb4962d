"""Out-of-fold predictions: every row predicted by estimators that did not see it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.utils import indexable
from sklearn.utils.validation import column_or_1d

from stackfuse._checks import (
    check_same_length,
    check_target,
    listed,
    refuse_several_columns,
    relabelled,
    task_of,
)
from stackfuse._folds import Fold, draw_folds
from stackfuse.engines import FoldFits, derived_seed, engine_named

METHODS = ("predict_proba", "decision_function", "predict")


class Column(NamedTuple):
    """One column of the out-of-fold matrix."""

    estimator: str
    method: str
    output: int
    """Number of the class (its place in ``classes_``) or of the target column."""


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Out-of-fold predictions of several base estimators over the same folds.

    Attributes
    ----------
    predictions : ndarray of shape (n_samples, n_columns), dtype float64
        The average where a row was predicted several times, NaN where it never was.
    mask : ndarray of shape (n_samples,), dtype bool
        Rows that were predicted.
    columns : list of Column
        What each column holds. Of two classes only the second one's probability is kept.
    folds : list of Fold
        The index arrays.
    scores : dict of str to (dict of str to ndarray of shape (n_folds,))
        By base estimator and metric, on each fold's test rows: ``"accuracy"`` and, with
        probabilities, ``"log_loss"``; ``"r2"`` for regression.
    histories : dict of str to list of (dict or None)
        Training histories per base estimator and fold.
    classes_ : ndarray or None
        The labels that class numbers stand for.
    """

    predictions: np.ndarray
    mask: np.ndarray
    columns: list[Column]
    folds: list[Fold]
    scores: dict[str, dict[str, np.ndarray]]
    histories: dict[str, list] = field(default_factory=dict)
    classes_: np.ndarray | None = None

    @property
    def fold_ids(self) -> np.ndarray:
        """Number of the last fold that predicted each row, -1 for none; shape (n_samples,)."""
        ids = np.full(len(self.mask), -1)
        for k, fold in enumerate(self.folds):
            ids[fold.test] = k
        return ids

    def to_frame(self) -> pd.DataFrame:
        """Return the predictions as a frame with one readable column name each.

        Returns
        -------
        frame : DataFrame of shape (n_samples, n_columns)
        """
        names = [f"{column.estimator}_{self._label(column)}" for column in self.columns]
        return pd.DataFrame(self.predictions, columns=pd.Index(names))

    def _label(self, column: Column) -> str:
        if self.classes_ is None or column.method == "predict":
            return str(column.output)
        return str(self.classes_[column.output])


def out_of_fold(
    estimators: Sequence[tuple[str, Any]],
    X,
    y,
    *,
    cv=None,
    groups=None,
    stack_method="auto",
    sample_weight=None,
    engine="auto",
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
    stack_method : {"auto", "predict_proba", "decision_function", "predict"}, default="auto"
        With "auto" the first of these that the estimator has.
    sample_weight : array-like of shape (n_samples,), default=None
        Passed to every base estimator's fit.
    engine : {"auto", "sequential"}, default="auto"
        How the replicas are trained.
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
    if not estimators:
        raise ValueError("estimators is empty: pass a list of (name, estimator).")
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
    methods = [response_method(name, estimator, stack_method) for name, estimator in estimators]
    split_params = {} if groups is None else {"groups": groups}
    folds = draw_folds(
        cv, X, y, classifier=classifier, split_params=split_params, random_state=random_state
    )
    fit_params = {} if sample_weight is None else {"sample_weight": np.asarray(sample_weight)}
    trainer = engine_named(engine)
    fits = [
        trainer.fit_folds(
            estimator,
            X,
            y,
            folds,
            method=method,
            fit_params=fit_params,
            seeds=fold_seeds(random_state, name, len(folds)),
        )
        for (name, estimator), method in zip(estimators, methods)
    ]
    names = [name for name, _ in estimators]
    return assemble(names, methods, fits, folds, y, classes)


def fold_seeds(random_state: int | None, name: str, n_folds: int) -> list[int | None]:
    """Return one seed per fold for the base estimator of that name."""
    if random_state is None:
        return [None] * n_folds
    return [derived_seed(random_state, name, k) for k in range(n_folds)]


def response_method(name: str, estimator, stack_method: str) -> str:
    """Return the method whose predictions a base estimator contributes.

    Raises
    ------
    ValueError
        If the estimator does not have it.
    """
    if stack_method not in ("auto", *METHODS):
        options = listed(["auto", *METHODS])
        raise ValueError(f"stack_method must be {options}, got {stack_method!r}.")
    wanted = METHODS if stack_method == "auto" else (stack_method,)
    for method in wanted:
        if hasattr(estimator, method):
            return method
    has = [method for method in METHODS if hasattr(estimator, method)]
    hint = f"use stack_method={listed(has)}" if has else "pass an estimator that predicts"
    shown = list(wanted) if stack_method == "auto" else stack_method
    raise ValueError(
        f"Underlying estimator {name} does not implement the method {shown}: it is a "
        f"{type(estimator).__name__}; {hint}."
    )


def as_block(prediction, estimator, method: str, labels: np.ndarray | None) -> np.ndarray:
    """Return one estimator's predictions as columns of the meta-learner's table.

    Parameters
    ----------
    prediction : ndarray or list of ndarray
        What the estimator's method returned; a list holds one array per label.
    estimator : fitted estimator
        Its ``classes_`` tell which classes the columns stand for.
    method : str
    labels : ndarray of shape (n_classes,) or None
        All classes of a single-label target, as the estimator was told them; None for any other
        target.

    Returns
    -------
    block : ndarray of shape (n_samples, n_columns), dtype float64
        The first of two complementary probabilities is left out, as in scikit-learn's stacking.
    """
    if isinstance(prediction, list):
        return np.hstack([column[:, 1:] for column in prediction]).astype(np.float64)
    prediction = aligned(np.asarray(prediction), estimator, method, labels)
    block = prediction.reshape(len(prediction), -1)
    if method == "predict_proba" and labels is not None and len(labels) == block.shape[1] == 2:
        block = block[:, 1:]
    try:
        return block.astype(np.float64)
    except ValueError as error:
        value = block.tolist()[0][0]
        raise ValueError(
            f"{type(estimator).__name__}.{method} returned {value!r}, which is no number: "
            "use stack_method='predict_proba'."
        ) from error


def aligned(
    prediction: np.ndarray, estimator, method: str, labels: np.ndarray | None
) -> np.ndarray:
    """Return predictions with one column for every class, also those the estimator never saw."""
    known = getattr(estimator, "classes_", None)
    if labels is None or known is None or method == "predict" or np.array_equal(known, labels):
        return prediction
    if method != "predict_proba":
        raise ValueError(
            f"{type(estimator).__name__} was trained on {len(known)} of {len(labels)} classes, "
            f"and the columns of {method} cannot be matched. Use stack_method='predict_proba', "
            "or stratified folds."
        )
    full = np.zeros((len(prediction), len(labels)), prediction.dtype)
    full[:, class_places(estimator, labels)] = prediction
    return full


def class_places(estimator, labels: np.ndarray) -> np.ndarray:
    """Return the places of an estimator's classes among all classes.

    Raises
    ------
    ValueError
        If it knows a class that is none of them.
    """
    known = np.asarray(estimator.classes_)
    if not np.isin(known, labels).all():
        raise ValueError(
            f"{type(estimator).__name__} was trained on the classes {known.tolist()}, which are "
            f"not all among {np.asarray(labels).tolist()}."
        )
    return np.searchsorted(labels, known)


def columns_of(name: str, method: str, width: int, n_classes: int | None) -> list[Column]:
    """Say what the columns of one base estimator's block stand for."""
    first = 1 if method == "predict_proba" and n_classes == 2 and width == 1 else 0
    return [Column(name, method, first + j) for j in range(width)]


def assemble(
    names: Sequence[str],
    methods: Sequence[str],
    fits: Sequence[FoldFits],
    folds: Sequence[Fold],
    y: np.ndarray,
    classes: np.ndarray | None,
) -> OutOfFold:
    """Put the folds' predictions together into one matrix.

    Parameters
    ----------
    names, methods, fits : sequences, one entry per base estimator
        Of `fits` the first ``len(folds)`` entries are used.
    folds : sequence of Fold
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class numbers where `classes` are given.
    classes : ndarray or None
    """
    labels = None if classes is None else np.arange(len(classes))
    count = np.zeros(len(y), int)
    for fold in folds:
        count[fold.test] += 1
    mask = count > 0
    if classes is not None and "predict" in methods and count.max() > 1:
        raise ValueError(
            "Some rows are predicted several times, and class numbers cannot be averaged. Use "
            "stack_method='predict_proba', or folds that do not overlap."
        )
    matrices, columns, scores, histories = [], [], {}, {}
    for name, method, fit in zip(names, methods, fits):
        blocks, tables = [], []
        for k, (fold, estimator, prediction) in enumerate(
            zip(folds, fit.estimators, fit.predictions)
        ):
            block = as_block(prediction, estimator, method, labels)
            _check_block(block, name, k, len(fold.test))
            blocks.append(block)
            table = aligned(_as_table(prediction), estimator, method, labels)
            tables.append(_scores(table, y[fold.test], method, classes))
        width = blocks[0].shape[1]
        matrix = np.zeros((len(y), width))
        for fold, block in zip(folds, blocks):
            matrix[fold.test] += block
        with np.errstate(invalid="ignore"):
            matrices.append(matrix / count[:, None])  # 0 / 0 is the NaN of a row never predicted
        columns += columns_of(name, method, width, None if classes is None else len(classes))
        scores[name] = {metric: np.array([t[metric] for t in tables]) for metric in tables[0]}
        histories[name] = fit.histories[: len(folds)]
    return OutOfFold(
        np.hstack(matrices), mask, columns, list(folds), scores, histories, classes_=classes
    )


def _check_block(block: np.ndarray, name: str, k: int, n_rows: int) -> None:
    if len(block) != n_rows:
        raise ValueError(
            f"Base estimator {name!r} returned {len(block)} predictions for the {n_rows} test "
            f"rows of fold {k}."
        )
    if not np.isfinite(block).all():
        raise ValueError(f"Base estimator {name!r} predicted NaN or infinity in fold {k}.")


def _as_table(prediction) -> np.ndarray:
    """Return multilabel probabilities given as a list, one array per label, as one array."""
    if isinstance(prediction, list):
        return np.column_stack([column[:, -1] for column in prediction])
    return np.asarray(prediction)


def _scores(table: np.ndarray, y: np.ndarray, method: str, classes) -> dict[str, float]:
    """Score one fold's predictions, higher is better but for the log-loss."""
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
