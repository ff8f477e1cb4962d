"""The question that the command fit is asked, and the columns and rows that answer it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stackfuse._cli import amounts, column_warnings, dates
from stackfuse._cli.table_files import decimal_of, read_table
from stackfuse._core import messages

#: So many different words in a target may be classes without a doubt.
_MANY_CLASSES = 20


@dataclass(frozen=True)
class Wanted:
    """The options of the command.

    Attributes
    ----------
    table, out : Path
    target : str
    format : str
        Its name, as in :func:`stackfuse.export`.
    kinds : tuple of str or None
        The kinds of bases; None for those of :func:`table_bases`.
    drop : tuple of str
        Columns that are left out.
    groups, time_column : str or None
        The column whose values stay together in a fold, and the one that orders the rows.
    seconds : float or None
        The seconds that the fits may take.
    folds, seed : int
    metric : str or None
        The name of one of scikit-learn's scorers; None for the log-loss, or R2.
    task : str or None
        "classification" or "regression"; None to find out from the target.
    """

    table: Path
    target: str
    out: Path
    format: str = "keras"
    kinds: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    groups: str | None = None
    time_column: str | None = None
    seconds: float | None = None
    folds: int = 5
    seed: int = 0
    metric: str | None = None
    task: str | None = None


@dataclass(frozen=True)
class Prepared:
    """The target and the rows to learn from.

    Attributes
    ----------
    X : DataFrame
        The columns to learn from.
    y : Series
        The target.
    groups : ndarray or None
    rows : ndarray of int
        Where the rows stand in the file, counted from 0.
    said : list of str
        Notes on columns and rows that were left out or changed.
    """

    X: pd.DataFrame
    y: pd.Series
    groups: np.ndarray | None
    rows: np.ndarray
    said: list[str]


def prepare(wanted: Wanted) -> Prepared:
    """Read a table, and take it apart.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, a column is not there, or nothing is left to learn from.
    """
    if wanted.groups is not None and wanted.time_column is not None:
        raise ValueError(
            "--groups and --time-column ask for different folds: name the one of them that matters "
            "more, and --drop the other if it tells nothing."
        )
    frame = read_table(wanted.table, target=wanted.target)
    named = [wanted.target, *wanted.drop, *filter(None, (wanted.groups, wanted.time_column))]
    names = list(frame.columns)
    shown = messages.first_few(map(messages.in_short, names))
    for name in named:
        if name not in frame:
            raise ValueError(
                f"{wanted.table} has no column {name!r}."
                f"{messages.did_you_mean(name, names) or f' Its columns: {shown}'}"
            )
    for option, column in (("--groups", wanted.groups), ("--time-column", wanted.time_column)):
        if column == wanted.target:
            raise ValueError(f"{option} must be another column than --target, got {column!r}.")
    if wanted.target in wanted.drop:
        raise ValueError(f"--drop leaves out {wanted.target!r}, which is --target.")
    frame, said = _with_numbers(frame, wanted)
    known = frame[wanted.target].notna()
    if not known.all():
        n_unknown = messages.counted(int((~known).sum()), "row")
        said.append(f"Left out, because the target is missing: {n_unknown}.")
        frame = frame[known]
    if wanted.groups is not None and frame[wanted.groups].isna().any():
        raise ValueError(
            f"--groups: {wanted.groups!r} has missing values, so some rows have no group. Fill "
            "them, or drop those rows."
        )
    if wanted.time_column is not None:
        when = _moments(frame[wanted.time_column])
        frame = frame.loc[when.sort_values(kind="stable").index]
    rows, frame = frame.index.to_numpy(), frame.reset_index(drop=True)
    groups = None if wanted.groups is None else frame[wanted.groups].astype(str).to_numpy()
    y = _truth_values(frame[wanted.target])
    X, told = dates.with_dates(frame.drop(columns=list(dict.fromkeys(named))))
    said += told
    numbering = column_warnings.identifiers(X)
    if numbering:
        said.append(f"These columns only number the rows and are left out: {', '.join(numbering)}.")
        X = X.drop(columns=numbering)
    _check_task(y, wanted.task)
    if len(X) < 20 or X.shape[1] == 0 or y.nunique() < 2:
        raise ValueError(
            f"{wanted.table} has {len(X)} rows, {X.shape[1]} columns to learn from and "
            f"{y.nunique()} different targets. Pass a table with at least 20 rows, one column to "
            "learn from and two targets."
        )
    _check_folds(wanted, len(X), groups)
    return Prepared(X, y, groups, rows, said)


def _check_folds(wanted: Wanted, n_rows: int, groups: np.ndarray | None) -> None:
    """Raise ValueError if there are more folds than rows, or groups, can make."""
    most, what = n_rows, "rows"
    if groups is not None:
        most, what = len(np.unique(groups)), f"groups in {wanted.groups!r}"
    elif wanted.time_column is not None:
        most, what = n_rows - 1, "rows after the first"
    if wanted.folds > most:
        raise ValueError(
            f"--folds must be at most the number of {what}, {most}, got {wanted.folds}."
        )


def _with_numbers(frame: pd.DataFrame, wanted: Wanted) -> tuple[pd.DataFrame, list[str]]:
    """Return a table with numbers in place of text that is some, and what is told of it.

    Raises
    ------
    ValueError
        If the target holds numbers and words.
    """
    kept = {*wanted.drop, wanted.groups, wanted.time_column}
    decimal = decimal_of(wanted.table)
    frame, said = amounts.with_amounts(frame, decimal, kept)
    for name in frame.columns:
        odd = None if name in kept else amounts.words_among_numbers(frame[name], decimal)
        if odd is None:
            continue
        if name == wanted.target and frame[name].nunique() > _MANY_CLASSES:
            raise ValueError(
                f"The target {name!r} holds numbers, but also other cells: {odd}. Correct these, "
                "or empty them to leave their rows out."
            )
        said.append(
            f"{name!r} is read as words, because it holds numbers, but also other cells: {odd}. "
            "Empty these to have numbers."
        )
    return frame, said


def _truth_values(y: pd.Series) -> pd.Series:
    """Return a target that only holds True and False as one of truth values.

    They were read as words if some were missing.
    """
    return y.astype(str) == "True" if {*map(str, y.unique())} <= {"True", "False"} else y


def _check_task(y: pd.Series, task: str | None) -> None:
    """Raise ValueError for words as numbers, and if most classes of words have one row."""
    if pd.api.types.is_numeric_dtype(y):
        return
    if task == "regression":
        raise ValueError(
            f"--task regression needs a target of numbers, and {y.name!r} holds words. Name "
            "another --target, or leave --task out."
        )
    counts = y.value_counts()
    if len(counts) > _MANY_CLASSES and (counts == 1).mean() > 0.5:
        raise ValueError(
            f"The target {y.name!r} holds {len(counts)} different words in {len(y)} rows, most of "
            "them once only. Name a target with classes that repeat, or with numbers."
        )


def _moments(column: pd.Series) -> pd.Series:
    """Return numbers or dates by which rows can be put in order.

    Raises
    ------
    ValueError
        If some are missing or no dates, or days and months can be mistaken for each other.
    """
    if column.isna().any():
        raise ValueError(
            f"--time-column: {column.name!r} has missing values, so some rows have no place in "
            "time. Fill them, or drop those rows."
        )
    if pd.api.types.is_numeric_dtype(column):
        return column
    try:
        return dates.dates_of(column)
    except ValueError as error:
        raise ValueError(f"--time-column: {error}") from None
