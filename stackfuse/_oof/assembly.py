"""Out-of-fold predictions: every row predicted by estimators that did not see it."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import accuracy_score, log_loss, r2_score

from stackfuse._oof.contributions import FEATURES
from stackfuse._oof.fits import FoldFit
from stackfuse._oof.folds import (
    Fold,
)
from stackfuse._oof.prediction_columns import (
    aligned,
    as_block,
    as_labels,
    as_numbers,
    columns_of,
    labels_for,
)
from stackfuse._oof.result import OutOfFold


def assemble(
    methods: Sequence[str],
    fits: dict[str, list[FoldFit]],
    folds: Sequence[Fold],
    y: np.ndarray,
    classes: np.ndarray | None,
) -> OutOfFold:
    """Put the folds' predictions together into one matrix.

    Parameters
    ----------
    methods : sequence of str
        One per base estimator.
    fits : dict of str to list of FoldFit
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
        for fold, (estimator, prediction, _) in zip(folds, fit):
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
        histories[name] = [of_fold.history for of_fold in fit[: len(folds)]]
    predictions = np.hstack(matrices)
    return OutOfFold(
        predictions, count > 0, columns, list(folds), scores, histories, classes_=classes, y=y
    )


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
