"""How a stack was made, in words: its settings, its bases, what is odd, versions and timings."""

import importlib.metadata
import platform
import re

import numpy as np
import pandas as pd

from stackfuse._core import messages
from stackfuse._display import page, rowwise
from stackfuse._stacking.costs import in_digits
from stackfuse._stacking.report import Report

#: Settings of a stack that change what it learns.
_SETTINGS = (
    *("cv", "stack_method", "passthrough", "refit"),
    *("engine", "on_error", "time_limit", "random_state"),
)

#: Bases whose errors are more alike than this are told.
_ALIKE = 0.99

#: A better score than this, of 1, gets a warning: a column may reveal the target.
_TOO_GOOD = 0.999

_LIBRARIES = ("stackfuse", "keras", "tensorflow", "scikit-learn", "numpy", "pandas")


def facts_of(stack, report: Report) -> page.Facts:
    """Return what is known of how a fitted stack was made.

    Parameters
    ----------
    stack : fitted stack
    report : Report
    """
    kind = type(stack).__name__
    final = stack.final_estimator  # the fitted one was told the columns, which are many
    meta = _default_meta(stack.final_estimator_) if final is None else plain(final)
    settings = {"stack": kind, "meta-learner": meta}
    settings |= {name: plain(getattr(stack, name)) for name in _SETTINGS}
    if stack.cv is None:
        settings["cv"] = f"None, which is {messages.counted(len(stack.oof_.folds), 'fold')}"
    return page.Facts(
        settings,
        _bases(stack, report.costs),
        tuple(warnings_of(stack, report)),
        versions(),
        dict(getattr(stack, "fit_seconds_", {})),
    )


def _default_meta(meta) -> str:
    """Return the default meta-learner, with the pool that it chose if it is one, on one line."""
    pool = getattr(meta, "pool_", None)
    return f"{type(meta).__name__}()" + (f", which chose the {pool} pool" if pool else "")


def plain(value) -> str:
    """Return an object as text on one line, without the addresses of functions in memory."""
    words = value if isinstance(value, str) else " ".join(repr(value).split())
    return re.sub(r" at 0x[0-9a-f]+", "", words)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a stack depends on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # TensorFlow's other builds, for one
            continue
    return found


def _bases(stack, costs: pd.DataFrame) -> pd.DataFrame:
    asked = {column.estimator: column.method for column in stack.oof_.columns}
    rows = {
        name: [plain(base), asked[name], stack.engine_.get(name, "")]
        for name, base in stack.estimators
        if name in asked
    }
    columns = pd.Index(["estimator", "contributes", "fitted"])
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    shown = costs.map(lambda cost: "" if np.isnan(cost) else in_digits(cost))
    return frame.join(shown)


def warnings_of(stack, report: Report) -> list[str]:
    """Return what is odd about the data and the bases, one sentence each."""
    said = [f"The base {name!r} was left out: {why}" for name, why in stack.failures_.items()]
    mask = stack.oof_.mask
    if not mask.all():
        said.append(
            f"{int((~mask).sum()):,} of {len(mask):,} rows were never predicted out of fold. The "
            "meta-learner has not seen them."
        )
    n_folds = len(stack.oof_.folds)
    if report.n_folds < n_folds:
        said.append(
            f"{n_folds - report.n_folds} of {n_folds} folds are not scored: their other rows lack "
            "predictions, or classes."
        )
    known = report.evidence
    if known is not None:
        said += _about_target(known, n_folds)
        said += _about_bases(known)
    return said + _about_pairs(report) + report.advice


def _about_target(known: rowwise.Evidence, n_folds: int) -> list[str]:
    if known.kind == "numbers":
        return _far_targets(np.asarray(known.y, float).reshape(len(known.y), -1))
    if known.kind == "labels":
        rare = [(f"label {k}", int(n)) for k, n in enumerate(known.y.sum(axis=0))]
        least = 5
    else:
        counts = np.bincount(known.y.astype(int), minlength=len(known.classes))
        rare = [(f"class {name!r}", int(n)) for name, n in zip(known.classes, counts)]
        least = max(5, n_folds)
    return [
        f"The {name} has only {messages.counted(n, 'row')}. Do not trust its scores."
        for name, n in rare
        if n < least
    ]


def _far_targets(y: np.ndarray) -> list[str]:
    low, middle, high = np.quantile(y, [0.25, 0.5, 0.75], axis=0)
    far = (np.abs(y - middle) > 10 * (high - low)) & (high > low)
    if not far.any():
        return []
    return [
        f"{int(far.any(axis=1).sum())} rows have targets more than ten interquartile ranges from "
        "the median. They dominate a squared error."
    ]


def _about_bases(known: rowwise.Evidence) -> list[str]:
    said = []
    for name, predicted in known.predictions.items():
        if name == rowwise.STACK:
            continue
        outcome, predicted = known.pairs(predicted)
        if len(outcome) < 2 or not outcome.var() > 0:
            continue
        explained = 1 - np.mean((predicted - outcome) ** 2) / outcome.var()
        if explained > _TOO_GOOD:
            said.append(
                f"The base {name!r} is right about almost every row. Look for a column that "
                "reveals the target."
            )
        elif explained < 0:
            constant = "mean of the target" if known.kind == "numbers" else "shares of the classes"
            said.append(f"The base {name!r} predicts worse than the {constant} would.")
    return said


def _about_pairs(report: Report) -> list[str]:
    names, values = list(report.correlations.index), report.correlations.to_numpy(float)
    return [
        f"The bases {names[i]!r} and {names[j]!r} make nearly the same errors (correlation "
        f"{values[i, j]:.3f}). One of them is enough."
        for i in range(len(names))
        for j in range(i)
        if values[i, j] > _ALIKE
    ]
