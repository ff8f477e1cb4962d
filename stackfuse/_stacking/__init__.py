"""StackingClassifier and StackingRegressor."""

from stackfuse._stacking.estimators import StackingClassifier, StackingRegressor
from stackfuse._stacking.passthrough import as_list

__all__ = ["StackingClassifier", "StackingRegressor", "as_list"]
