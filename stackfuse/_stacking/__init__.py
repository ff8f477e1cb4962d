"""StackingClassifier and StackingRegressor."""

from stackfuse._stacking.estimators import StackingClassifier, StackingRegressor
from stackfuse._stacking.fitting import Stack
from stackfuse._stacking.passthrough import as_list

__all__ = ["Stack", "StackingClassifier", "StackingRegressor", "as_list"]
