"""Fit a stack to a table, export it, and write down how good it is and how to use it."""

import time
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from sklearn.callback import ProgressBar
from sklearn.model_selection import GroupKFold, TimeSeriesSplit

from stackfuse._cli import column_warnings
from stackfuse._cli.asked import Prepared, Wanted
from stackfuse._cli.metrics import check_metric
from stackfuse._cli.report import leaderboard
from stackfuse._cli.table_files import Dialect, is_parquet
from stackfuse._core import messages
from stackfuse._export import export, formats
from stackfuse._models import holds_classes, table_bases
from stackfuse._stacking import StackingClassifier, StackingRegressor

#: The warning of scikit-learn about rare classes, which gets words of ours.
_TOLD_BEFORE = "The least populated class"


def fit(wanted: Wanted, prepared: Prepared, console: Console) -> dict[str, Any]:
    """Fit, export and write; return what was found, for scripts.

    Raises
    ------
    OSError, ValueError
        With one sentence about what to type instead.
    """
    started = time.perf_counter()
    form = formats.named(wanted.format)
    classes = wanted.task == "classification" or (wanted.task is None and holds_classes(prepared.y))
    prepared = _without_rare_classes(prepared) if classes else prepared
    X, y, groups, said = prepared.X, prepared.y, prepared.groups, list(prepared.said)
    y = _labels(y) if classes else y.to_numpy(float)
    check_metric(wanted.metric, y, classes)
    _check_words(X, wanted)
    if not is_parquet(wanted.table):
        console.print(escape(f"Read with {Dialect.of(wanted.table)}."))
    console.print(escape(_task(prepared, y, wanted, classes)))
    said += column_warnings.warnings_of(X, pd.Series(y), classes)
    _tell(said, console)
    task = "classification" if classes else "regression"
    texts = form.takes_strings and form.reads_text
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chosen = time.perf_counter()
        bases = table_bases(
            X, y, kinds=wanted.kinds, time_budget=wanted.seconds, texts=texts, task=task
        )
        _tell(_sentences(caught), console)
        caught.clear()
        console.print(f"Bases: {', '.join(name for name, _ in bases)}.")
        stack = _stack(wanted, bases, classes, time.perf_counter() - chosen)
        stack.set_callbacks(ProgressBar(max_propagation_depth=1))
        stack.fit(X, y, **({} if groups is None else {"groups": groups}))
    left_out = [f"{name} is left out: {why}" for name, why in stack.failures_.items()]
    _tell(dict.fromkeys(_sentences(caught) + left_out), console)
    report = stack.report(scoring=wanted.metric)
    console.print(leaderboard(report.to_frame(), greater_is_better=report.greater_is_better))
    console.print(escape(report.verdict))
    path = wanted.out / f"stack{form.suffix}"
    exported = export(stack, path, format=wanted.format, verify=X[:10_000])
    console.print(escape(str(exported)), soft_wrap=True)
    _write(wanted, stack, report, pd.Series(y, prepared.rows), path)
    title = f"{wanted.target}, from {wanted.table.name}"
    report.to_html(wanted.out / "report.html", title=title, warnings=said, rows=prepared.rows)
    console.print(f"All files are in {escape(str(wanted.out))}; predict with\n", soft_wrap=True)
    console.print(f"    stackfuse predict {escape(str(path))} NEW_TABLE.csv\n", soft_wrap=True)
    best = report.best
    return {
        "task": task,
        "rows": len(X),
        "metric": report.metric,
        "stack": report.stack.mean,
        "best base": None if best is None else {best.name: best.score.mean},
        "verdict": report.verdict,
        "left out": stack.failures_,
        "model": str(path),
        "largest difference": exported.max_difference,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _without_rare_classes(prepared: Prepared) -> Prepared:
    """Return the rows of classes with three rows at least, of which every fold trains on two."""
    counts = prepared.y.value_counts()
    rare = counts[counts < 3]
    if not len(rare):
        return prepared
    if len(counts) - len(rare) < 2:
        raise ValueError(
            f"{len(counts) - len(rare)} of {len(counts)} classes of {prepared.y.name!r} have three "
            "rows or more: two are needed."
        )
    kept = ~prepared.y.isin(rare.index).to_numpy()
    shown = messages.first_few(f"{label!r} ({count})" for label, count in rare.items())
    X, y = (table[kept].reset_index(drop=True) for table in (prepared.X, prepared.y))
    groups = None if prepared.groups is None else prepared.groups[kept]
    said = [*prepared.said, f"Classes with fewer than three rows are left out: {shown}."]
    return replace(prepared, X=X, y=y, groups=groups, rows=prepared.rows[kept], said=said)


def _check_words(X: pd.DataFrame, wanted: Wanted) -> None:
    """Raise ValueError, before anything is fitted, if a file of the format cannot carry words."""
    form = formats.named(wanted.format)
    words = list(X.select_dtypes(exclude=["number", "bool", "datetime"]).columns)
    if words and not form.takes_strings:
        raise ValueError(
            f"--format {wanted.format}: {form.title} carries no words. Columns that hold some: "
            f"{messages.first_few(map(messages.in_short, words))}. Use --format keras, onnx or "
            "saved_model, or --drop these columns."
        )


def _tell(sentences: Iterable[str], console: Console) -> None:
    for sentence in sentences:
        console.print(f"[yellow]![/] {escape(sentence)}")


def _labels(y: pd.Series) -> np.ndarray:
    """Return classes as text; whole numbers that were read beside holes are whole again."""
    return (y.astype(int) if pd.api.types.is_float_dtype(y) else y).astype(str).to_numpy()


def _task(prepared: Prepared, y: np.ndarray, wanted: Wanted, classes: bool) -> str:
    """Return what is predicted, and how to say otherwise where whole numbers leave it open."""
    X, is_number = prepared.X, pd.api.types.is_numeric_dtype(prepared.y)
    is_whole = is_number and bool((prepared.y.astype(float) % 1 == 0).all())
    if classes:
        labels, counts = np.unique(y, return_counts=True)
        shown = ", ".join(f"{k} ({n})" for k, n in list(zip(labels, counts))[:6])
        what = (
            f"{len(labels)} classes of {wanted.target}: {shown}{' ...' if len(labels) > 6 else ''}"
        )
        other = "If they are numbers to predict, type --task regression."
    else:
        what = f"the number {wanted.target}, from {y.min():.6g} to {y.max():.6g}"
        other = "If its values name classes, type --task classification."
    said = f"{len(X)} rows, {X.shape[1]} columns; predicting {what}."
    return f"{said} {other}" if wanted.task is None and is_whole else said


def _stack(wanted: Wanted, bases: list, classes: bool, spent: float) -> Any:
    """Return the stack to fit; `spent` seconds of the time for it are over."""
    left = None if wanted.seconds is None else max(wanted.seconds - spent, 1.0)
    cv: Any = wanted.folds
    if wanted.groups is not None:
        cv = GroupKFold(wanted.folds)
    elif wanted.time_column is not None:
        cv = TimeSeriesSplit(wanted.folds)
    kind = StackingClassifier if classes else StackingRegressor
    settings = {"cv": cv, "random_state": wanted.seed, "verbose": 1, "time_limit": left}
    return kind(bases, memory=wanted.out / "fits", on_error="drop", **settings)


def _sentences(caught: list) -> list[str]:
    """Return the warnings, one sentence each, without those for programmers."""
    kept = [w for w in caught if not issubclass(w.category, DeprecationWarning | FutureWarning)]
    said = [" ".join(str(w.message).split()).partition(". ")[0].rstrip(".") + "." for w in kept]
    return [sentence for sentence in said if not sentence.startswith(_TOLD_BEFORE)]


def _write(wanted: Wanted, stack, report, y: pd.Series, path: Path) -> None:
    """Write the leaderboard, the report, the predictions out of fold, and how to use the file."""
    report.to_frame().to_csv(wanted.out / "leaderboard.csv")
    (wanted.out / "report.txt").write_text(f"{report}\n", encoding="utf-8")
    columns = stack.get_feature_names_out()[: stack.oof_.predictions.shape[1]]
    table = pd.DataFrame(stack.oof_.predictions, y.index, pd.Index(columns))
    table.insert(0, wanted.target, y)
    table.to_csv(wanted.out / "out_of_fold.csv", index_label="row")
    (wanted.out / "how_to_use.md").write_text(
        f"# {wanted.target}\n\n{report.verdict}\n\n"
        f"    stackfuse predict {path.name} NEW_TABLE.csv --out predictions.csv\n"
        f"    stackfuse inspect {path.name}\n\n"
        f"`{path.name}` needs no stackfuse. The second command lists its inputs: the columns, by "
        "names of letters and digits; numbers as floats, dates as days since 1970.\n",
        encoding="utf-8",
    )
