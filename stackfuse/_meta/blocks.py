"""Which columns of a table of predictions belong to which base estimator."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stackfuse._core import targets
from stackfuse._oof import (
    contributions,
    prediction_columns,
)

#: How far a probability may lie outside of 0 to 1, and a sum of probabilities from 1: networks
#: compute in float32.
ROUNDING = 1e-3


def set_columns(estimator, columns: Sequence[prediction_columns.Column], *, anew: bool = False):
    """Tell a meta-learner, and what is inside it, what the columns of its table are.

    Parameters
    ----------
    estimator : estimator
        Changed in place: a pipeline, a search or a meta-learner.
    columns : sequence of Column
    anew : bool, default=False
        Whether it shall forget what it was told before; if not, what the user has set stays.

    Returns
    -------
    estimator : estimator
    """
    parts = {"": estimator, **estimator.get_params(deep=True)}
    readers = {
        name: part
        for name, part in parts.items()
        if isinstance(part, prediction_columns.ColumnsMixin)
    }
    unset = [name for name, part in readers.items() if anew or part.columns is None]
    told = {f"{name}__columns" if name else "columns": list(columns) for name in unset}
    return estimator.set_params(**told) if told else estimator


@dataclass(frozen=True)
class Block:
    """The columns of one base estimator.

    Attributes
    ----------
    name : str
        Of the base estimator; of the first column where nothing is known of it.
    places : tuple of int
        The numbers of the columns.
    scores : bool
        Whether the columns are no probabilities but scores, which say more or less of a class.
    """

    name: str
    places: tuple[int, ...]
    scores: bool = False

    def of(self, X: np.ndarray) -> np.ndarray:
        """Return the columns themselves; shape (n_samples, width)."""
        return X[:, list(self.places)]


def blocks_of(
    columns: Sequence[prediction_columns.Column] | None,
    X: np.ndarray,
    names: Sequence[str],
    *,
    task: targets.Task,
    width: int,
    passed_too: bool = False,
) -> list[Block]:
    """Divide the columns of a table among the base estimators.

    Parameters
    ----------
    columns : sequence of Column or None
        What the columns are; None if nobody knows.
    X : ndarray of shape (n_samples, n_columns)
    names : sequence of str
        One per column.
    task : Task
    width : int
        Number of classes, labels or target columns.
    passed_too : bool, default=False
        Whether there may also be columns that are passed through; they are in no block.

    Raises
    ------
    ValueError
        If the columns are not predictions of what is to be learnt.
    """
    if columns is None:
        return _guessed(X, names, task, width)
    blocks, passed = blocks_by_base(columns, X)
    if passed and not passed_too:
        raise ValueError(
            f"Predictions are combined here, but {len(passed)} columns of X are passed through: "
            "use passthrough=False, or a meta-learner that learns from them too, such as "
            "sf.FusionClassifier('attention')."
        )
    return [_checked(block, columns[block.places[0]].method, task, width) for block in blocks]


def blocks_by_base(
    columns: Sequence[prediction_columns.Column], X: np.ndarray
) -> tuple[list[Block], tuple[int, ...]]:
    """Return the block of each base estimator, and the places of the columns passed through."""
    if len(columns) != X.shape[1]:
        raise ValueError(
            f"columns tells of {len(columns)} columns, but X has {X.shape[1]}: pass the columns "
            "of these predictions, or columns=None."
        )
    places: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        if column.method != prediction_columns.PASSED:
            places.setdefault(column.estimator, []).append(place)
    blocks = [
        Block(name, tuple(where), scores=columns[where[0]].method != "predict_proba")
        for name, where in places.items()
    ]
    return blocks, tuple(
        k for k, column in enumerate(columns) if column.method == prediction_columns.PASSED
    )


def _checked(block: Block, method: str, task: targets.Task, width: int) -> Block:
    """Return the block of a base that told its method, or raise if it cannot be used."""
    n_columns = len(block.places)
    one_is_enough = task == "binary"
    if method == contributions.FEATURES:
        raise ValueError(
            f"{block.name!r} contributes features, which are no predictions that can be weighed: "
            "use a meta-learner that learns from any numbers, such as LogisticRegression(), "
            "Ridge() or fusion='dense', or stack_method='auto'."
        )
    if task in ("regression", "multioutput"):
        if n_columns == width:
            return Block(block.name, block.places)
    elif block.scores and task == "multilabel":
        raise ValueError(
            f"{block.name!r} contributes {method}, which is no probability of a label: use "
            "stack_method='predict_proba'."
        )
    elif method == "predict" and task == "multiclass":
        raise ValueError(
            f"{block.name!r} contributes class labels or numbers ({method}), which are no "
            "probabilities: use stack_method='predict_proba', or another meta-learner, such as "
            "LogisticRegression()."
        )
    elif block.scores or n_columns == width or (one_is_enough and n_columns == 1):
        return block
    raise ValueError(
        f"{block.name!r} contributes {n_columns} columns of {method}, but y has {width} "
        f"{_outputs_of(task)}."
    )


def _guessed(X: np.ndarray, names: Sequence[str], task: targets.Task, width: int) -> list[Block]:
    """Divide the columns of a table of which nothing is known but its numbers."""
    n_columns = X.shape[1]
    step = 1 if task in ("regression", "binary") else width
    lonely = n_columns % step
    if lonely and task == "multiclass" and not _within(X):
        step, lonely = 1, 0
    if lonely:
        raise ValueError(
            f"X has {n_columns} columns, which is no multiple of the {width} {_outputs_of(task)} "
            f"of y: give {width} columns per base estimator, one after another, or columns=."
        )
    blocks = [
        Block(names[start], tuple(range(start, start + step)))
        for start in range(0, n_columns, step)
    ]
    if task in ("regression", "multioutput"):
        return blocks
    blocks = [Block(b.name, b.places, scores=not _are_chances(b.of(X), task)) for b in blocks]
    if task == "multilabel" and any(block.scores for block in blocks):
        raise ValueError(
            "X holds numbers outside of 0 to 1, which are no probabilities of labels: pass what "
            "predict_proba returns."
        )
    return blocks


def _outputs_of(task: targets.Task) -> str:
    several: dict[str, str] = {"multilabel": "labels", "multioutput": "columns"}
    return several.get(task, "columns" if task == "regression" else "classes")


def _within(X: np.ndarray) -> bool:
    return bool((X >= -ROUNDING).all() and (X <= 1 + ROUNDING).all())


def _are_chances(block: np.ndarray, task: targets.Task) -> bool:
    """Whether numbers are probabilities: of one class, of each label, or of classes in one row."""
    if not _within(block):
        return False
    return task != "multiclass" or (
        block.shape[1] > 1 and bool((np.abs(block.sum(axis=1) - 1) <= ROUNDING).all())
    )


def check_chances(block: Block, table: np.ndarray, owner: Any) -> None:
    """Raise if numbers that must be probabilities are none.

    Raises
    ------
    ValueError
        With the first of them.
    """
    numbers = block.of(table)
    wrong = (numbers < -ROUNDING) | (numbers > 1 + ROUNDING)
    if wrong.any():
        raise ValueError(
            f"{type(owner).__name__} takes probabilities from {block.name!r}, but X holds "
            f"{numbers[wrong][0]:.4g}: pass what predict_proba returns, as in fit."
        )


def calibrator(scores: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None):
    """Return the fitted model that makes one base's scores probabilities (Platt scaling).

    Parameters
    ----------
    scores : ndarray of shape (n_samples, width)
    target : ndarray of shape (n_samples,)
    weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    model : Pipeline of a StandardScaler and a LogisticRegression
    """
    weights = {"standardscaler__sample_weight": weight, "logisticregression__sample_weight": weight}
    model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8, max_iter=1000))
    return model.fit(scores, target, **weights)
