"""Weights that decay with the age of rows, for the meta-learner."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from stackfuse._core import sklearn_private


def decayed(n_samples: int, half_life: float) -> np.ndarray:
    """Return the weights of rows in the order of time: 1 for the last, halved every so many rows.

    The weight of row i is ``0.5 ** ((n_samples - 1 - i) / half_life)``.

    Parameters
    ----------
    n_samples : int
    half_life : float
        In rows.

    Returns
    -------
    weights : ndarray of shape (n_samples,), float64

    Examples
    --------
    >>> decayed(5, 2).round(2).tolist()
    [0.25, 0.35, 0.5, 0.71, 1.0]
    """
    return 0.5 ** (np.arange(n_samples)[::-1] / half_life)


def parameter_for_weights(final_estimator) -> str:
    """Return the name of the fit parameter by which weights reach a meta-learner.

    Raises
    ------
    ValueError
        If none does.
    """
    if has_fit_parameter(final_estimator, "sample_weight"):
        return "sample_weight"
    if not sklearn_private.routing_enabled():
        if isinstance(final_estimator, Pipeline):
            name, last = final_estimator.steps[-1]
            if has_fit_parameter(last, "sample_weight"):
                return f"{name}__sample_weight"
        if isinstance(final_estimator, sklearn_private.BaseSearchCV):
            return parameter_for_weights(final_estimator.estimator)
    raise ValueError(
        f"recency weighs the rows of the meta-learner, but {type(final_estimator).__name__} takes "
        "no sample_weight. Use another final_estimator, or recency=None."
    )
