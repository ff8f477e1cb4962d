"""Oddities of a table: columns that tell nothing, or too much, and rows that come twice."""

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score
from sklearn.tree import DecisionTreeClassifier

from stackfuse._core import messages, sampling

#: How well one column may tell the target by itself.
_TOO_WELL = 0.999

#: The most rows that thresholds are sought in.
_TRIED_ROWS = 20_000


def identifiers(frame: pd.DataFrame) -> list[str]:
    """Return the columns that number the rows: a value of its own in each, no measurement."""
    frame, found = frame.drop_duplicates(), []
    is_dates = pd.api.types.is_datetime64_any_dtype
    for name in frame.columns:
        column = frame[name]
        if column.nunique(dropna=False) < len(frame) or len(frame) < 20:
            continue
        if pd.api.types.is_integer_dtype(column):
            steps = np.diff(np.sort(column.to_numpy()))
            if np.mean(steps == 1) > 0.9:
                found.append(name)
        elif not pd.api.types.is_numeric_dtype(column) and not is_dates(column):
            words = column.astype(str).str.count(r"\s+") + 1
            if words.mean() < 2:
                found.append(name)
    return found


def leaking(frame: pd.DataFrame, y: pd.Series, classes: bool) -> list[str]:
    """Return the columns of which one alone gives the target away.

    A column does so if each of its values stands for one class or number, and values repeat, or if
    a few thresholds, or a line, tell the target.
    """
    found = []
    chance = y.value_counts(normalize=True).iloc[0] if classes else 0.0
    for name in frame.columns if y.nunique() > 1 else ():
        column = frame[name]
        if 1 < column.nunique(dropna=False) < 0.5 * len(frame):
            told = _told_by_values(column, y, classes)
        elif pd.api.types.is_numeric_dtype(column) and column.nunique() > 1:
            told = _told_by_size(column, y, classes)
        else:
            continue
        if (told - chance) / (1.0 - chance) > _TOO_WELL:
            found.append(name)
    return found


def _told_by_values(column: pd.Series, y: pd.Series, classes: bool) -> float:
    """Return the accuracy, or R2, if each value of a column stands for one class or number."""
    codes = pd.factorize(column, use_na_sentinel=False)[0]
    if classes:
        labels = pd.factorize(y)[0]
        counts = pd.Series(1, index=[codes, labels]).groupby(level=[0, 1]).size()
        return float(counts.groupby(level=0).max().sum() / len(y))
    return float(r2_score(y, y.groupby(codes).transform("mean")))


def _told_by_size(column: pd.Series, y: pd.Series, classes: bool) -> float:
    """Return the accuracy of a few thresholds of a column, or R2 of a line through it."""
    numbers = column.astype(float)
    if not classes:
        known = numbers.notna().to_numpy()
        return float(np.corrcoef(numbers[known], y[known])[0, 1] ** 2)
    some = sampling.spread(len(y), _TRIED_ROWS)
    table, labels = numbers.to_numpy()[some, None], y.to_numpy()[some]
    tree = DecisionTreeClassifier(
        max_leaf_nodes=2 * y.nunique(), min_samples_leaf=5, random_state=0
    )
    return float(tree.fit(table, labels).score(table, labels))


def warnings_of(frame: pd.DataFrame, y: pd.Series, classes: bool) -> list[str]:
    """Return a sentence for everything odd that is told and left as it is."""
    said = []
    for name in leaking(frame, y, classes):
        said.append(
            f"The column {name!r} gives the target away by itself. If you will not know it when "
            f"you predict, leave it out: --drop {name!r}."
        )
    n_twice = int(frame.assign(**{"the target": y}).duplicated().sum())
    if n_twice:
        said.append(
            f"{n_twice} of {len(frame)} rows repeat an earlier row. Folds share them, so scores "
            "are too good. Remove them, or name a column of groups: --groups."
        )
    if classes:
        counts = y.value_counts()
        rare = counts[counts < 10]
        if len(rare):
            shown = messages.first_few(f"{label!r} ({count})" for label, count in rare.items())
            said.append(
                f"These classes have fewer than ten rows and can hardly be learnt: {shown}."
            )
    return said
