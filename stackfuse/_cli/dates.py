"""Dates in files: which columns hold them, and which of their numbers is the day."""

import re
import warnings
from contextlib import suppress

import numpy as np
import pandas as pd

#: A day with its year, and perhaps a time after it.
_DATE = re.compile(
    r"\s*(\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4}|\d{1,2}([./])\d{1,2}\2\d{2}"
    r"|\d{1,2}[-. ]+[^\W\d_]{3,}[-. ]+\d{4})([T ]+\d{1,2}:\d{2}.*)?\s*"
)
#: Between dots the day comes first, wherever dates are written so.
_DOTTED = re.compile(r"\s*\d{1,2}\.\d{1,2}\.(\d{4}|\d{2})([T ]+\d{1,2}:\d{2}.*)?\s*")
_ISO = re.compile(r"\s*\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?\s*")


def dates_of(column: pd.Series) -> pd.Series:
    """Return a column of strings, some of them missing, as dates without a time zone.

    Raises
    ------
    ValueError
        If some are no dates, or days and months can be mistaken for each other.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert(None)
    if pd.api.types.is_datetime64_any_dtype(column.dtype) or column.isna().all():
        return pd.to_datetime(column)
    present = column.dropna().astype(str)
    readings = []
    if present.str.fullmatch(_ISO).all():
        with suppress(ValueError):
            readings.append(pd.to_datetime(column, format="ISO8601", utc=True).dt.tz_convert(None))
    else:
        dotted = present.str.fullmatch(_DOTTED).all()
        for day_first in [True] if dotted else [False, True]:
            with warnings.catch_warnings(), suppress(ValueError):
                warnings.simplefilter("ignore")  # that a reading does not fit, which is tried out
                found = pd.to_datetime(column, dayfirst=day_first, utc=True)
                readings.append(found.dt.tz_convert(None))
    if not readings:
        raise ValueError(f"{column.name!r} {_why_no_dates(present)}")
    if not readings[0].equals(readings[-1]):
        raise ValueError(
            f"{present.iloc[0]!r} in {column.name!r} may begin with the day or with the month. "
            "Write dates as 2024-12-31."
        )
    return readings[0]


def _why_no_dates(present: pd.Series) -> str:
    """Return the end of a sentence about strings that cannot be read as dates."""
    if not present.str.fullmatch(_DATE).any():
        return f"holds no dates, {present.iloc[0]!r}."
    styles = present.str.replace(r"\d+", "0", regex=True).str.replace(r"[^\W\d_]+", "a", regex=True)
    others = present[styles != styles.iloc[0]]
    if len(others):
        why = f"writes dates in several ways, {present.iloc[0]!r} and {others.iloc[0]!r}"
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = pd.to_datetime(present, dayfirst=True, utc=True, errors="coerce")
        why = (
            f"holds {present[read.isna()].iloc[0]!r}, which is not a date"
            if read.isna().any()
            else "holds no dates"
        )
    return f"{why}. Write dates as 2024-12-31."


def days_of(column: pd.Series) -> np.ndarray:
    """Return a column of dates as exported files take it: days since 1970, NaN where missing."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(float, na_value=np.nan)
    days = (dates_of(column) - pd.Timestamp(0)) / pd.Timedelta(days=1)
    return days.to_numpy(float, na_value=np.nan)


def with_dates(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return a table with dates in place of strings that are dates, and what is told of it."""
    found, said = {}, []
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            found[name] = dates_of(column)
        present = column.dropna()
        if pd.api.types.is_numeric_dtype(column) or not len(present) or name in found:
            continue
        if isinstance(present.iloc[0], str) and present.astype(str).str.fullmatch(_DATE).all():
            try:
                found[name] = dates_of(column)
            except ValueError as error:
                said.append(f"A column of dates is read as words: {error}")
    if found:
        said.append(f"Dates, passed to the graph as days since 1970: {', '.join(found)}.")
    return frame.assign(**found), said
