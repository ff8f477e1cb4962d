"""Compare a graph's outputs with those of its estimator."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stackfuse._core import errors
from stackfuse._export.graph.build import WHOLE

#: Allowed difference of probabilities; of decisions and regressions relative to the largest value.
TOLERANCE = 1e-5

#: Relative difference below which two scores count as equal up to rounding.
TIE = {"float64": 1e-9, "float32": 1e-6}


@dataclass(frozen=True)
class Difference:
    """How one output of a graph differs from the estimator's.

    Attributes
    ----------
    name : str
    size : ndarray of shape (n_samples, ...)
        Absolute.
    allowed : float
    """

    name: str
    size: np.ndarray
    allowed: float

    @property
    def wrong(self) -> np.ndarray:
        """Whether each row differs by more than allowed, or is NaN; bool of shape (n_samples,)."""
        fits = self.size <= self.allowed  # NaN does not
        return np.logical_not(fits.all(axis=tuple(range(1, fits.ndim))))

    @property
    def largest(self) -> float:
        """The largest difference; infinite if the graph returns NaN and the estimator does not."""
        return float(np.nan_to_num(self.size, nan=np.inf).max(initial=0.0))


def differences(
    expected: Mapping[str, np.ndarray],
    got: Mapping[str, Any],
    what: str,
    tolerance: float = TOLERANCE,
) -> Iterator[Difference]:
    """Yield the difference of each output.

    Raises
    ------
    ParityError
        If an output is missing, or has another shape.
    """
    for name, wanted in expected.items():
        if name not in got:
            raise errors.ParityError(f"{what} lacks the output {name!r}: it has {sorted(got)}.")
        found = np.asarray(got[name])
        if found.shape != wanted.shape:
            raise errors.ParityError(
                f"{what} returns {name!r} with shape {found.shape} instead of {wanted.shape}."
            )
        with np.errstate(invalid="ignore"):  # infinity less infinity
            size = np.abs(found.astype(np.float64) - wanted)
        same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        allowed = tolerance * _scale(name, wanted)
        yield Difference(name, np.where(same, 0.0, size), allowed if name not in WHOLE else 0.0)


def _scale(name: str, wanted: np.ndarray) -> float:
    """Return the number that differences of an output are relative to."""
    if name.startswith("probabilities"):
        return 1.0
    finite = wanted[np.isfinite(wanted)]
    return float(np.max(np.abs(finite), initial=0.0)) or 1.0


def check_parity(
    expected: Mapping[str, np.ndarray],
    got: Mapping[str, Any],
    *,
    what: str,
    hint: str = "",
    tolerance: float = TOLERANCE,
) -> float:
    """Compare the outputs of a graph with those of the estimator that it stands for.

    Parameters
    ----------
    expected, got : mapping of str to array of shape (n_samples, ...)
    what : str
        Names the graph in the message.
    hint : str, default=""
        A possible cause; ends the message.
    tolerance : float, default=1e-5
        The largest difference: absolute for probabilities, else relative to the largest value.

    Returns
    -------
    max_difference : float
        The largest absolute difference of any output but the labels.

    Raises
    ------
    ParityError
        With the size of the difference and the first row that differs.
    """
    largest = 0.0
    for difference in differences(expected, got, what, tolerance):
        name, wrong = difference.name, difference.wrong
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            found, wanted = np.asarray(got[name])[row], expected[name][row]
            if name == "label" and is_tie(expected, TIE["float32"])[row]:
                hint = (
                    "That row is a tie: the estimator's best scores for it are equal in float32. "
                    f"Leave such rows out of verify. {hint}"
                )
            raise errors.ParityError(
                f"{what} disagrees with the estimator: {name!r} differs in {wrong.sum()} of "
                f"{len(wrong)} rows, by up to {difference.largest:.3g} (allowed: "
                f"{difference.allowed:.3g}); first in row {row}: {found!r} instead of {wanted!r}. "
                f"Nothing was written. {hint}"
            )
        if name not in WHOLE:
            largest = max(largest, difference.largest)
    return largest


def is_tie(expected: Mapping[str, np.ndarray], within: float) -> np.ndarray:
    """Return for each row whether its label depends on a tiny relative difference of scores.

    Parameters
    ----------
    expected : mapping of str to array of shape (n_samples, ...)
        The outputs of a classifier.
    within : float

    Returns
    -------
    tied : ndarray of bool, shape (n_samples,)
    """
    tied = np.zeros(len(expected["label"]), bool)
    for name, scores in expected.items():
        if name in WHOLE:
            continue
        size = _scale(name, scores)
        scores = scores.reshape(len(scores), -1)
        is_multilabel = expected["label"].ndim == 2 and len(expected) == 2
        if scores.shape[1] == 1 or is_multilabel:
            gap = np.abs(scores - (0.5 if name == "probabilities" else 0.0)).min(axis=1)
        else:
            best = np.sort(scores, axis=1)[:, -2:]
            gap = best[:, 1] - best[:, 0]
        tied |= gap <= within * size
    return tied
