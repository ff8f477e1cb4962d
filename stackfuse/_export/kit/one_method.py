"""One method of an estimator as an estimator, so that each method can be compared by itself."""

from typing import Any

from sklearn.base import BaseEstimator, RegressorMixin

from stackfuse._export.converters import convert, converter_for
from stackfuse._export.graph.graph import output_methods


class OneMethod(RegressorMixin, BaseEstimator):
    """Predicts what a method of a fitted estimator returns.

    Parameters
    ----------
    estimator : fitted estimator
    method : str
    """

    def __init__(self, estimator: Any, method: str):
        self.estimator = estimator
        self.method = method

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = self.estimator.__sklearn_tags__().input_tags
        return tags

    def fit(self, X, y=None) -> "OneMethod":
        """Do nothing: the estimator is fitted."""
        return self

    def predict(self, X):
        """Return the result of the method."""
        return getattr(self.estimator, self.method)(X)


@converter_for(OneMethod, frames=True)
def _one_method(estimator, x, method):
    return convert(estimator.estimator, x, estimator.method)


def further_methods(estimator) -> list[str]:
    """Return the methods that a stack may call, beyond those in a file of the estimator alone."""
    found = [m for m in ("decision_function", "predict", "transform") if hasattr(estimator, m)]
    outputs = output_methods(estimator).values()
    classes = getattr(estimator, "classes_", None)
    if classes is not None and getattr(classes, "dtype", None) is not None:
        # Classes that are words are no numbers, which a graph could return.
        found = [m for m in found if m != "predict" or classes.dtype.kind in "buif"]
    return [method for method in found if method not in outputs]
