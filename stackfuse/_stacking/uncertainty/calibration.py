"""The rows for calibration, with predictions of models that have not seen them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stackfuse._core import sklearn_private
from stackfuse._display import rowwise
from stackfuse._oof import are_in_time_order
from stackfuse._stacking.uncertainty.quantile import conformal_quantile
from stackfuse._stacking.uncertainty.row_weights import (
    keeps_groups_apart,
    row_weights,
)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Rows with predictions of models that have not seen them; no row of X is among it.

    Attributes
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Numbers of classes, or numbers.
    predictions : ndarray of shape (n_rows,), (n_rows, n_outputs) or (n_rows, n_classes)
        Predictions of the meta-learner.
    table : ndarray of shape (n_rows, n_columns)
        Predictions of the bases.
    weights : ndarray of shape (n_rows,)
        The weight of each row; a new row has 1.
    counted : {"row", "group"}
        The unit that has a weight of 1 in all.
    """

    y: np.ndarray
    predictions: np.ndarray
    table: np.ndarray
    weights: np.ndarray
    counted: str = "row"

    def quantile(self, scores: np.ndarray, coverage: float) -> np.ndarray:
        """Return what the score of a new row stays below; see :func:`conformal_quantile`."""
        return conformal_quantile(scores, self.weights, coverage, self.counted)


@dataclass(frozen=True, eq=False)
class Extras:
    """Facts about the rows besides X and y.

    Attributes
    ----------
    sample_weight : ndarray of shape (n_samples,) or None
    groups : ndarray of int, shape (n_samples,), or None
    half_life : float or None
    """

    sample_weight: np.ndarray | None = None
    groups: np.ndarray | None = None
    half_life: float | None = None

    def weights_of(self, rows: np.ndarray) -> np.ndarray:
        """Return what some rows count; see :func:`row_weights`."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        groups = self.groups
        if groups is not None:  # numbered from 0 among these rows
            groups = np.unique(groups[rows], return_inverse=True)[1]
        return row_weights(len(rows), weight, groups, self.half_life)

    @property
    def counted(self) -> str:
        """The unit that has a weight of 1 in all."""
        return "row" if self.groups is None else "group"


class HeldCalibration:
    """The calibration of one fit: made by ``calibrate``, or when it is first asked for.

    A memo: of a meta-learner that is seeded it is the same whenever it is made.
    """

    def __init__(self, made: Calibration | None = None):
        self._made = made

    def of(self, make: Callable[[], Calibration]) -> Calibration:
        """Return the calibration; it is made unless there is one."""
        made = self._made or make()
        self._made = self._made or made  # another thread may have been first
        return self._made


def on_out_of_fold(stack, X, extras: Extras) -> Calibration:
    """Return the calibration on the out-of-fold rows of a stack.

    The meta-learner is trained anew for each fold, on the out-of-fold rows of the other folds, and
    predicts the rows of the fold. Where folds go forward in time, it is trained on rows before
    them, so that rows of the first fold calibrate nothing.

    Parameters
    ----------
    stack : fitted stack
    X : array-like of shape (n_samples, ...) or None
        The rows of fit; needed with `passthrough`.
    extras : Extras

    Raises
    ------
    ValueError
        If these rows do not tell how far off the stack is for new ones.
    """
    oof = stack.oof_
    if extras.half_life is not None and not are_in_time_order(oof.folds):
        raise ValueError(
            "half_life lets old rows count less, but the folds of this stack do not go forward in "
            "time. Sort the rows by date, and fit it with cv=TimeSeriesSplit(), or folds by date."
        )
    if extras.groups is not None and not keeps_groups_apart(oof.folds, extras.groups):
        raise ValueError(
            "A group has rows on both sides of a fold, so its test rows are not new to the "
            "bases. Fit the stack with cv=GroupKFold() and fit(X, y, groups=groups)."
        )
    table = stack._with_passthrough(oof.predictions, X)
    judged = stack._judged(table, extras.sample_weight, fewest=1)
    said, _ = judged.said_by(rowwise.STACK, judged.cross_fitted(judged.columns))
    rows = np.unique(np.concatenate([fold.test for fold in judged.folds]))
    every = len(rows) == len(oof.predictions)
    return Calibration(
        judged.y[rows],
        np.asarray(said)[rows],
        oof.predictions if every else oof.predictions[rows],
        extras.weights_of(rows),
        extras.counted,
    )


def on_new_rows(stack, X, y: np.ndarray, extras: Extras) -> Calibration:
    """Return the calibration on rows that neither the bases nor the meta-learner have seen.

    Parameters
    ----------
    stack : fitted stack
    X : array-like of shape (n_samples, ...)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Numbers of classes, or numbers.
    extras : Extras
    """
    table = stack.transform(X)
    final = stack.final_estimator_
    said = final.predict_proba(table) if stack.oof_.classes_ is not None else final.predict(table)
    return Calibration(
        y,
        np.asarray(said),
        base_columns(stack, table),
        extras.weights_of(np.arange(len(y))),
        extras.counted,
    )


def base_columns(stack, table) -> np.ndarray:
    """Return the bases' columns of a table, without what is passed through."""
    places = range(len(stack.oof_.columns))
    if len(places) == table.shape[1]:
        return np.asarray(table)
    some = sklearn_private.safe_indexing(table, list(places), axis=1)
    return some.toarray() if hasattr(some, "toarray") else np.asarray(some)
