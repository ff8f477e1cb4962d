"""Rows made up like the training rows of a stack, which the stack accepts.

An exported file is compared with the stack on them, and carries some of them, so that no training
row is needed.
"""

import warnings
from typing import Any

import numpy as np

from stackfuse._core import sklearn_private
from stackfuse._export.checking.answers import expected_outputs
from stackfuse._export.checking.parity import TIE, is_tie
from stackfuse._stacking import Sketch, held_by, sketch_of

#: The most rows that are drawn for each row that is wanted.
_DRAWS = 4


def rows_like(estimator, X, n_rows: int) -> Any:
    """Return made-up rows like those of an X; see :func:`made_up_rows`."""
    return made_up_rows(estimator, sketch_of(X, held_by(estimator)), n_rows)


def made_up_rows(estimator, sketch: Sketch, n_rows: int) -> Any:
    """Return made-up rows that an estimator accepts, the same at each call.

    A row that it refuses is left out. So are, where others are left, rows without an answer, and
    rows in which two classes are equally likely: in another runtime the label may differ.

    Parameters
    ----------
    estimator : fitted estimator or TrainedModel
    sketch : Sketch
        A sketch of the training rows.
    n_rows : int
        The number of rows that is wanted; there may be fewer.

    Returns
    -------
    rows : array-like of shape (n_samples, ...)
        As the training rows were: an array, a data frame, a MultiInput.

    Raises
    ------
    NotConvertible
        If rows like the training rows cannot be made up.
    ValueError
        If the estimator refuses all rows.
    """
    drawn = sketch.rows(_DRAWS * n_rows, np.random.default_rng(0))
    first = sklearn_private.safe_indexing(drawn, np.arange(n_rows))
    fitting = _accepted(estimator, first)
    if len(fitting) == n_rows:
        return first
    fitting = _accepted(estimator, drawn)[:n_rows]
    return sklearn_private.safe_indexing(drawn, fitting)


def _accepted(estimator, rows) -> np.ndarray:
    """Return the numbers of the rows that an estimator accepts, without ties where it can be."""
    places = np.arange(sklearn_private.num_samples(rows))
    try:
        expected = _answers(estimator, rows)
    except Exception as error:  # any error: each package has its own for rows that it refuses
        alone = [(k, _refusal(estimator, rows, k)) for k in places]
        places = np.array([k for k, refusal in alone if refusal is None], int)
        if not len(places):
            raise ValueError(
                f"The {type(estimator).__name__} raised an error for all rows that were made up "
                f"to check the file ({error}). Pass some rows of X: verify=X_sample."
            ) from error
        expected = _answers(estimator, sklearn_private.safe_indexing(rows, places))
    clear = np.ones(len(places), bool)
    for y in expected.values():
        clear &= np.isfinite(y).reshape(len(y), -1).all(axis=1)
    if "label" in expected:
        clear &= ~is_tie(expected, TIE["float32"])
    return places[clear] if clear.any() else places


def _answers(estimator, rows) -> dict[str, np.ndarray]:
    """Return an estimator's outputs for rows; a warning would be about rows that nobody has."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return expected_outputs(estimator, rows)


def _refusal(estimator, rows, place: int) -> Exception | None:
    """Return the error with which an estimator refuses a row, or None."""
    try:
        _answers(estimator, sklearn_private.safe_indexing(rows, [place]))
    except Exception as error:  # any error: see above
        return error
    return None
