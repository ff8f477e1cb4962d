"""The answers of a stack; for its own training rows, its out-of-fold predictions."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stackfuse._display import rowwise
from stackfuse._stacking.judging import Judged


@dataclass(frozen=True, eq=False)
class Teacher:
    """A fitted stack that is asked for answers: probabilities, or numbers.

    Attributes
    ----------
    stack : fitted stack
    classifier : bool
    """

    stack: Any
    classifier: bool

    @property
    def classes(self) -> np.ndarray | None:
        """The classes behind the columns of the answers; None for labels, and for numbers."""
        labels = isinstance(getattr(self.stack, "classes_", None), list)
        return self.stack.classes_ if self.classifier and not labels else None

    def answers(self, X) -> np.ndarray:
        """Return what the stack says of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        answers : ndarray of shape (n_samples, n_classes), (n_samples, n_outputs) or (n_samples,)
        """
        said = self.stack.predict_proba(X) if self.classifier else self.stack.predict(X)
        return np.asarray(said, np.float64)


@dataclass(frozen=True, eq=False)
class RowsOfFit:
    """The rows that a stack was fitted on, and what it knows of them.

    Attributes
    ----------
    teacher : Teacher
    X : array-like of shape (n_samples, ...)
    weight : ndarray of shape (n_samples,) or None
        As in fit.
    """

    teacher: Teacher
    X: Any
    weight: np.ndarray | None

    @cached_property
    def _judged(self) -> Judged:
        stack = self.teacher.stack
        table = stack._with_passthrough(stack.oof_.predictions, self.X)
        return stack._judged(table, self.weight)

    @cached_property
    def answers(self) -> np.ndarray:
        """Predictions of the stack by models that have not seen the rows; else NaN."""
        return self._judged.out_of_fold()

    @property
    def y(self) -> np.ndarray:
        """The target of fit: class numbers, indicators or numbers."""
        return np.asarray(self.teacher.stack.oof_.y)

    @property
    def labels(self) -> np.ndarray:
        """The target of fit as it was passed."""
        classes = self.teacher.classes
        return self.y if classes is None else np.asarray(classes)[self.y]

    def mixed(self, alpha: float) -> np.ndarray:
        """Return the answers with a part `alpha` of the target; the target where there is none."""
        certain = self.y.astype(np.float64)
        if self.teacher.classes is not None:
            certain = np.eye(len(self.teacher.classes))[self.y]
        known = np.isfinite(self.answers)
        return np.where(known, alpha * certain + (1 - alpha) * self.answers, certain)

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows to train on and to score on: those of the fold that trains on most."""
        fold = max(self._judged.folds, key=lambda fold: len(fold.train))
        return fold.train, fold.test

    def losses(self, said: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the loss of a model's predictions for some rows, one by one.

        Parameters
        ----------
        said : ndarray
            In the form of the answers.
        places : ndarray of int
            The numbers of the rows.

        Returns
        -------
        losses : ndarray
            Log-losses; or squared errors in units of the variance of the target, averaged over its
            columns, so that their mean is 1 - R2.
        """
        y = self.y[places]
        if self.teacher.classifier:
            return rowwise.log_losses(y, said)
        y, said = (np.asarray(table, np.float64).reshape(len(y), -1) for table in (y, said))
        weight = None if self.weight is None else self.weight[places]
        variance = np.average((y - np.average(y, 0, weight)) ** 2, 0, weight)
        with np.errstate(divide="ignore", invalid="ignore"):
            return ((y - said) ** 2 / variance).mean(axis=1)
