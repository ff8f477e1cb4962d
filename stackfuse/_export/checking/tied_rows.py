"""The rows whose answers depend on a choice among equally far neighbours."""

import warnings
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from stackfuse._core import sklearn_private
from stackfuse._export.checking.answers import expected_outputs
from stackfuse._export.checking.comparison import Comparison
from stackfuse._export.checking.parity import check_parity, differences
from stackfuse._export.graph.build import WHOLE
from stackfuse._export.tied_neighbors import rows_with_choice

_WHAT = "With ties='average' the graph"


@dataclass(frozen=True)
class TiedRows:
    """The compared rows in which ``ties="average"`` matters; in all others nothing differs.

    Attributes
    ----------
    n_rows, n_probes : int
        Number of rows, and of hard rows made up from them, with a choice among equally far
        neighbours.
    n_labels : int
        In how many of them the label is another than the estimator's.
    max_difference : float
        The largest absolute difference of probabilities, decisions or predictions in them.
    """

    n_rows: int
    n_probes: int
    n_labels: int
    max_difference: float

    @classmethod
    def of(cls, stack: Any, averaged: Any, comparison: Comparison) -> "TiedRows":
        """Count the rows, and check that all others agree.

        Parameters
        ----------
        stack : fitted estimator
        averaged : fitted estimator
            The same, in which neighbours at equal distances share.
        comparison : Comparison
            The comparison of the stack that averages with its graph.

        Raises
        ------
        ParityError
            If they differ in a row without such a choice.
        """
        choice, usual = _asked(stack, averaged, comparison.rows)
        check_parity(_taken(usual, ~choice), _taken(comparison.expected, ~choice), what=_WHAT)
        differing = [(_taken(usual, choice), _taken(comparison.expected, choice))]
        n_probes = 0
        for probe in comparison.probes:
            if probe.refused:
                continue
            choice_of_probe, usual = _asked(stack, averaged, probe.rows)
            kept = ~choice_of_probe
            others = sklearn_private.safe_indexing(probe.rows, np.flatnonzero(kept))
            part = replace(
                probe, rows=others, on_edge=probe.on_edge[kept], expected=_taken(usual, kept)
            )
            part.check(stack, _taken(probe.expected, kept), what=_WHAT)
            n_probes += int(choice_of_probe.sum())
            differing.append((_taken(usual, choice_of_probe), _taken(probe.expected, ~kept)))
        n_labels, largest = 0, 0.0
        for wanted, found in differing:
            for difference in differences(wanted, found, _WHAT):
                if difference.name == "label":
                    n_labels += int(difference.wrong.sum())
                elif difference.name not in WHOLE:
                    largest = max(largest, difference.largest)
        return cls(int(choice.sum()), n_probes, n_labels, largest)

    def as_dict(self) -> dict[str, Any]:
        """Return it for the manifest."""
        return {"rule": "average", **asdict(self)}

    def __str__(self) -> str:
        return (
            f"ties of neighbours in {self.n_rows} rows and {self.n_probes} made-up rows: "
            f"predictions differ by up to {self.max_difference:.1e}, and {self.n_labels} labels "
            "differ"
        )


def _asked(stack, averaged, rows) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return which rows have a choice, and the stack's own answers."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the rows may be made up
        return rows_with_choice(partial(expected_outputs, averaged), rows), expected_outputs(
            stack, rows
        )


def _taken(outputs: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: y[rows] for name, y in outputs.items()}
