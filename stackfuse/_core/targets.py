"""Checks of targets and of predictions, and the task that a target sets."""

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import assert_all_finite

from stackfuse._core import sklearn_private
from stackfuse._core.messages import first_few, in_short, printable, with_article

Task = Literal[
    "regression", "multioutput", "binary", "multiclass", "multilabel", "multiclass-multioutput"
]


def check_same_length(**arrays) -> None:
    """Raise unless all arrays have the same number of rows; None is left out.

    Raises
    ------
    ValueError
        The message names every array with its number of rows.

    Examples
    --------
    >>> check_same_length(X=[[1.0], [2.0]], y=[0, 1, 1])
    Traceback (most recent call last):
        ...
    ValueError: Found input variables with inconsistent numbers of samples: X has 2 rows, y has 3.
    """
    lengths = {name: n_rows(a, name) for name, a in arrays.items() if a is not None}
    if len(set(lengths.values())) > 1:
        first, *rest = (f"{printable(name)} has {n}" for name, n in lengths.items())
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            + ", ".join([f"{first} rows", *rest])
            + "."
        )


def n_rows(array, name: str) -> int:
    """Return the number of rows of an array.

    Raises
    ------
    TypeError
        If it has no rows.

    Examples
    --------
    >>> n_rows(3, "X")
    Traceback (most recent call last):
        ...
    TypeError: X must be an array, a data frame or a list with an entry for each row, got 3.
    """
    try:
        if not isinstance(array, str | bytes | set | frozenset | Mapping):
            return sklearn_private.num_samples(array)
    except TypeError:  # of scikit-learn, which does not say which array
        pass
    raise TypeError(
        f"{name} must be an array, a data frame or a list with an entry for each row, got "
        f"{in_short(array)}."
    )


def check_weights(sample_weight) -> None:
    """Raise unless weights of rows are None, or a number of at least 0 for each row."""
    if sample_weight is None:
        return
    weights = np.asarray(sample_weight)
    if weights.ndim != 1:
        raise ValueError(
            f"sample_weight must have one axis, (n_samples,), got shape {weights.shape}."
        )
    if weights.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: sample_weight has dtype {weights.dtype}.")
    numbers = pd.to_numeric(pd.Series(weights), errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if wrong.size:
        raise ValueError(
            "sample_weight must hold a finite number of at least 0 for each row, got "
            f"{in_short(weights.tolist()[wrong[0]])} in row {wrong[0]}."
        )
    if numbers.size and not numbers.any():
        raise ValueError(
            "sample_weight is 0 in all rows: Sample weights must contain at least one non-zero "
            "number."
        )


def check_groups(groups) -> None:
    """Raise unless groups of rows are None, or a label for each row."""
    if groups is None:
        return
    labels = np.asarray(groups)
    if labels.ndim != 1:
        raise ValueError(f"groups must have one axis, got shape {labels.shape}.")
    missing = np.flatnonzero(pd.isna(labels))
    if len(missing):
        raise ValueError(
            f"groups must hold a label for each row, got {labels[missing[0]]} in row {missing[0]}."
        )


def refuse_ragged(rows, name: str) -> None:
    """Raise if rows differ in length, or hold an array in each cell.

    Raises
    ------
    ValueError
        With what to type instead.

    Examples
    --------
    >>> refuse_ragged([[1, 2], [3]], "X")
    Traceback (most recent call last):
        ...
    ValueError: X holds rows of different lengths (1 to 2): pad them to one length, for example \
keras.utils.pad_sequences(X, padding='post').
    """
    if isinstance(rows, list | tuple):
        try:
            np.asarray(rows)
            return
        except ValueError as error:
            if "inhomogeneous" not in str(error):
                raise
    elif not isinstance(rows, np.ndarray | pd.Series) or rows.dtype.kind != "O":
        return
    cells = np.asarray(rows, object).ravel() if not isinstance(rows, list | tuple) else rows
    sizes = {len(cell) for cell in cells if isinstance(cell, list | tuple | np.ndarray)}
    if len(sizes) == 1 and isinstance(rows, list | tuple):
        raise ValueError(
            f"{name} is {with_article(type(rows).__name__)} of arrays of different shapes: pass "
            "rows of one shape, or several inputs by their names, sf.MultiInput(image=..., "
            "table=...)."
        )
    if len(sizes) == 1:
        raise ValueError(f"{name} holds an array in each row. Stack them: np.stack({name}).")
    if sizes or isinstance(rows, list | tuple):
        lengths = f" ({min(sizes)} to {max(sizes)})" if sizes else ""
        raise ValueError(
            f"{name} holds rows of different lengths{lengths}: pad them to one length, for example "
            f"keras.utils.pad_sequences({name}, padding='post')."
        )


def check_target(y, *, classifier: bool, owner, one_class: bool = False) -> np.ndarray:
    """Return y as an array that an estimator can be trained on.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The target.
    classifier : bool
        Whether y holds classes.
    owner : estimator
        Named in the messages.
    one_class : bool, default=False
        Whether a single class is enough, because the others are known already.

    Returns
    -------
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)

    Raises
    ------
    ValueError
        If y is missing, empty, holds NaN, infinity or (for a classifier) a single class or
        continuous values.
    """
    name = type(owner).__name__
    if y is None:
        raise ValueError(
            f"{name} requires y to be passed, but the target y is None: call fit(X, y)."
        )
    refuse_ragged(y, "y")
    if classifier:
        _refuse_mixed(y)
    n_rows(y, "y")
    y = np.asarray(y)
    if classifier and y.dtype.kind == "O":
        _refuse_containers(y)
    if y.shape[0] == 0:
        raise ValueError(f"{name}: y is empty; at least one sample is needed.")
    if y.ndim > 2:
        raise ValueError(f"y must have one or two axes, got shape {y.shape}.")
    if 0 in y.shape:
        raise ValueError(f"y must have at least one column, got shape {y.shape}.")
    if y.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: y has dtype {y.dtype}.")
    _refuse_missing(y)
    if not classifier:
        if y.dtype.kind in "mM":
            raise ValueError(
                f"{name} needs numbers in y, got dates of dtype {y.dtype}. Convert them to "
                "days or seconds."
            )
        if y.dtype.kind not in "buif":
            try:
                y = y.astype(np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"{name} needs a numeric y, got dtype {y.dtype}: {error}. "
                    "For class labels use the classifier of the same name."
                ) from error
            _refuse_missing(y)
        return y
    kind = _type_of_classes(y)
    if kind.startswith("continuous"):
        raise ValueError(
            f"Unknown label type: {name} got {with_article(kind)} y (for example "
            f"{y.ravel().tolist()[0]!r}). Pass class labels, or use the regressor of the same "
            "name."
        )
    if not one_class and kind in ("binary", "multiclass") and np.unique(y).size < 2:
        raise ValueError(
            f"{name} needs at least two classes in y, but y holds one class only: "
            f"{y.ravel().tolist()[0]!r}."
        )
    return y


def _type_of_classes(y: np.ndarray) -> str:
    """Return scikit-learn's name for the type of a target, whose columns may differ in dtype."""
    if y.dtype.kind == "O" and y.ndim == 2 and y.shape[1] > 1:
        columns = [np.asarray(column.tolist()) for column in y.T]
        kinds = {type_of_target(column, input_name="y", raise_unknown=True) for column in columns}
        if kinds <= {"binary", "multiclass"}:
            return "multiclass-multioutput"
    return type_of_target(y, input_name="y", raise_unknown=True)


def _refuse_mixed(y) -> None:
    """Raise if labels are partly text: numpy makes text of the others, or cannot sort them."""
    if isinstance(y, list | tuple):
        labels = list(y)
    else:
        table = np.asarray(y)
        if table.dtype.kind != "O" or table.size != len(table):
            return  # columns of classes may differ
        labels = table.ravel().tolist()
    texts = [label for label in labels if isinstance(label, str)]
    if texts:
        _refuse_missing(np.array([*labels, None], object)[:-1])  # numpy makes text of NaN
    others = [
        label
        for label in labels
        if isinstance(label, int | float | np.number) and not (label is None or pd.isna(label))
    ]
    if texts and others:
        raise ValueError(
            f"y mixes text and numbers, for example {texts[0]!r} and {others[0]!r}. Make all "
            "labels text, [str(label) for label in y], or all numbers."
        )


def _refuse_containers(y: np.ndarray) -> None:
    """Raise if labels are dicts, lists or others that cannot be told apart as classes."""
    labels: list[Any] = y.ravel().tolist()
    for label in labels:
        if not isinstance(label, Hashable) or isinstance(label, tuple):
            raise ValueError(
                f"y holds {in_short(label)}, which cannot be a label: Unknown label type. Pass "
                "strings, whole numbers or truth values."
            )


def _refuse_missing(y: np.ndarray) -> None:
    """Raise if y holds None, NaN or infinity, naming the first rows."""
    if y.dtype.kind == "f":
        bad = ~np.isfinite(y)
    elif y.dtype.kind == "O":
        bad = np.asarray(pd.isna(y))
    else:
        return
    rows = np.flatnonzero(bad.reshape(len(y), -1).any(axis=1))
    if not rows.size:
        return
    advice = (
        f"{rows.size} of {len(y)} rows have a missing or infinite target (rows {first_few(rows)}): "
        "drop them before fit."
    )
    if y.dtype.kind == "f":
        try:  # scikit-learn's own wording comes first: users and tools search for it
            assert_all_finite(y, input_name="y")
        except ValueError as error:
            raise ValueError(f"{str(error).splitlines()[0]} {advice}") from None
    raise ValueError(f"Input y contains NaN or None. {advice}")


def task_of(y: np.ndarray, *, classifier: bool) -> Task:
    """Return the task that a checked target sets.

    Examples
    --------
    >>> task_of(np.array(["a", "b", "c"]), classifier=True)
    'multiclass'
    >>> task_of(np.array([[0.5, 1.0], [2.0, 3.5]]), classifier=False)
    'multioutput'
    """
    if not classifier:
        return "multioutput" if y.ndim == 2 and y.shape[1] > 1 else "regression"
    kind = _type_of_classes(y)
    tasks: dict[str, Task] = {
        "binary": "binary",
        "multiclass": "multiclass",
        "multilabel-indicator": "multilabel",
        "multiclass-multioutput": "multiclass-multioutput",
    }
    if kind not in tasks:
        raise ValueError(
            f"y is {with_article(kind)} target. Pass columns of labels or a 0/1 indicator matrix."
        )
    return tasks[kind]


def refuse_several_columns(y: np.ndarray) -> Task:
    """Return the task that classes set; raise if they are in several columns."""
    task = task_of(y, classifier=True)
    if task == "multiclass-multioutput":
        raise ValueError(
            f"y has {y.shape[1]} columns of classes (a multiclass-multioutput target). A stack "
            "learns one column or a 0/1 indicator matrix. Fit one stack per column."
        )
    return task


def check_finite_predictions(numbers: np.ndarray, owner) -> None:
    """Raise if an estimator predicts NaN or infinity.

    Raises
    ------
    FloatingPointError
        The message says for how many rows, and names the first ones.
    """
    finite = np.isfinite(numbers)
    if finite.all():
        return
    rows = np.flatnonzero(~finite.all(axis=1))
    raise FloatingPointError(
        f"{type(owner).__name__} predicts NaN or infinity for {rows.size} of {len(numbers)} rows "
        f"(rows {first_few(rows)}). Its network overflows on them. Scale X (StandardScaler), or "
        "look for logarithms, divisions and square roots in the model."
    )


def is_dropped(estimator) -> bool:
    """Whether an estimator has been replaced by the word "drop"."""
    return isinstance(estimator, str) and estimator == "drop"


def labels_of(encoder: LabelEncoder, numbers) -> np.ndarray:
    """Return ``encoder.inverse_transform(numbers)``; sooner for the numbers of known classes."""
    known = type(numbers) is np.ndarray and numbers.ndim == 1 and numbers.dtype.kind in "iu"
    if known and len(numbers) and numbers.min() >= 0 and numbers.max() < len(encoder.classes_):
        return np.take(encoder.classes_, numbers, axis=0)
    return encoder.inverse_transform(numbers)
