"""Numbers in files that are written as text: with a unit, or with signs between thousands."""

import re
from collections.abc import Collection
from functools import lru_cache

import pandas as pd

from stackfuse._core import messages

#: Signs between thousands that mean nothing else, and signs before a negative number.
_BLANKS, _MINUS = " \u00a0\u202f'\u2019", "-\u2212\u2013"

#: From which part of its cells on a column of words is said to hold numbers.
_MOSTLY = 0.5


@lru_cache
def _pattern(decimal: str) -> re.Pattern[str]:
    """Return a pattern of numbers with a sign of money before them, or a unit after them."""
    thousands = re.escape(_BLANKS + ("." if decimal == "," else ","))
    digits = rf"[1-9]\d{{0,2}}(?:[{thousands}]\d{{3}})+|0|[1-9]\d*"
    return re.compile(
        rf"\s*(?P<minus>[{_MINUS}]?)\s*(?P<money>[$€£¥]?)\s*(?P<digits>{digits})"
        rf"(?:{re.escape(decimal)}(?P<decimals>\d+))?\s*(?P<unit>[%‰$€£¥]|[^\W\d_]{{1,12}}[²³]?|)\s*"
    )


def with_amounts(
    frame: pd.DataFrame, decimal: str, kept: Collection[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Return a table with numbers in place of text such as ``1.234,50 €`` or ``12 %``.

    A column is changed if each of its cells is such a number or empty, all with one unit.

    Parameters
    ----------
    frame : DataFrame
    decimal : str
        The sign before decimals.
    kept : collection of str, default=()
        Columns that stay as they are.

    Returns
    -------
    frame : DataFrame
    said : list of str
        A sentence that names what was changed.
    """
    found, shown = {}, []
    for name in frame.columns:
        if name in kept or not pd.api.types.is_string_dtype(frame[name].dtype):
            continue
        numbers = _numbers_of(frame[name], decimal)
        if numbers is not None:
            found[name] = numbers
            first = frame[name].first_valid_index()
            shown.append(f"{name} ({frame[name][first]!r} is {numbers[first]:.10g})")
    said = [f"Text that is read as numbers: {', '.join(shown)}."] if shown else []
    return frame.assign(**found), said


def _numbers_of(column: pd.Series, decimal: str) -> pd.Series | None:
    """Return the numbers of a column, None if one of its cells is no number or has another unit."""
    parts = []
    for cell in column.dropna():
        match = _pattern(decimal).fullmatch(str(cell))
        if match is None:
            return None
        parts.append(match.groupdict())
    if len({(part["money"], part["unit"]) for part in parts}) != 1:
        return None
    numbers = [
        float(
            ("-" if part["minus"] else "")
            + re.sub(r"\D", "", part["digits"])
            + f".{part['decimals'] or 0}"
        )
        for part in parts
    ]
    return pd.Series(numbers, column.dropna().index, float).reindex(column.index)


def words_among_numbers(column: pd.Series, decimal: str) -> str | None:
    """Return the most frequent cell that makes a column of numbers one of words, and how often.

    None if the column holds numbers, or words for the most part.
    """
    present = column.dropna()
    if not len(present) or not pd.api.types.is_string_dtype(column.dtype):
        return None
    counts = present.astype(str).value_counts()
    matches = [_pattern(decimal).fullmatch(cell) for cell in counts.index]
    units = pd.Series([m and m["money"] + m["unit"] for m in matches], counts.index, dtype=object)
    sums = counts.groupby(units).sum()
    if sums.sum() < _MOSTLY * len(present):
        return None
    odd = counts[units != sums.idxmax()]
    if not len(odd):
        return None
    return f"{messages.in_short(odd.index[0])} in {messages.counted(int(odd.iloc[0]), 'row')}"
