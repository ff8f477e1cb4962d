"""The rows on which a graph is compared with its estimator, and the comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from stackfuse._core import (
    MultiInput,
    NotConvertible,
    messages,
    multi_input,
    sklearn_private,
    targets,
)
from stackfuse._export.checking.answers import expected_outputs
from stackfuse._export.checking.made_up_rows import made_up_rows, rows_like
from stackfuse._export.checking.parity import TOLERANCE, check_parity
from stackfuse._export.checking.probes import Probe, probes
from stackfuse._export.checking.word_probes import word_probes
from stackfuse._export.graph.graph import sketch_within
from stackfuse._export.graph.signature import as_given, as_pandas
from stackfuse._steps import dates

#: Made-up rows that a file is compared on by default, and those of them that it carries.
N_ROWS, N_GOLDEN = 64, 8

_HINT_FLOAT32 = (
    "X is float32. scikit-learn computes some estimators in float32, and the graph computes in "
    "float64. Fit and verify on float64."
)


@dataclass(frozen=True)
class RowsToCompare:
    """The rows to compare on, before it is known what the graph takes.

    Attributes
    ----------
    rows : array-like of shape (n_samples, ...)
        The caller's rows, or made-up ones.
    golden : array-like of shape (n_samples, ...) or None
        The rows that the file will carry: made up, unless the caller gives some.
    """

    rows: Any
    golden: Any

    @classmethod
    def of(cls, stack: Any, verify: Any, golden: Any) -> "RowsToCompare | None":
        """Return the rows to compare on, or None with ``verify=False``.

        Parameters
        ----------
        stack : fitted estimator or TrainedModel
        verify, golden : array-like of shape (n_samples, ...), False or None
            See :func:`export`.

        Raises
        ------
        ValueError
            If there are no rows, and none can be made up.
        """
        verify, golden = check_given(verify, golden)
        if verify is False:
            return None
        sketch = sketch_within(stack)
        if verify is None and sketch is not None:
            rows = made_up_rows(stack, sketch, N_ROWS)
            if golden is None:
                first = np.arange(min(N_GOLDEN, sklearn_private.num_samples(rows)))
                golden = sklearn_private.safe_indexing(rows, first)
            return cls(rows, golden)
        if verify is None and golden is None:
            raise ValueError(
                f"This {type(stack).__name__} keeps no facts about X, so no rows can be made up to "
                "check the file. Pass some rows of X, verify=X_sample, or skip the check, "
                "verify=False."
            )
        rows = golden if verify is None else verify
        return cls(rows, _rows_like(stack, rows) if golden is None else golden)


def check_given(verify: Any, golden: Any) -> tuple[Any, Any]:
    """Return the rows to compare, a dict of arrays as MultiInput.

    Raises
    ------
    TypeError, ValueError
        If they cannot be compared.
    """
    given = {"verify": verify, "golden": golden}
    for name, rows in given.items():
        if rows is None or rows is False:
            continue
        if rows is True:
            raise TypeError(f"{name} must be rows of X, got True. Leave it out, or pass X_sample.")
        if isinstance(rows, Mapping):
            given[name] = multi_input.rows_given(rows, name=name)
        if targets.n_rows(given[name], name) == 0:
            raise ValueError(f"{name} holds no rows. Pass some rows of X.")
    if verify is False and golden is not None:
        raise ValueError(
            "golden rows are compared before they are written, but verify=False skips the "
            "comparison. Leave out one of the two."
        )
    return given["verify"], given["golden"]


def _hint_for(rows: Any, graph: Any) -> str:
    """Return a possible cause of a difference; empty if none is known."""
    if graph.half_precision:
        layer, dtype = graph.half_precision
        return (
            f"The layer {layer!r} computes in {dtype}, which each runtime rounds in its own way. "
            "Train the network in float32."
        )
    return _HINT_FLOAT32 if getattr(rows, "dtype", None) == np.float32 else ""


def _rows_like(stack, verify) -> Any:
    """Return a few made-up rows like the caller's; None if the estimator refuses all of them."""
    try:
        return rows_like(stack, verify, N_GOLDEN)
    except ValueError:  # the caller's rows are compared anyway
        return None


@dataclass(frozen=True)
class Comparison:
    """The rows on which a graph is compared with its estimator, and the expected outputs.

    Attributes
    ----------
    stack : fitted estimator or TrainedModel
    rows : array-like of shape (n_samples, ...)
        As the graph sees them.
    inputs : dict of str to ndarray
        By the names of the graph's inputs: the rows, all hard rows, and the golden rows.
    expected : dict of str to ndarray
        The estimator's outputs for the rows.
    golden : pair of dict of str to ndarray, or None
        The inputs of the golden rows, and the estimator's outputs for them.
    probes : list of Probe
        The hard rows.
    hint : str
        A possible cause of a difference.
    """

    stack: Any
    rows: Any
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    golden: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None
    probes: list[Probe]
    hint: str

    @classmethod
    def of(cls, stack: Any, compared: RowsToCompare, graph: Any, precision: str) -> "Comparison":
        """Make up hard rows, and compute the expected outputs of all rows by the estimator."""
        round_rows = _round_to_float32 if precision == "float32" else _unchanged
        rows = round_rows(compared.rows)  # as the graph sees them
        hard = probes(stack, rows, precision, round_rows) + word_probes(stack, rows, precision)
        parts = [graph.signature.feed(part) for part in (rows, *(probe.rows for probe in hard))]
        golden = None
        if compared.golden is not None:
            carried = round_rows(compared.golden)
            golden = graph.signature.feed(carried), expected_outputs(stack, carried)
            parts.append(golden[0])
        inputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        hint = _hint_for(compared.rows, graph)
        return cls(stack, rows, inputs, expected_outputs(stack, rows), golden, hard, hint)

    @property
    def n_rows(self) -> int:
        """Number of rows: the caller's, or those made up like training rows."""
        return len(next(iter(self.expected.values())))

    @property
    def n_probes(self) -> int:
        """Number of hard rows."""
        return sum(len(probe.on_edge) for probe in self.probes)

    def check(
        self, outputs: dict[str, np.ndarray], *, what: str, tolerance: float = TOLERANCE
    ) -> float:
        """Compare outputs of all rows; return the largest difference on the rows.

        Parameters
        ----------
        outputs : dict of str to ndarray of shape (n_samples, ...)
        what : str
            Names the graph in messages.
        tolerance : float, default=1e-5
            The largest difference for these rows; see :func:`check_parity`.

        Raises
        ------
        ParityError
            If they disagree.
        """
        missing = sorted(set(self.expected) - set(outputs))
        if missing:
            raise NotConvertible(
                f"{what} has no output {messages.listed(missing)}. It has {list(outputs)}."
            )
        ends = np.cumsum([self.n_rows, *(len(probe.on_edge) for probe in self.probes)])
        parts = {name: np.split(np.asarray(outputs[name]), ends) for name in self.expected}
        of_rows, *of_probes, of_golden = (
            {name: part[k] for name, part in parts.items()} for k in range(len(ends) + 1)
        )
        difference = check_parity(
            self.expected, of_rows, what=what, hint=self.hint, tolerance=tolerance
        )
        if self.golden is not None:
            owner = f"{what}, on golden rows,"
            check_parity(self.golden[1], of_golden, what=owner, hint=self.hint)
        for probe, got in zip(self.probes, of_probes, strict=True):
            probe.check(self.stack, got, what=what)
        return difference


def _unchanged(X):
    return X


def _round_to_float32(X: Any) -> Any:
    """Return rows with all numbers rounded to float32; their dtypes stay."""
    if isinstance(X, MultiInput):
        return MultiInput(**{name: _round_to_float32(array) for name, array in X.arrays.items()})
    if hasattr(X, "columns"):
        rounded = as_pandas(X).copy()
        for k in range(rounded.shape[1]):
            column = rounded.iloc[:, k]
            if column.dtype.kind == "f":
                narrow = column.to_numpy(np.float32, na_value=np.nan)
                rounded.isetitem(k, pd.Series(narrow, column.index).astype(column.dtype))
            elif dates.is_dates(column):
                narrow = dates.days_of(column).astype(np.float32).astype(np.float64)
                rounded.isetitem(k, dates.dates_of(narrow, column.dtype).set_axis(column.index))
        return as_given(rounded, X)
    array = X if scipy.sparse.issparse(X) else np.asarray(X)
    return array.astype(np.float32).astype(array.dtype) if array.dtype.kind == "f" else X
