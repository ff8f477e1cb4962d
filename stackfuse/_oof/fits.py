"""What the fits of folds leave."""

from typing import Any, NamedTuple


class FoldFit(NamedTuple):
    """What the fit of one job leaves.

    Attributes
    ----------
    estimator : fitted estimator or DiscardedModel
    predictions : ndarray, list of ndarray or None
        Of the fold's test rows; None if it has none.
    history : dict of str to list of float, or None
    """

    estimator: Any
    predictions: Any
    history: dict[str, list] | None

    def without_model(self) -> "FoldFit":
        """Return the fit without its estimator."""
        fitted = self.estimator
        if isinstance(fitted, DiscardedModel):
            return self
        classes = getattr(fitted, "classes_", None)
        return self._replace(estimator=DiscardedModel(type(fitted).__name__, classes))


class DiscardedModel(NamedTuple):
    """Stands for the model of a fold, of which only the predictions were kept."""

    kind: str
    classes_: Any


def plain_history(estimator) -> dict[str, list[float]] | None:
    """Return the training history of an estimator that keeps one as numbers by name."""
    history: Any = getattr(estimator, "history_", None)
    try:
        return {str(name): [float(v) for v in values] for name, values in history.items()}
    except (AttributeError, TypeError, ValueError):  # none, or something else of that name
        return None
