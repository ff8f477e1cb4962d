"""Weighted sums of the bases' predictions: how they are added up, and how weights are found."""

from stackfuse._meta.combining import pooling
from stackfuse._meta.combining.combiners import Combiner, CombiningClassifier, CombiningRegressor

__all__ = ["Combiner", "CombiningClassifier", "CombiningRegressor", "pooling"]
