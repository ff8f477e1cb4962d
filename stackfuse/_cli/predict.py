"""Predict the rows of a table by an exported file."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stackfuse._cli import amounts, dates
from stackfuse._cli import inspect as _inspect
from stackfuse._cli.table_files import decimal_of, read_table
from stackfuse._core import messages, strings


def predict(model: Path, table: Path) -> pd.DataFrame:
    """Return predictions for the rows of a table: a label and probabilities, or numbers.

    Intervals and sets follow, if the file has them.

    Raises
    ------
    OSError, ValueError
        If the file or the table cannot be read, or a column is missing or holds something else.
    """
    try:
        return _predicted(model, table)
    except (AttributeError, LookupError, OverflowError) as error:
        raise ValueError(f"{model}: its manifest was not written by sf.export.") from error


def _predicted(model: Path, table: Path) -> pd.DataFrame:
    manifest = _inspect.read_manifest(model)
    inputs = manifest["inputs"].values()
    words = {entry["column"] for entry in inputs if entry["dtype"] == "string"}
    frame = read_table(table, words)
    kept = {*words, *manifest.get("dates", {})}
    frame, said = amounts.with_amounts(frame, decimal_of(table), kept)
    for sentence in said:
        sys.stderr.write(f"{messages.printable(sentence)}\n")
    rows = _rows(manifest, frame, table)
    outputs = _inspect.outputs_of(model, rows)
    classes = manifest["classes"]
    if "label" not in outputs:
        found = [n for n in ("prediction", "lower", "upper") if n in outputs]
        names = [name for output in found for name in _names(output, outputs[output])]
        tables = [np.asarray(outputs[output]).reshape(len(outputs[output]), -1) for output in found]
        return pd.DataFrame(np.hstack(tables), columns=pd.Index(names))
    label, probabilities = outputs["label"], outputs.get("probabilities")
    if label.ndim > 1 or classes is None:
        return pd.DataFrame(label.reshape(len(label), -1), columns=pd.Index(_names("label", label)))
    known = [*classes, None]  # -1: the stack refuses such a row
    found = {"label": [known[k] for k in label]}
    if probabilities is not None:
        found |= {f"probability of {name}": probabilities[:, k] for k, name in enumerate(classes)}
    if "set" in outputs:
        found |= {
            f"{name} in set": [None if m < 0 else bool(m) for m in outputs["set"][:, k]]
            for k, name in enumerate(classes)
        }
    return pd.DataFrame(found)


def _names(name: str, table: np.ndarray) -> list[str]:
    n_columns = int(np.prod(table.shape[1:]))
    return [name] if n_columns == 1 else [f"{name} {k}" for k in range(n_columns)]


def _rows(manifest: dict[str, Any], frame: pd.DataFrame, table: Path) -> dict[str, np.ndarray]:
    """Return the columns of a table as the inputs of a file."""
    inputs = manifest["inputs"]
    names = manifest["feature_names"]
    of_dates = manifest.get("dates", {})  # written since there is DateParts
    if len(inputs) == 1 and next(iter(inputs.values()))["column"] is None:
        name, entry = next(iter(inputs.items()))
        wanted = names or list(frame.columns)
        if len(wanted) != entry["shape"][-1]:
            raise ValueError(
                f"{table} has {len(wanted)} columns, but the model takes {entry['shape'][-1]}."
            )
        _check_columns(frame, wanted, table)
        columns = [
            _numbers(frame[column], entry["dtype"], table, str(column) in of_dates)
            for column in wanted
        ]
        return {name: np.column_stack(columns)}
    _check_columns(frame, [entry["column"] for entry in inputs.values()], table)
    rows = {}
    for name, entry in inputs.items():
        column = frame[entry["column"]]
        if entry["dtype"] == "string":
            words = column.astype(object).where(column.notna(), strings.MISSING)
            rows[name] = words.map(str).to_numpy(object)[:, None]
        else:
            is_date = str(entry["column"]) in of_dates
            rows[name] = _numbers(column, entry["dtype"], table, is_date)[:, None]
    return rows


def _check_columns(frame: pd.DataFrame, wanted: list, table: Path) -> None:
    missing = [str(name) for name in wanted if name not in frame]
    if missing:
        shown = messages.first_few(map(messages.in_short, missing))
        raise ValueError(
            f"{table} lacks columns that the model reads: {shown}."
            f"{messages.did_you_mean(missing[0], list(frame.columns))}"
        )


def _numbers(column: pd.Series, dtype: str, table: Path, is_date: bool) -> np.ndarray:
    if is_date:
        try:
            return dates.days_of(column).astype(dtype)
        except ValueError as error:
            raise ValueError(f"{table}: {error}") from None
    try:
        return column.to_numpy(np.dtype(dtype), na_value=np.nan)
    except (TypeError, ValueError):
        words = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
        raise ValueError(
            f"The column {column.name!r} of {table} must hold numbers, but holds {words.iloc[0]!r}."
        ) from None
