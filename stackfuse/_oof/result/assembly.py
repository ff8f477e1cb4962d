"""Put the predictions of all folds together into one matrix, with the scores of the folds."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import accuracy_score, r2_score

from stackfuse._core import multi_input
from stackfuse._oof.contributions import FEATURES
from stackfuse._oof.folds import Fold
from stackfuse._oof.jobs import FoldFit
from stackfuse._oof.prediction_columns import (
    Column,
    aligned,
    as_block,
    as_labels,
    as_numbers,
    columns_of,
    labels_for,
)
from stackfuse._oof.result.in_files import in_memory
from stackfuse._oof.result.predictions import OutOfFold

#: Bytes of a matrix that are put together at a time where it is written to a file.
_BLOCK_BYTES = 2**24


def assemble(
    methods: Sequence[str],
    fits: dict[str, list[FoldFit]],
    folds: Sequence[Fold],
    y: np.ndarray,
    classes: np.ndarray | None,
    file: multi_input.WrittenRows | None = None,
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
    file : WrittenRows or None
        Takes the matrix, if it is not to be in memory.
    """
    n_classes = None if classes is None else len(classes)
    blocks = [_Block(of_base, m, classes) for of_base, m in zip(fits.values(), methods)]
    columns: list[Column] = []
    scores, histories = {}, {}
    for (name, of_base), method, block in zip(fits.items(), methods, blocks):
        columns += columns_of(name, method, block.width, n_classes)
        tables = [_scores_of(f, y[fold.test], method, classes) for fold, f in zip(folds, of_base)]
        scores[name] = {metric: np.array([t[metric] for t in tables]) for metric in tables[0]}
        histories[name] = [of_fold.history for of_fold in of_base[: len(folds)]]
    table, count = _table(blocks, folds, len(y), file)
    return OutOfFold(
        table, count > 0, columns, list(folds), scores, histories, classes_=classes, y=y
    )


class _Block:
    """The columns of one base."""

    def __init__(self, fits: Sequence[FoldFit], method: str, classes: np.ndarray | None):
        self.fits, self.method, self.classes = fits, method, classes
        self.width = self.of(0, slice(0, 1)).shape[1]

    def of(self, k: int, places: slice | np.ndarray) -> np.ndarray:
        """Return what fold k predicted for some of its test rows, as columns."""
        estimator = self.fits[k].estimator
        labels = labels_for(estimator, self.classes, prefit=False)
        predictions = in_memory(self.fits[k].predictions, places)
        return as_block(predictions, estimator, self.method, labels)


class _TestRows:
    """The rows that a fold predicts."""

    def __init__(self, rows: np.ndarray):
        self.rows, self._ascend = rows, bool((np.diff(rows) > 0).all())

    def places(self, start: int, stop: int) -> slice | np.ndarray:
        """Return the places of those from a first row to before a last."""
        if self._ascend:
            return slice(*np.searchsorted(self.rows, (start, stop)).tolist())
        return np.flatnonzero((self.rows >= start) & (self.rows < stop))


def _table(
    blocks: Sequence[_Block],
    folds: Sequence[Fold],
    n_rows: int,
    file: multi_input.WrittenRows | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix, and by how many folds each row was predicted."""
    tests, width = [_TestRows(fold.test) for fold in folds], sum(block.width for block in blocks)
    count = np.zeros(n_rows, int)
    for test in tests:
        count[test.rows] += 1
    if file is None:
        return _rows_of(blocks, tests, count, 0), count
    step = max(1, _BLOCK_BYTES // (8 * width))
    for start in range(0, n_rows, step):
        file.append(_rows_of(blocks, tests, count[start : start + step], start))
    return file.mapped(np.float64, (n_rows, width)), count


def _rows_of(
    blocks: Sequence[_Block], tests: Sequence[_TestRows], count: np.ndarray, start: int
) -> np.ndarray:
    """Return rows of the matrix that follow each other; the average of several predictions."""
    table = np.zeros((len(count), sum(block.width for block in blocks)))
    for k, test in enumerate(tests):
        places, left = test.places(start, start + len(count)), 0
        rows = test.rows[places] - start
        for block in blocks if len(rows) else ():
            table[rows, left : left + block.width] += block.of(k, places)
            left += block.width
    with np.errstate(invalid="ignore"):
        table /= count[:, None]  # 0 / 0 is the NaN of a row never predicted
    return table


def _scores_of(fit: FoldFit, y: np.ndarray, method: str, classes) -> dict[str, float]:
    """Score the predictions of one fold."""
    labels = labels_for(fit.estimator, classes, prefit=False)
    table = _as_table(in_memory(fit.predictions), fit.estimator)
    table = as_numbers(table, fit.estimator, method, labels)
    return _scores(aligned(table, fit.estimator, method, labels), y, method, classes)


def _as_table(prediction, estimator) -> np.ndarray:
    """Return multilabel probabilities given as a list, one array per label, as one array."""
    return as_labels(prediction, estimator) if isinstance(prediction, list) else prediction


def _scores(table: np.ndarray, y: np.ndarray, method: str, classes) -> dict[str, float]:
    """Score one fold's predictions, higher is better but for the log-loss.

    Features, and regressions with another number of columns than y, have no score.
    """
    if method == FEATURES or (classes is None and table.size != y.size):
        return {}
    if classes is None:  # multilabel, or numbers to be regressed
        table = table.reshape(y.shape)
    if classes is None and y.dtype.kind == "f":
        return {"r2": r2_score(y, table) if len(y) > 1 else np.nan}
    if classes is None:
        if y.ndim == 1 or method == "predict":
            return {"r2": r2_score(y, table) if len(y) > 1 else np.nan}
        return {"accuracy": accuracy_score(y, table > (0.5 if method == "predict_proba" else 0))}
    if method == "predict":
        return {"accuracy": float(np.mean(table == y))}
    if method == "predict_proba" and table.size == len(y):  # of the second of two classes
        table = np.column_stack([1 - table.ravel(), table.ravel()])
    hard = table.argmax(axis=1) if table.ndim == 2 else (table > 0).astype(int)
    scores = {"accuracy": float(np.mean(hard == y))}
    if method == "predict_proba":
        # scikit-learn's log_loss, but for sums that are rounded: of these it warns.
        right = table[np.arange(len(y)), y]
        least = np.finfo(right.dtype if right.dtype.kind == "f" else float).eps
        scores["log_loss"] = float(-np.log(np.clip(right, least, 1 - least)).mean())
    return scores
