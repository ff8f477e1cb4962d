"""Make up hard rows: on thresholds and ties, between values, missing, infinite, far away.

If the estimator refuses a single row, the graph must return NaN for it. Differences that may come
from rounding are no errors: the estimator's answer is not finite; or a label is a tie; or the
estimator jumps, that is, it answers as the graph does once the row is moved a little.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from stackfuse._core import MultiInput, errors, sampling, sklearn_private
from stackfuse._export.checking.answers import expected_outputs
from stackfuse._export.checking.numeric_table import (
    NumericTable,
    numeric_table,
    without_sparse,
)
from stackfuse._export.checking.parity import (
    TIE,
    differences,
    is_tie,
)
from stackfuse._export.checking.thresholds import (
    SMALLEST,
    edges_of,
)
from stackfuse._export.graph.build import WHOLE
from stackfuse._export.graph.masks import NO_CLASS
from stackfuse._export.trained_model import TrainedModel
from stackfuse._networks import (
    NetworkClassifier,
    NetworkRegressor,
)
from stackfuse._stacking import parts_of

#: The most rows of the caller that made-up rows are made from.
_MAX_ROWS = 64

#: The most thresholds that rows are put on; each gives six rows.
_MAX_EDGES = 48

#: The most columns that become missing, infinite or far, one at a time.
MAX_COLUMNS = 16

#: The most rows of each kind that the estimator may refuse, and that are predicted one by one.
_MAX_REFUSED = 4

#: A whole number that is larger than most tables of indices.
_NO_INDEX = 1e6

#: A number too large for float32.
_TOO_LARGE = 1e39

#: Where a number is smaller, a row is moved as if it were this large.
_SMALL = 1e-3

#: How often a row is moved to see whether the estimator jumps there.
_N_MOVES = 64


@dataclass(frozen=True)
class Probe:
    """Made-up rows of one kind, and the estimator's outputs for them.

    Attributes
    ----------
    kind : str
        Describes the rows in messages.
    rows : array-like of shape (n_samples, ...)
    on_edge : ndarray of bool, shape (n_samples, n_columns)
        Marks the numbers that were put on a threshold, where the last bit matters.
    expected : dict of str to ndarray of shape (n_samples, ...)
    exact : bool
        Whether estimator and graph both compute in float64.
    refused : bool
        Whether the estimator refuses each of these rows: then NaN is expected, and the label -1.
    hint : str
        A possible cause of a difference; ends messages.
    """

    kind: str
    rows: Any
    on_edge: np.ndarray
    expected: dict[str, np.ndarray]
    exact: bool
    refused: bool = False
    hint: str = ""

    @classmethod
    def of_refused(
        cls, kind: str, rows, n_rows: int, usual: dict[str, np.ndarray], hint: str = ""
    ) -> "Probe":
        """Return rows that the estimator refuses; its outputs for other rows give the shapes."""
        expected = {
            name: np.full((n_rows, *y.shape[1:]), NO_CLASS if name in WHOLE else np.nan)
            for name, y in usual.items()
        }
        edges = np.zeros((n_rows, 1), bool)
        return cls(kind, rows, edges, expected, exact=True, refused=True, hint=hint)

    def check(self, estimator, got: dict[str, np.ndarray], *, what: str) -> None:
        """Raise ParityError if a graph disagrees with the estimator.

        Parameters
        ----------
        estimator : fitted estimator
        got : dict of str to ndarray of shape (n_samples, ...)
            The outputs of the graph.
        what : str
            Names the graph in the message.
        """
        if self.refused:
            self._check_refused(got, what)
            return
        finite = np.ones(len(self.on_edge), bool)
        for y in self.expected.values():
            finite &= np.isfinite(y).all(axis=tuple(range(1, y.ndim)))
        places = np.flatnonzero(finite)
        expected = {name: y[places] for name, y in self.expected.items()}
        found = {name: np.asarray(got[name])[places] for name in expected}
        for difference in differences(expected, found, what) if places.size else ():
            wrong = difference.wrong
            if difference.name == "label":
                wrong &= ~is_tie(expected, TIE["float64" if self.exact else "float32"])
            wanted, given = expected[difference.name], found[difference.name]
            reach = self._reach() if wrong.any() else np.zeros(0)
            for k in np.flatnonzero(wrong):
                row = sklearn_private.safe_indexing(self.rows, [int(places[k])])
                nearby = _answers_nearby(estimator, row, reach[places[k]], difference.name)
                if nearby is not None and _is_between(given[k], *nearby, difference.allowed):
                    continue
                raise errors.ParityError(
                    f"{what} disagrees with the estimator on a made-up row, {self.kind}: "
                    f"{difference.name!r} is {given[k]!r} instead of {wanted[k]!r} (allowed: "
                    f"{difference.allowed:.3g}) for {_row_text(row)}. Nothing was written. "
                    f"{self.hint}"
                )

    def _reach(self) -> np.ndarray:
        """Return how far each number may be moved, as rounding may; shape (n_samples, n_columns).

        In float32 a number near 0 is rounded like the others of its column, once centred.
        In float64 numbers on a threshold stay: else a graph with ``x < t`` in place of ``x <= t``
        would pass.
        """
        table = numeric_table(self.rows)
        if table is None:
            return np.zeros(self.on_edge.shape)
        sizes = np.abs(np.nan_to_num(table.numbers, posinf=0.0, neginf=0.0))
        least = _SMALL if self.exact else np.maximum(np.median(sizes, axis=0), _SMALL)
        reach = TIE["float64" if self.exact else "float32"] * np.maximum(sizes, least)
        return np.where(self.on_edge & self.exact, 0.0, reach)

    def _check_refused(self, got: dict[str, np.ndarray], what: str) -> None:
        """Raise ParityError if a graph gives any row a number."""
        for difference in differences(self.expected, got, what):
            for k in np.flatnonzero(difference.wrong)[:1]:
                row = sklearn_private.safe_indexing(self.rows, [int(k)])
                raise errors.ParityError(
                    f"{what} predicts a made-up row for which the estimator raises an error, "
                    f"{self.kind}: {difference.name!r} is {np.asarray(got[difference.name])[k]!r} "
                    f"instead of {self.expected[difference.name][k]!r} for {_row_text(row)}. "
                    f"Nothing was written. {self.hint}"
                )


def probes(estimator, rows, precision: str, rounded: Callable[[Any], Any]) -> list[Probe]:
    """Return about 500 rows made up from the given ones, with the estimator's outputs.

    Parameters
    ----------
    estimator : fitted estimator
    rows : array-like of shape (n_samples, ...)
    precision : {"float64", "float32"}
        The precision of the graph.
    rounded : callable
        Rounds rows to the precision of the graph's input.
    """
    table = numeric_table(some_of(rows))
    if table is None:
        return []
    exact = is_exact(estimator, precision)
    found = []
    for kind, numbers, on_edge in _kinds_of_rows(estimator, table, exact):
        candidate = rounded(table.rebuild(numbers))
        expected = answers_or_none(estimator, candidate)
        if expected is not None:
            found.append(Probe(kind, candidate, on_edge, expected, exact))
    return found + _refused_probes(estimator, table, precision, rounded)


def some_of(rows):
    """Return the rows that others are made up from: all, or some from all parts."""
    places = sampling.spread(sklearn_private.num_samples(rows), _MAX_ROWS)
    return sklearn_private.safe_indexing(rows, places)


def _refused_probes(
    estimator, table: NumericTable, precision: str, rounded: Callable[[Any], Any]
) -> list[Probe]:
    """Return rows that the estimator refuses because of one number; the graph must return NaN."""
    kinds = {"with a missing value": [np.nan], "with an infinite value": [np.inf, -np.inf]}
    whole = np.flatnonzero(_holds_whole_numbers(table.numbers))
    of_indices = {
        "with a number that is not an index": [_NO_INDEX, -_NO_INDEX],
        "with a half": [0.5],
    }
    if len(whole):
        kinds |= of_indices
    if precision == "float64":
        kinds["with a value too large for float32"] = [_TOO_LARGE, -_TOO_LARGE]

    def rows_of(numbers: np.ndarray):
        # A tree refuses NaN in sparse rows, but not in the same rows as an array.
        return without_sparse(rounded(table.rebuild(numbers)))

    usual = None
    found = []
    for kind, values in kinds.items():
        numbers = _one_at_a_time(table.numbers, values, whole if kind in of_indices else None)
        numbers = numbers[sampling.spread(len(numbers), _MAX_REFUSED)]
        if answers_or_none(estimator, rows_of(numbers)) is not None:
            continue
        alone = [answers_or_none(estimator, rows_of(row[None])) for row in numbers]
        numbers = numbers[[answer is None for answer in alone]]
        usual = usual or answers_or_none(estimator, rows_of(table.numbers[:1]))
        if usual is None or not len(numbers):  # it refuses single rows, or only all together
            continue
        found.append(Probe.of_refused(kind, rows_of(numbers), len(numbers), usual))
    return found


def is_exact(estimator, precision: str) -> bool:
    """Return whether an estimator and its graph of a precision both compute in float64."""
    inexact = NetworkClassifier | NetworkRegressor | TrainedModel
    return precision == "float64" and not any(
        isinstance(part, inexact) or type(part).__module__.startswith("xgboost")
        for part in (estimator, *parts_of(estimator))
    )


def answers_or_none(estimator, rows) -> dict[str, np.ndarray] | None:
    """Return an estimator's outputs for rows; None if it refuses the rows."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return expected_outputs(estimator, rows)
    except Exception:  # any error: each package has its own for rows that it refuses
        return None


def _answers_nearby(estimator, row, reach: np.ndarray, name: str):
    """Return the smallest and the largest answer to rows within reach of a row."""
    table = numeric_table(sklearn_private.safe_indexing(row, [0] * _N_MOVES))
    if table is None:
        return None
    steps = np.random.default_rng(0).choice([-1.0, 1.0], table.numbers.shape)
    answers = answers_or_none(estimator, table.rebuild(table.numbers + steps * reach))
    return None if answers is None else (answers[name].min(axis=0), answers[name].max(axis=0))


def _is_between(found, low, high, slack: float) -> bool:
    return bool(np.all((low - slack <= found) & (found <= high + slack)))


def _row_text(row) -> str:
    """Return a row for a message, in full precision, not longer than a line or two."""
    arrays: dict[str, Any] = row.arrays if isinstance(row, MultiInput) else {"x": row}
    texts = []
    for name, array in arrays.items():
        array = array.toarray() if scipy.sparse.issparse(array) else np.asarray(array)
        texts.append(f"{name} = {array[0].ravel()[:MAX_COLUMNS].tolist()}")
    return ", ".join(texts)[:400]


# Kinds of rows.


def _kinds_of_rows(
    estimator, table: NumericTable, exact: bool
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield for each kind of rows its name, the rows, and a mask of numbers on a threshold."""
    generator = np.random.default_rng(0)
    numbers = table.numbers
    edges = edges_of(estimator, table.widths)
    if len(edges):
        yield "on the threshold of a tree or one float beside it", *_on_thresholds(edges, numbers)
    free = [
        ("between values of each column", _between_values(numbers, generator)),
        ("of values from different rows", generator.permuted(numbers, axis=0)),
        ("of equal values", _equal_values(numbers)),
        ("with a missing value", _one_at_a_time(numbers, [np.nan])),
        ("with an infinite value", _one_at_a_time(numbers, [np.inf, -np.inf])),
    ]
    if _holds_whole_numbers(numbers).any():  # all others may be refused, if these are indices
        free.append(("of whole numbers", _whole_numbers(numbers, generator)))
    if exact:  # far out, float32 leaves too few digits
        free.append(("far from all others", _far_away(numbers)))
    for kind, rows in free:
        yield kind, rows, np.zeros(rows.shape, bool)


def _on_thresholds(edges: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows in which one number is a threshold or the next float32 or float64 beside it."""
    rows, on_edge = [], []
    for k in sampling.spread(len(edges), _MAX_EDGES):
        column, threshold = int(edges[k, 0]), edges[k, 1]
        with np.errstate(over="ignore"):
            narrow = np.float32(threshold)
        beside = np.nextafter(narrow, np.array([-np.inf, np.inf], np.float32))
        values = [threshold, *np.nextafter(threshold, [-np.inf, np.inf]), narrow, *beside]
        for value in (v for v in values if np.isfinite(v) and (v == 0 or abs(v) >= SMALLEST)):
            row = numbers[len(rows) % len(numbers)].copy()
            row[column] = value
            rows.append(row)
            on_edge.append(np.arange(len(row)) == column)
    return np.array(rows), np.array(on_edge)


def _between_values(numbers: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return rows in which each number lies midway between two neighbours of its column."""
    rows = numbers.copy()
    for k in range(numbers.shape[1]):
        values = np.unique(numbers[np.isfinite(numbers[:, k]), k])
        if len(values) > 1:
            rows[:, k] = generator.choice(values[:-1] / 2 + values[1:] / 2, len(numbers))
    return rows


def _holds_whole_numbers(numbers: np.ndarray) -> np.ndarray:
    """Return for each column whether it holds whole numbers only."""
    return (np.isfinite(numbers) & (numbers == np.floor(numbers))).all(axis=0)


def _whole_numbers(numbers: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return rows with random whole numbers in each column that holds whole numbers only."""
    rows = numbers.copy()
    for k in np.flatnonzero(_holds_whole_numbers(numbers)):
        low, high = numbers[:, k].min(), numbers[:, k].max()
        rows[:, k] = np.floor(generator.uniform(low, high + 1.0, len(numbers))).clip(low, high)
        rows[:1, k], rows[1:2, k] = low, high
    return rows


def _equal_values(numbers: np.ndarray) -> np.ndarray:
    """Return rows in which all columns are 0, all are 1, or all have their median."""
    middle = np.median(np.nan_to_num(numbers), axis=0)
    return np.array([np.zeros_like(middle), np.ones_like(middle), middle, middle])


def _one_at_a_time(
    numbers: np.ndarray, values: list[float], columns: np.ndarray | None = None
) -> np.ndarray:
    """Return rows with one value replaced, for a sample of all columns or of the given ones."""
    rows = []
    n_columns = numbers.shape[1] if columns is None else len(columns)
    for column in sampling.spread(n_columns, MAX_COLUMNS, columns):
        for value in values:
            row = numbers[len(rows) % len(numbers)].copy()
            row[column] = value
            rows.append(row)
    return np.array(rows)


def _far_away(numbers: np.ndarray) -> np.ndarray:
    """Return rows with one value 10 or 1,000 times a column's range outside of the range."""
    finite = np.nan_to_num(numbers)
    low, high = finite.min(axis=0), finite.max(axis=0)
    rows = []
    for column in sampling.spread(numbers.shape[1], MAX_COLUMNS):
        for times in (10, -10, 1000, -1000):
            row = numbers[len(rows) % len(numbers)].copy()
            row[column] = (high if times > 0 else low)[column] + times * (high - low)[column]
            rows.append(row)
    return np.array(rows)
