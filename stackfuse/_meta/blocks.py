"""Assign the columns of a table of predictions to the base estimators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stackfuse._core import messages, targets
from stackfuse._oof import (
    contributions,
    prediction_columns,
)

#: How far a probability may lie outside of 0 to 1, and a sum of probabilities from 1: networks
#: compute in float32.
ROUNDING = 1e-3


@dataclass(frozen=True)
class Block:
    """The columns of one base estimator.

    Attributes
    ----------
    name : str
        The name of the base estimator, or of the first column if the base is not known.
    places : tuple of int
        The numbers of the columns.
    scores : bool
        Whether the columns are scores, such as those of ``decision_function``, and no
        probabilities.
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
    allow_passthrough: bool = False,
) -> list[Block]:
    """Divide the columns of a table among the base estimators.

    Parameters
    ----------
    columns : sequence of Column or None
        The origin of each column; None if it is not known.
    X : ndarray of shape (n_samples, n_columns)
    names : sequence of str
        One per column.
    task : Task
    width : int
        Number of classes, labels or target columns.
    allow_passthrough : bool, default=False
        Whether columns of X may be passed through too; they are in no block.

    Raises
    ------
    ValueError
        If the columns are no predictions of the target.
    """
    if columns is None:
        return _guess_blocks(X, names, task, width)
    blocks, passed = blocks_by_base(columns, X)
    if passed and not allow_passthrough:
        raise ValueError(
            f"This meta-learner combines predictions only, but {len(passed)} columns of X are "
            "passed through. Use passthrough=False, or a meta-learner that learns from them too, "
            "such as sf.FusionClassifier('attention')."
        )
    return [_check_block(block, columns[block.places[0]].method, task, width) for block in blocks]


def check_columns(columns: Any) -> None:
    """Raise TypeError unless columns are None or a list of Column."""
    listed = isinstance(columns, Sequence) and not isinstance(columns, str)
    kind = prediction_columns.Column
    if columns is not None and not (listed and all(isinstance(one, kind) for one in columns)):
        raise TypeError(f"columns must be a list of Column, got {messages.in_short(columns)}.")


def blocks_by_base(
    columns: Sequence[prediction_columns.Column], X: np.ndarray
) -> tuple[list[Block], tuple[int, ...]]:
    """Return the block of each base estimator, and the places of the columns passed through."""
    check_columns(columns)
    if len(columns) != X.shape[1]:
        raise ValueError(
            f"columns describes {len(columns)} columns, but X has {X.shape[1]}: pass the columns "
            "of these predictions, or columns=None."
        )
    places: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        if column.method != prediction_columns.PASSED:
            places.setdefault(column.estimator, []).append(place)
    blocks = [
        Block(
            name, tuple(column_places), scores=columns[column_places[0]].method != "predict_proba"
        )
        for name, column_places in places.items()
    ]
    return blocks, tuple(
        k for k, column in enumerate(columns) if column.method == prediction_columns.PASSED
    )


def _check_block(block: Block, method: str, task: targets.Task, width: int) -> Block:
    """Return the block of a base with a known method, or raise if it cannot be combined."""
    n_columns = len(block.places)
    one_column_is_enough = task == "binary"
    if method == contributions.FEATURES:
        raise ValueError(
            f"{block.name!r} contributes features, but this meta-learner weighs predictions. Use "
            "a meta-learner for any numbers, such as LogisticRegression(), Ridge() or "
            "fusion='dense', or use stack_method='auto'."
        )
    if task in ("regression", "multioutput"):
        if n_columns == width:
            return Block(block.name, block.places)
    elif block.scores and task == "multilabel":
        raise ValueError(
            f"{block.name!r} contributes {method}, which is not a probability of a label: use "
            "stack_method='predict_proba'."
        )
    elif method == "predict" and task == "multiclass":
        raise ValueError(
            f"{block.name!r} contributes class labels or numbers ({method}), which are not "
            "probabilities: use stack_method='predict_proba', or another meta-learner, such as "
            "LogisticRegression()."
        )
    elif block.scores or n_columns == width or (one_column_is_enough and n_columns == 1):
        return block
    raise ValueError(
        f"{block.name!r} contributes {n_columns} columns of {method}, but y has {width} "
        f"{_noun_for_outputs(task)}."
    )


def _guess_blocks(
    X: np.ndarray, names: Sequence[str], task: targets.Task, width: int
) -> list[Block]:
    """Divide the columns of a table among bases by the numbers alone."""
    n_columns = X.shape[1]
    step = 1 if task in ("regression", "binary") else width
    n_left_over = n_columns % step
    if n_left_over and task == "multiclass" and not _is_within_0_and_1(X):
        step, n_left_over = 1, 0
    if n_left_over:
        raise ValueError(
            f"X has {n_columns} columns, which is not a multiple of the {width} "
            f"{_noun_for_outputs(task)} of y. Pass {width} columns per base estimator, one after "
            "another, or columns=."
        )
    blocks = [
        Block(names[start], tuple(range(start, start + step)))
        for start in range(0, n_columns, step)
    ]
    if task in ("regression", "multioutput"):
        return blocks
    blocks = [Block(b.name, b.places, scores=not _are_probabilities(b.of(X), task)) for b in blocks]
    if task == "multilabel" and any(block.scores for block in blocks):
        raise ValueError(
            "X holds numbers below 0 or above 1, which are not probabilities. Pass the result of "
            "predict_proba."
        )
    return blocks


def _noun_for_outputs(task: targets.Task) -> str:
    several: dict[str, str] = {"multilabel": "labels", "multioutput": "columns"}
    return several.get(task, "columns" if task == "regression" else "classes")


def _is_within_0_and_1(X: np.ndarray) -> bool:
    return bool((X >= -ROUNDING).all() and (X <= 1 + ROUNDING).all())


def _are_probabilities(block: np.ndarray, task: targets.Task) -> bool:
    """Whether numbers can be probabilities; those of several classes must sum to one per row."""
    if not _is_within_0_and_1(block):
        return False
    return task != "multiclass" or (
        block.shape[1] > 1 and bool((np.abs(block.sum(axis=1) - 1) <= ROUNDING).all())
    )


def check_probabilities(block: Block, table: np.ndarray, owner: Any) -> None:
    """Raise if a block of probabilities holds a number outside of 0 to 1.

    Raises
    ------
    ValueError
        The message names the first such number.
    """
    numbers = block.of(table)
    wrong = (numbers < -ROUNDING) | (numbers > 1 + ROUNDING)
    if wrong.any():
        raise ValueError(
            f"{type(owner).__name__} takes probabilities from {block.name!r}, but X holds "
            f"{numbers[wrong][0]:.4g}. Pass the result of predict_proba, as in fit."
        )


def fit_calibrator(scores: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None):
    """Fit the model that turns one base's scores into probabilities (Platt scaling).

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
