"""The quantile of conformal prediction: how large the scores of new rows may be."""

import numpy as np

from stackfuse._core import fitting, messages

COVERAGE = fitting.Wanted(
    lambda value: fitting.is_positive(value) and value < 1,
    "a number above 0 and below 1, such as 0.9",
)

#: Relative to a sum of weights: so much may be missing by rounding.
_ROUNDING = 1e-12


def conformal_quantile(
    scores: np.ndarray, weights: np.ndarray, coverage: float, counted: str = "row"
) -> np.ndarray:
    """Return the score that a new row stays below with a probability of `coverage`.

    A new row has the weight 1. It stands for a score of infinity, so that of n rows of weight 1
    the ceil((n + 1) * coverage)-th smallest score is returned [1]_ [2]_. With other weights it is
    the smallest score at and below which there is the share `coverage` of all weights [3]_ [4]_.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,) or (n_rows, n_outputs)
    weights : ndarray of shape (n_rows,)
    coverage : float
    counted : str, default="row"
        The unit that has a weight of 1 in all, for the message.

    Returns
    -------
    quantile : ndarray of shape (1,) or (n_outputs,), dtype float64

    Raises
    ------
    ValueError
        If there are too few rows for this coverage: the quantile would be infinite.

    References
    ----------
    .. [1] Vovk, V., A. Gammerman and G. Shafer. Algorithmic Learning in a Random World (2005).
    .. [2] Lei, J. et al. "Distribution-free predictive inference for regression." Journal of the
       American Statistical Association 113 (2018): 1094-1111.
    .. [3] Tibshirani, R. J. et al. "Conformal prediction under covariate shift." NeurIPS (2019).
    .. [4] Barber, R. F. et al. "Conformal prediction beyond exchangeability." The Annals of
       Statistics 51.2 (2023): 816-845.

    Examples
    --------
    >>> conformal_quantile(np.arange(1.0, 20.0), np.ones(19), 0.9)  # the 18th of 19
    array([18.])
    """
    fitting.check_settings({"coverage": coverage}, {"coverage": COVERAGE})
    total = float(np.sum(weights))
    wanted = coverage * (total + 1.0) * (1.0 - _ROUNDING)
    if wanted > total:
        needed = int(np.ceil(coverage / (1.0 - coverage) * (1.0 - _ROUNDING)))
        most = np.floor(1000.0 * total / (total + 1.0)) / 1000.0
        instead = f", or ask for a coverage of at most {most:g}" if most > 0 else ""
        raise ValueError(
            f"coverage={coverage:g} needs {messages.counted(needed, counted)} to calibrate on, "
            f"but there are {total:.4g}: use more{instead}."
        )
    columns = scores.reshape(len(scores), -1)
    order = np.argsort(columns, axis=0)
    reached = np.cumsum(weights[order], axis=0) >= wanted
    # The last sum may be rounded down: then it is the largest score.
    reached[-1] = True
    places = reached.argmax(axis=0)
    return np.take_along_axis(columns, order, axis=0)[places, np.arange(columns.shape[1])]
