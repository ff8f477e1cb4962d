"""Say at once what cannot be converted, from classes alone.

Otherwise the last base of a stack would be refused after forests and networks before it were
converted, or after rows were asked for.
"""

from collections.abc import Iterator
from typing import Any

from sklearn.pipeline import Pipeline

from stackfuse._export.graph.convert import find_converter
from stackfuse._stacking import StackingClassifier, StackingRegressor


def refuse_at_once(estimator) -> None:
    """Raise if an estimator, or a part of it that its graph certainly holds, has no converter.

    Parameters
    ----------
    estimator : fitted estimator

    Raises
    ------
    TypeError
        If it is no estimator.
    NotConvertible
    """
    if isinstance(estimator, type):
        raise TypeError(
            f"A graph is made of a fitted estimator, got the class {estimator.__name__}. Make an "
            "instance and fit it."
        )
    if not hasattr(estimator, "get_params"):
        raise TypeError(f"A graph is made of a fitted scikit-learn estimator, got {estimator!r}.")
    for part in _parts_in_graph(estimator):
        find_converter(part)


def refuse_bases_at_once(stack) -> None:
    """Raise if a base of a stack has no converter; the meta-learner may have none."""
    for base in _bases_in_graph(stack):
        refuse_at_once(base)


def _bases_in_graph(stack) -> list:
    """Return the refitted bases that the meta-learner reads; none if folds stand for them."""
    if not hasattr(stack, "estimators_"):
        return []
    return [stack.estimators_[k] for k in stack.bases_read()]


def _parts_in_graph(estimator) -> Iterator[Any]:
    """Yield an estimator and the steps, bases and best estimators in it."""
    yield estimator
    parts = [getattr(estimator, "best_estimator_", None)]
    if isinstance(estimator, Pipeline):
        # Samplers of imbalanced-learn do nothing when rows are predicted.
        parts = [step for _, step in estimator.steps if not hasattr(step, "fit_resample")]
    elif isinstance(estimator, StackingClassifier | StackingRegressor):
        parts = [
            *_bases_in_graph(estimator),
            getattr(estimator, "final_estimator_", None),
        ]
    for part in parts:
        if part is not None and not isinstance(part, str):
            yield from _parts_in_graph(part)
