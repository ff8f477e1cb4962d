"""A fit between its two phases: the network is built, and not trained yet."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stackfuse._core import sklearn_private
from stackfuse._training import Training


@dataclass
class BegunFit:
    """A fit that is ready to train. Nothing outside the estimator has changed.

    Attributes
    ----------
    X : array-like, sparse matrix or MultiInput of shape (n_all_samples, ...)
        As checked.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    rows : ndarray of int of shape (n_samples,), or None
        The rows of X that y belongs to; None for all.
    reset : bool
        Whether the network is new.
    training : Training or None
        None if there are no epochs.
    """

    X: Any
    y: Any
    rows: np.ndarray | None
    reset: bool
    training: Training | None = None

    def share_x(self, other: "BegunFit") -> None:
        """Read the rows of another fit's X, which is equal: one copy of it is enough."""
        self.X = other.X
        if self.training is not None and other.training is not None:
            self.training.share_x(other.training)

    @property
    def data(self) -> dict[str, Any]:
        """The X and y for scikit-learn's callbacks; some rows are read on demand."""
        X, rows = self.X, self.rows
        return {
            "X": X if rows is None else lambda: sklearn_private.safe_indexing(X, rows),
            "y": self.y,
        }
