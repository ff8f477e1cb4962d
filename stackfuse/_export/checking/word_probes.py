"""Make up rows with hard words: unknown, empty or missing ones.

Otherwise, where an encoder knows all words of the rows, a graph that is wrong on others would pass.
"""

from typing import Any

import numpy as np

from stackfuse._core import sampling, sklearn_private
from stackfuse._export.checking.numeric_table import without_sparse
from stackfuse._export.checking.probes import (
    MAX_COLUMNS,
    MAX_REFUSED,
    MAX_ROWS,
    Probe,
    answers_or_none,
    is_exact,
)
from stackfuse._export.checking.word_table import WordTable, word_table

#: A word that no column holds. If one does, the row is a usual one.
_UNKNOWN = "a word of no column"


def word_probes(estimator, rows, precision: str) -> list[Probe]:
    """Return rows with one word replaced, with the estimator's outputs; none without words.

    If the estimator refuses a row alone, the graph must return NaN for it.

    Parameters
    ----------
    estimator : fitted estimator
    rows : array-like of shape (n_samples, ...)
    precision : {"float64", "float32"}
        The precision of the graph.
    """
    some = sampling.spread(sklearn_private.num_samples(rows), MAX_ROWS)
    table = word_table(sklearn_private.safe_indexing(rows, some))
    if table is None:
        return []
    exact = is_exact(estimator, precision)
    found = []
    for kind, words in _kinds_of_rows(table).items():
        made = table.rebuild(words)
        expected = answers_or_none(estimator, made)
        if expected is not None:
            found.append(Probe(kind, made, _no_edges(words), expected, exact))
            continue
        found += _one_by_one(estimator, kind, words, table, exact)
    return found


def _kinds_of_rows(table: WordTable) -> dict[str, np.ndarray]:
    """Return rows by their kind; in each row the word of one column is replaced."""
    columns = sampling.spread(table.words.shape[1], MAX_COLUMNS)
    replaced: dict[str, Any] = {
        "with an unknown word": [_UNKNOWN for _ in columns],
        "with an empty word": ["" for _ in columns],
        "with a missing word": [table.missing[column] for column in columns],
    }
    kinds = {}
    for kind, values in replaced.items():
        words = table.words[np.arange(len(columns)) % len(table.words)]
        words[np.arange(len(columns)), columns] = values
        kinds[kind] = words
    return kinds


def _one_by_one(
    estimator, kind: str, words: np.ndarray, table: WordTable, exact: bool
) -> list[Probe]:
    """Return a few rows, apart: those that an estimator takes, and those that it refuses.

    Each is asked for with a usual row: a column of nothing but missing values may be refused.
    """
    usual = table.words[:1]
    usual_answer = answers_or_none(estimator, table.rebuild(np.vstack([usual, usual])))
    if usual_answer is None:
        return []
    found, refused = [], []
    for k in sampling.spread(len(words), MAX_REFUSED):
        pair = np.vstack([words[[k]], usual])
        rows = table.rebuild(pair)
        answer = answers_or_none(estimator, rows)
        if answer is None:
            refused.append(words[k])
        else:
            found.append(Probe(kind, rows, _no_edges(pair), answer, exact))
    if refused:
        rows = without_sparse(table.rebuild(np.array(refused, object)))
        found.append(Probe.of_refused(kind, rows, len(refused), usual_answer))
    return found


def _no_edges(words: np.ndarray) -> np.ndarray:
    return np.zeros((len(words), 1), bool)
