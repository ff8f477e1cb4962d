"""Make up rows with hard words: unknown, empty or missing ones.

Otherwise, where an encoder knows all words of the rows, a graph that is wrong on others would pass.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stackfuse._core import sampling, sklearn_private
from stackfuse._export.checking.numeric_table import without_sparse
from stackfuse._export.checking.probes import (
    MAX_COLUMNS,
    Probe,
    answers_or_none,
    is_exact,
    some_of,
)
from stackfuse._export.checking.word_table import WordTable, word_table

#: A word that no column holds. If one does, the row is a usual one.
_UNKNOWN = "a word of no column"

_HINT = (
    "Where the row lacks a word: a graph cannot tell None from NaN. Use NaN for missing words, or "
    "SimpleImputer(missing_values=None)."
)

#: The most rows of each kind that are asked for one by one.
_MAX_ALONE = 2


def word_probes(estimator, rows, precision: str) -> list[Probe]:
    """Return rows with one word replaced, with the estimator's outputs; none without words.

    If the estimator refuses a row, the graph must return NaN for it.

    Parameters
    ----------
    estimator : fitted estimator
    rows : array-like of shape (n_samples, ...)
    precision : {"float64", "float32"}
        The precision of the graph.
    """
    table = word_table(some_of(rows))
    if table is None:
        return []
    columns = sampling.spread(table.words.shape[1], MAX_COLUMNS).tolist()
    kinds = {
        "with an unknown word": [(k, (_UNKNOWN,)) for k in columns],
        "with an empty word": [(k, ("",)) for k in columns],
        "with a missing word": [(k, table.missing[k]) for k in columns if table.missing[k]],
    }
    return _Asked(estimator, table, is_exact(estimator, precision)).probes(kinds)


#: The number of a column, and words to put there, which a graph cannot tell apart.
_Change = tuple[int, tuple[Any, ...]]


@dataclass(frozen=True)
class _Asked:
    """An estimator that is asked for rows with one word replaced.

    Attributes
    ----------
    estimator : fitted estimator
    table : WordTable
    exact : bool
        See :class:`Probe`.
    """

    estimator: Any
    table: WordTable
    exact: bool

    def probes(self, kinds: dict[str, list[_Change]]) -> list[Probe]:
        """Return rows of all kinds; those that the estimator refuses are found one by one."""
        rows, answers = self._ask([change for changes in kinds.values() for change in changes])
        if None not in answers:
            return [self._probe("with an unknown, empty or missing word", rows, answers)]
        found = []
        for kind, changes in kinds.items():
            refused = []
            for k in sampling.spread(len(changes), _MAX_ALONE) if changes else ():
                rows, answers = self._ask([changes[k]])
                if None not in answers:
                    found.append(self._probe(kind, rows, answers))
                elif not any(answers):
                    refused.append(changes[k])
            if refused and self._usual is not None:
                rows = without_sparse(self.table.rebuild(self._replaced(refused, 0)))
                found.append(Probe.of_refused(kind, rows, len(refused), self._usual, _HINT))
        return found

    @cached_property
    def _usual(self) -> dict[str, np.ndarray] | None:
        """The outputs for a usual row; None if the estimator refuses even that."""
        return self._ask([])[1][0]

    def _ask(self, changes: list[_Change]) -> tuple[Any, list[dict | None]]:
        """Return rows, and the outputs for each choice of words; None if it refuses a row.

        A usual row is the last: some columns of nothing but missing values are refused.
        """
        usual = self.table.words[:1]
        n_choices = max((len(words) for _, words in changes), default=1)
        rows = [
            self.table.rebuild(np.vstack([self._replaced(changes, n), usual]))
            for n in range(n_choices)
        ]
        return rows[0], [answers_or_none(self.estimator, each) for each in rows]

    def _replaced(self, changes: list[_Change], n: int) -> np.ndarray:
        """Return one row for each change, with the n-th of its words, or the last one."""
        made = self.table.words[np.arange(len(changes)) % len(self.table.words)]
        for row, (column, words) in zip(made, changes):
            row[column] = words[min(n, len(words) - 1)]
        return made

    def _probe(self, kind: str, rows, answers: list[Any]) -> Probe:
        """Return the rows to which all answers are equal."""
        first = answers[0]
        n_rows = len(next(iter(first.values())))
        same = [
            k
            for k in range(n_rows)
            if all(
                np.array_equal(y[k], a[n][k], equal_nan=True)
                for a in answers
                for n, y in first.items()
            )
        ]
        expected = {name: y[same] for name, y in first.items()}
        kept = sklearn_private.safe_indexing(rows, same)
        return Probe(kind, kept, np.zeros((len(same), 1), bool), expected, self.exact, hint=_HINT)
