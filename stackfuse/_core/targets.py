"""Validation that the whole package shares: the exceptions, and what a target may be."""

import difflib
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _num_samples, assert_all_finite

Task = Literal[
    "regression", "multioutput", "binary", "multiclass", "multilabel", "multiclass-multioutput"
]


class NotConvertible(TypeError):
    """An estimator that cannot become part of a Keras graph; the message says why."""


class ParityError(RuntimeError):
    """A graph that does not reproduce the estimator it was made from; nothing is written."""


class CannotFuse(ValueError):
    """Replicas that cannot be trained side by side in one graph; the message says why."""


def message_of(error: BaseException) -> str:
    """Return the first line of what an error says."""
    try:
        return str(error).partition("\n")[0]
    except Exception as failure:
        return f"(its message cannot be shown: {type(failure).__name__})"


def check_same_length(**arrays) -> None:
    """Raise unless all arrays that are not None have one number of rows.

    Raises
    ------
    ValueError
        Naming every array with its number of rows.

    Examples
    --------
    >>> check_same_length(X=[[1.0], [2.0]], y=[0, 1, 1])
    Traceback (most recent call last):
        ...
    ValueError: Found input variables with inconsistent numbers of samples: X has 2 rows, y has 3.
    """
    lengths = {name: _num_samples(a) for name, a in arrays.items() if a is not None}
    if len(set(lengths.values())) > 1:
        first, *rest = (f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            + ", ".join([f"{first} rows", *rest])
            + "."
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
        Whether a single class is enough, because more are known.

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
    y = np.asarray(y)
    if y.shape[0] == 0:
        raise ValueError(f"{name}: y is empty; at least one sample is needed.")
    if y.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: y has dtype {y.dtype}.")
    _refuse_missing(y)
    if not classifier:
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
    kind = _kind_of_classes(y)
    if kind.startswith("continuous"):
        raise ValueError(
            f"Unknown label type: {name} got a {kind} y (for example {y.ravel().tolist()[0]!r}). "
            "Pass class labels, or use the regressor of the same name."
        )
    if not one_class and kind in ("binary", "multiclass") and np.unique(y).size < 2:
        raise ValueError(
            f"{name} needs at least two classes in y, but y holds one class only: "
            f"{y.ravel().tolist()[0]!r}."
        )
    return y


def _kind_of_classes(y: np.ndarray) -> str:
    """Return scikit-learn's name for the type of a target; its columns may differ in dtype."""
    if y.dtype.kind == "O" and y.ndim == 2 and y.shape[1] > 1:
        columns = [np.asarray(column.tolist()) for column in y.T]
        kinds = {type_of_target(column, input_name="y", raise_unknown=True) for column in columns}
        if kinds <= {"binary", "multiclass"}:
            return "multiclass-multioutput"
    return type_of_target(y, input_name="y", raise_unknown=True)


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
        f"{rows.size} of {len(y)} rows have a missing or infinite target ({_first(rows)}): "
        "drop them before fit."
    )
    if y.dtype.kind == "f":
        try:  # scikit-learn's own wording comes first: users and tools search for it
            assert_all_finite(y, input_name="y")
        except ValueError as error:
            raise ValueError(f"{str(error).splitlines()[0]} {advice}") from None
    raise ValueError(f"Input y contains NaN or None. {advice}")


def _first(rows: np.ndarray) -> str:
    """Return the first rows of some, for a message."""
    return "rows " + ", ".join(map(str, rows[:5])) + (", ..." if rows.size > 5 else "")


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
    kind = _kind_of_classes(y)
    tasks: dict[str, Task] = {
        "binary": "binary",
        "multiclass": "multiclass",
        "multilabel-indicator": "multilabel",
        "multiclass-multioutput": "multiclass-multioutput",
    }
    if kind not in tasks:
        raise ValueError(
            f"y is a {kind} target. Supported are columns of labels and a 0/1 indicator matrix."
        )
    return tasks[kind]


def refuse_several_columns(y: np.ndarray) -> None:
    """Raise for a target of several columns of classes, which not everything can learn."""
    if task_of(y, classifier=True) == "multiclass-multioutput":
        raise ValueError(
            f"y has {y.shape[1]} columns of classes, a multiclass-multioutput target. A stack "
            "learns one column, or a 0/1 indicator matrix: fit one stack per column."
        )


def check_finite_predictions(numbers: np.ndarray, owner) -> None:
    """Raise if an estimator predicts NaN or infinity.

    Raises
    ------
    FloatingPointError
        Telling for how many rows.
    """
    finite = np.isfinite(numbers)
    if finite.all():
        return
    rows = np.flatnonzero(~finite.all(axis=1))
    raise FloatingPointError(
        f"{type(owner).__name__} predicts NaN or infinity for {rows.size} of {len(numbers)} rows "
        f"({_first(rows)}). Its network overflows on them: scale X (StandardScaler), or look for "
        "logarithms, divisions and square roots in the model."
    )


def relabelled(estimator, classes: np.ndarray | None):
    """Return an estimator whose class weights are by class number, as it is told the classes.

    Raises
    ------
    ValueError
        If a class weight is for a label that y does not hold.
    """
    if classes is None:
        return estimator
    weights = {
        name: value
        for name, value in estimator.get_params(deep=True).items()
        if isinstance(value, dict) and (name == "class_weight" or name.endswith("__class_weight"))
    }
    if np.array_equal(classes, np.arange(len(classes))):
        return estimator
    _refuse_searched_weights(estimator)
    if not weights:
        return estimator
    numbers = {label: k for k, label in enumerate(classes.tolist())}
    for name, weight in weights.items():
        unknown = [label for label in weight if label not in numbers]
        if unknown:
            raise ValueError(
                f"{name} of {type(estimator).__name__} weighs {unknown[0]!r}, which is none of the "
                f"classes {list(numbers)}."
            )
        weights[name] = {numbers[label]: value for label, value in weight.items()}
    return clone(estimator).set_params(**weights)


def _refuse_searched_weights(estimator) -> None:
    """Raise if a search inside the estimator tries class weights, which nobody translates."""
    for name, grid in estimator.get_params(deep=True).items():
        if not name.endswith(("param_grid", "param_distributions")):
            continue
        for part in grid if isinstance(grid, list) else [grid]:
            for key, values in part.items():
                dicts = isinstance(values, list | tuple) and any(
                    isinstance(value, dict) for value in values
                )
                if key.endswith("class_weight") and dicts:
                    raise ValueError(
                        f"{type(estimator).__name__} searches {key} by label, but is told the "
                        "numbers of the classes, 0, 1, ...: write the weights by number in y too, "
                        "LabelEncoder().fit_transform(y)."
                    )


def is_dropped(estimator) -> bool:
    """Whether the word "drop" stands in the place of an estimator."""
    return isinstance(estimator, str) and estimator == "drop"


def listed(names: Sequence[str]) -> str:
    """Return names quoted and joined for a message: ``'a', 'b' or 'c'``."""
    quoted = [repr(name) for name in names]
    return " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def near(name: str, known: Iterable[str]) -> str:
    """Return the question after names that are nearly the same, or nothing.

    Examples
    --------
    >>> near("optimzer", ["optimizer", "loss"])
    " Did you mean 'optimizer'?"
    """
    typed = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), typed, n=3)
    return f" Did you mean {listed([typed[one] for one in found])}?" if found else ""


def known_name(
    name: str, module: ModuleType, parameter: str, config: dict[str, Any] | None = None
) -> Any:
    """Return what a part of Keras makes of a name: an optimizer, a loss or a metric.

    Parameters
    ----------
    name : str
    module : module
        The part of Keras.
    parameter : str
        That the name is the value of.
    config : dict, default=None
        Settings of what is made.

    Raises
    ------
    ValueError
        With the nearest names, if there is none of this one.
    """
    get: Any = vars(module)["get"]
    try:
        return get({"class_name": name, "config": config} if config else name)
    except ValueError:
        noun = module.__name__.rpartition(".")[2]
        known = [key for key in vars(module) if key[0] != "_" and callable(vars(module)[key])]
        known = [key for key in known if key not in ("get", "serialize", "deserialize")]
        raise ValueError(
            f"{parameter}={name!r} is none of keras.{noun}.{near(name, known)}"
        ) from None
