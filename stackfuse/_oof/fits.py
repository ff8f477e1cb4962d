"""What the fits of folds leave."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class FoldFit(NamedTuple):
    """What the fit of one replica leaves.

    Attributes
    ----------
    estimator : fitted estimator or DiscardedModel
    predictions : ndarray, list of ndarray or None
        Of the fold's test rows.
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


class FoldFits(NamedTuple):
    """What an engine returns: one entry per fold in each list.

    Attributes
    ----------
    estimators : list of fitted estimators
        ``DiscardedModel`` where it was not to be kept.
    predictions : list of (ndarray, list of ndarray or None)
        What the estimator's method returned for the fold's test rows; None if it has none.
    histories : list of (dict or None)
        ``history_`` of the estimators that keep one.
    """

    estimators: list
    predictions: list
    histories: list

    def without_models(self, keep: Sequence[bool]) -> "FoldFits":
        """Return the fits without the models that are not to be kept."""
        fits = map(FoldFit._make, zip(*self))
        left = [fit if kept else fit.without_model() for kept, fit in zip(keep, fits, strict=True)]
        return FoldFits(*map(list, zip(*left)))

    def append(self, fit: FoldFit) -> None:
        """Add the outcome of one fold."""
        for values, value in zip(self, fit):
            values.append(value)


def plain_history(estimator) -> dict[str, list[float]] | None:
    """Return the training history of an estimator that keeps one as numbers by name."""
    history: Any = getattr(estimator, "history_", None)
    try:
        return {str(name): [float(v) for v in values] for name, values in history.items()}
    except (AttributeError, TypeError, ValueError):  # none, or something else of that name
        return None
