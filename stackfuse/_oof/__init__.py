"""Folds, fits, and out-of-fold predictions."""
