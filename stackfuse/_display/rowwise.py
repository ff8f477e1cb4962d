"""Out-of-fold predictions, and the numbers from them: calibration, losses, worst rows.

Everything here is numbers; pictures and pages draw them.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.utils.multiclass import type_of_target

from stackfuse._display import drawing

#: The name of the cross-fitted stack among its bases.
STACK = "(stack)"

#: The kinds of target.
Kind = Literal["classes", "labels", "numbers"]

#: The kinds of target by scikit-learn's names for them; all others are numbers.
_KINDS: dict[str, Kind] = {
    "binary": "classes",
    "multiclass": "classes",
    "multilabel-indicator": "labels",
}

#: Probabilities are kept this far from 0 in losses, as by scikit-learn's log_loss.
_LEAST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Predictions of rows by models that have not seen them.

    Attributes
    ----------
    kind : {"classes", "labels", "numbers"}
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class numbers, 0/1 indicators, or numbers.
    predictions : dict of str to ndarray
        By the names of the models, the cross-fitted stack last as ``"(stack)"``: probabilities of
        shape (n_samples, n_classes), or numbers like y. Rows that were not predicted are NaN.
        Models of classes without probabilities are not in it.
    losses : DataFrame of shape (n_samples, n_models)
        The loss of each row for each model that can be scored; NaN if it was not predicted.
    loss_names : dict of str to str
        The kind of loss of each model: the log-loss, the absolute error, or whether it is wrong.
    fold : ndarray of shape (n_samples,)
        The number of the last fold that predicted a row, -1 for none.
    classes : tuple of str
        The names of the classes, or of the columns of y.
    """

    kind: Kind
    y: np.ndarray
    predictions: dict[str, np.ndarray]
    losses: pd.DataFrame
    loss_names: dict[str, str]
    fold: np.ndarray
    classes: tuple[str, ...] = field(default=())

    def worst(self, n_rows: int) -> np.ndarray:
        """Return the numbers of the rows with the greatest losses of the stack, worst first.

        Among rows with equal losses, the row with the larger mean loss of the bases comes first.
        """
        if STACK not in self.losses:
            return np.array([], int)
        own = self.losses[STACK].to_numpy()
        others = self.losses.drop(columns=STACK)
        others = others.loc[:, [self.loss_names[n] == self.loss_names[STACK] for n in others]]
        rows = np.flatnonzero(np.isfinite(own) & (own > 0))
        by_others = others.mean(axis=1).fillna(0.0).to_numpy()
        order = np.lexsort((rows, -by_others[rows], -own[rows]))
        return rows[order][:n_rows]

    def shown(self, rows: np.ndarray, *, values: bool) -> pd.DataFrame:
        """Return the table of some rows for a page, by their numbers: how far off the stack is.

        Parameters
        ----------
        rows : ndarray of int
        values : bool
            Whether targets and predictions are told too.
        """
        columns = {self.loss_names[STACK]: self.losses[STACK].to_numpy()[rows]}
        if self.kind != "numbers":
            bases = [name for name in self.predictions if name != STACK]
            wrong = sum((self._is_wrong(name, rows) for name in bases), np.zeros(len(rows), int))
            columns["bases that are wrong"] = [f"{n} of {len(bases)}" for n in wrong]
        columns["fold"] = [str(k) for k in self.fold[rows]]
        if values:
            columns["target"] = [self._in_words(self.y[row]) for row in rows]
            if STACK in self.predictions:
                said = self.predictions[STACK][rows]
                columns["prediction"] = [self._in_words(one, predicted=True) for one in said]
        return pd.DataFrame(columns, index=pd.Index(rows))

    def _is_wrong(self, name: str, rows: np.ndarray) -> np.ndarray:
        said = self.predictions[name][rows]
        if self.kind == "labels":
            return ((said > 0.5) != self.y[rows]).any(axis=1).astype(int)
        return (said.argmax(axis=1) != self.y[rows]).astype(int)

    def _in_words(self, value: np.ndarray, *, predicted: bool = False) -> str:
        """Return the target, or the prediction, of one row."""
        if self.kind == "classes":
            if not predicted:
                return self.classes[int(value)]
            likely = int(np.argmax(value))
            return f"{self.classes[likely]} ({value[likely]:.2f})"
        digits = ".2f" if predicted and self.kind == "labels" else ".6g"
        return ", ".join(f"{one:{digits}}" for one in np.atleast_1d(value))

    def calibration(self, n_bins: int = 10) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return by model the mean prediction and the mean outcome of groups of rows.

        Parameters
        ----------
        n_bins : int, default=10

        Returns
        -------
        curves : dict of str to (ndarray, ndarray)
            For probabilities, the curve of :func:`sklearn.calibration.calibration_curve` over bins
            of equal width; the classes, without the first of two, are counted together. For
            numbers, the means of y over quantiles of the predictions; several targets are measured
            in their standard deviations.
        """
        return {name: self._curve(said, n_bins) for name, said in self.predictions.items()}

    def errors(self, name: str) -> np.ndarray:
        """Return prediction minus outcome, of shape (n_samples, n_columns), NaN where unknown.

        Each class has one column; its outcome is 1 or 0.
        """
        said = self.predictions[name]
        outcome = np.eye(said.shape[1])[self.y] if self.kind == "classes" else self.y
        return (said - outcome).reshape(len(said), -1)

    def _curve(self, said: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
        outcome, predicted = self.pairs(said)
        if self.kind == "numbers":
            return mean_by_quantile(predicted, outcome, n_bins)
        happened, expected = calibration_curve(outcome, predicted, n_bins=n_bins, pos_label=1)
        return expected, happened

    def pairs(self, said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return outcomes and predictions of one model, of shape (n_pairs,), without gaps.

        Classes have one pair per row and class: 1 or 0, and the probability.
        """
        known = np.isfinite(said.reshape(len(said), -1)).all(axis=1)
        said, y = said[known], self.y[known]
        if self.kind == "classes":
            first = 1 if said.shape[1] == 2 else 0
            return np.eye(said.shape[1])[y][:, first:].ravel(), said[:, first:].ravel()
        if self.kind == "numbers" and y.ndim == 2:
            middle, spread = self.y.mean(axis=0), self.y.std(axis=0)
            spread = np.where(spread > 0, spread, 1.0)
            return ((y - middle) / spread).ravel(), ((said - middle) / spread).ravel()
        return y.ravel().astype(float), said.ravel()


def evidence_of(y_true, y_pred) -> Evidence:
    """Return the evidence on rows, from the predictions of models alone.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Classes, 0/1 indicators, or numbers.
    y_pred : array-like, or dict of str to array-like
        Predictions of one model, or of several by name: of classes probabilities of shape
        (n_samples, n_classes), their columns in the order of the sorted classes; of two classes
        those of the second suffice.

    Raises
    ------
    ValueError
        If a prediction has another shape than y.
    """
    named = dict(y_pred.items()) if hasattr(y_pred, "items") else {"model": y_pred}
    if not named:
        raise ValueError("y_pred names no model: pass predictions, or a dict of them by name.")
    y, classes = np.asarray(y_true), ()
    target = type_of_target(y_true)
    kind: Kind = _KINDS.get(target, "numbers")
    if kind == "classes" and _are_numbers(y, named):
        kind = "numbers"
    if kind == "classes":
        labels, y = np.unique(y, return_inverse=True)
        classes = tuple(str(label) for label in labels)
    known = {name: _of_shape(name, said, y, len(classes)) for name, said in named.items()}
    of_row = absolute_errors if kind == "numbers" else log_losses
    losses = pd.DataFrame({name: of_row(y, said) for name, said in known.items()})
    words = "absolute error" if kind == "numbers" else "log-loss"
    fold = np.full(len(y), -1)
    return Evidence(kind, y, known, losses, dict.fromkeys(known, words), fold, classes)


def _are_numbers(y: np.ndarray, named: dict) -> bool:
    """Whether whole numbers are a target of regression: predictions are no probabilities."""
    if y.dtype.kind not in "iuf":
        return False
    columns = [np.asarray(said, float) for said in named.values()]
    return all(said.ndim == 1 and (said.min() < 0 or said.max() > 1) for said in columns)


def _of_shape(name: str, said, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return predictions as an array with one row for each of y.

    Raises
    ------
    ValueError
        If they have another shape.
    """
    said = drawing.numbers_of(f"The predictions of {name!r}", said)
    if not np.isfinite(said).any():
        raise ValueError(f"The predictions of {name!r} hold no finite number.")
    if n_classes == 2 and said.ndim == 1:
        said = np.column_stack([1 - said, said])
    wanted = (len(y), n_classes) if n_classes else y.shape
    if said.shape != wanted:
        raise ValueError(
            f"The predictions of {name!r} have the shape {said.shape}, expected {wanted}. Pass "
            "the result of predict_proba for classes, or of predict for numbers."
        )
    return said


def mean_by_quantile(
    predicted: np.ndarray, outcome: np.ndarray, n_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of predictions and outcomes over groups of equal size, by prediction."""
    order = np.argsort(predicted, kind="stable")
    groups = [part for part in np.array_split(order, n_bins) if len(part)]
    return (
        np.array([predicted[part].mean() for part in groups]),
        np.array([outcome[part].mean() for part in groups]),
    )


def calibration_error(outcome: np.ndarray, predicted: np.ndarray, n_bins: int = 10) -> float:
    """Return the expected calibration error of probabilities, over bins of equal width.

    The mean over all pairs of the distance between the mean probability and the share that
    happened in their bin (Naeini et al., "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI 2015).
    """
    places = np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], predicted)
    gaps = np.bincount(places, predicted - outcome, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(predicted))


def log_losses(y: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return the log-loss of each row: of classes, or the mean over labels of 0/1 indicators."""
    if y.ndim == 2:
        of_truth = np.where(y == 1, said, 1 - said)
        return -np.log(np.clip(of_truth, _LEAST, 1)).mean(axis=1)
    return -np.log(np.clip(said[np.arange(len(y)), y], _LEAST, 1))


def absolute_errors(y: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return the absolute error of each row; of several targets the mean in their deviations."""
    errors = np.abs(said - y)
    if y.ndim == 1:
        return errors
    spread = y.std(axis=0)
    return (errors / np.where(spread > 0, spread, 1.0)).mean(axis=1)
