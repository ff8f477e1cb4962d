"""Weights of rows by their classes."""

from typing import Any

import numpy as np
from sklearn.utils import compute_sample_weight


def class_weights(class_weight: Any, numbers: np.ndarray, classes: Any) -> np.ndarray:
    """Return the weight of each row by its class; for several columns the product.

    Parameters
    ----------
    class_weight : dict of label to float, list of such dicts, or "balanced"
        Other labels weigh 1. For several columns of y a list, one dict per column.
    numbers : ndarray of shape (n_samples,) or (n_samples, n_columns)
        The places of y's labels among the classes.
    classes : ndarray of shape (n_classes,), or list of ndarray
        Not used for a 0/1 matrix: the classes of a column are 0 and 1.

    Returns
    -------
    weights : ndarray of shape (n_samples,), float32

    Raises
    ------
    ValueError
        If it has another form, names an unknown class, or a weight is negative or not finite.
    """
    several = numbers.ndim == 2
    if isinstance(class_weight, str) and class_weight == "balanced":
        return compute_sample_weight("balanced", numbers).astype(np.float32)
    columns = list(numbers.T) if several else [numbers]
    if not several:
        classes = [classes]
    elif not isinstance(classes, list):
        classes = [np.arange(2)] * len(columns)
    by_column: Any = class_weight if several else [class_weight]
    fits = isinstance(by_column, list | tuple) and len(by_column) == len(columns)
    if not fits or not all(isinstance(weights, dict) for weights in by_column):
        form = f"a list of {len(columns)} dicts, one per column of y," if several else "a dict"
        raise ValueError(
            f"class_weight must be {form} of label to weight, or 'balanced', got {class_weight!r}."
        )
    result = np.ones(len(numbers))
    for weights, column, labels in zip(by_column, columns, classes):
        result *= _weights_of(weights, labels.tolist())[column.astype(int)]
    return result.astype(np.float32)


def _weights_of(weights: dict, labels: list) -> np.ndarray:
    """Return the weights of the labels, in their order."""
    for label, weight in weights.items():
        if label not in labels:
            raise ValueError(f"class_weight names {label!r}, but the classes are {labels}.")
        number = isinstance(weight, int | float | np.number)
        if not number or not np.isfinite(weight) or weight < 0:
            raise ValueError(
                f"class_weight gives {label!r} the weight {weight!r}: weights are numbers of at "
                "least 0."
            )
    return np.array([weights.get(label, 1.0) for label in labels])
