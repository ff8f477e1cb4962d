"""What is odd about a table: columns that tell nothing, or too much, and rows that come twice."""

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score

#: How well one column may tell the target by itself.
_TOO_WELL = 0.999


def identifiers(frame: pd.DataFrame) -> list[str]:
    """Return the columns that number the rows: a value of its own in each, no measurement."""
    found = []
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

    A column does so if each of its values stands for one class or number, and values repeat.
    """
    found = []
    for name in frame.columns:
        column = frame[name].astype(object).where(frame[name].notna(), "<missing>")
        if not 1 < column.nunique() < 0.5 * len(frame):
            if classes or not pd.api.types.is_numeric_dtype(frame[name]):
                continue
            numbers = frame[name].fillna(0.0)
            if numbers.nunique() > 1 and abs(np.corrcoef(numbers, y)[0, 1]) > _TOO_WELL:
                found.append(name)
            continue
        groups = y.groupby(column.to_numpy())
        if classes:
            told = groups.agg(lambda part: part.value_counts().iloc[0]).sum() / len(y)
        else:
            told = r2_score(y, groups.transform("mean"))
        if told > _TOO_WELL and y.nunique() > 1:
            found.append(name)
    return found


def warnings_of(frame: pd.DataFrame, y: pd.Series, classes: bool) -> list[str]:
    """Return a sentence for everything odd that is told and left as it is."""
    said = []
    for name in leaking(frame, y, classes):
        said.append(
            f"The column {name!r} gives the target away by itself. If it is known only afterwards, "
            f"leave it out: --drop {name!r}."
        )
    n_twice = int(frame.assign(**{"the target": y}).duplicated().sum())
    if n_twice:
        said.append(
            f"{n_twice} of {len(frame)} rows repeat an earlier row, so that folds share them and "
            "scores are too good. Remove them, or name a column of groups: --groups."
        )
    if classes:
        counts = y.value_counts()
        rare = counts[counts < 5]
        if len(rare):
            shown = ", ".join(f"{label!r} ({count})" for label, count in rare.items())
            said.append(f"Classes with fewer than five rows can hardly be learnt: {shown}.")
    return said
