"""Searches and cross-validation as in scikit-learn, with the fits of networks side by side."""

from stackfuse._search.cross_validation import cross_val_predict, cross_validate
from stackfuse._search.searches import GridSearchCV, RandomizedSearchCV

__all__ = ["GridSearchCV", "RandomizedSearchCV", "cross_val_predict", "cross_validate"]
