"""From a ``cv`` argument to index arrays: drawn once, checked before anything is fitted."""

import warnings
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import get_routing_for_object

from stackfuse._core import messages


class Fold(NamedTuple):
    """Rows to train on and rows to predict.

    Parameters
    ----------
    train : ndarray of int of shape (n_train,)
        The numbers of the rows to train on.
    test : ndarray of int of shape (n_test,)
        The numbers of the rows to predict; there may be none.

    Examples
    --------
    >>> import numpy as np, stackfuse as sf
    >>> fold = sf.engines.Fold(train=np.array([0, 1]), test=np.array([2]))
    >>> fold.test.tolist()
    [2]
    """

    train: np.ndarray
    test: np.ndarray


def draw_folds(
    cv,
    X,
    y,
    *,
    classifier: bool,
    classes: np.ndarray | None = None,
    split_params: dict | None = None,
    random_state: int | None = None,
) -> list[Fold]:
    """Draw the folds of a cross-validation and check them.

    Parameters
    ----------
    cv : int, splitter, iterable of (train, test) or None
        As everywhere in scikit-learn. The test sets need not cover all rows, and may overlap.
        A splitter is copied, so that its random state stays as the caller left it.
    X, y : array-like of shape (n_samples, ...)
        The training rows.
    classifier : bool
        Whether an integer stands for stratified folds.
    classes : ndarray of shape (n_classes,), default=None
        The labels, if y holds their numbers; for messages.
    split_params : dict, default=None
        Arguments of the splitter besides X and y, such as the groups.
    random_state : int, default=None
        Seeds a splitter that shuffles and has no random state of its own.

    Returns
    -------
    folds : list of Fold

    Raises
    ------
    ValueError
        If a fold is empty, repeats or exceeds the rows, trains on a row that it predicts, or
        trains a classifier on a single class; or if a splitter by groups is given none.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.zeros((4, 1)), np.array([0, 1, 0, 1])
    >>> [fold.test.tolist() for fold in draw_folds(2, X, y, classifier=True)]
    [[0, 1], [2, 3]]
    """
    if not hasattr(cv, "split") and isinstance(cv, Iterable):
        cv = list(cv)
        for k, pair in enumerate(cv):
            if not isinstance(pair, Sequence | np.ndarray) or len(pair) != 2:
                raise TypeError(
                    "cv must be a list of pairs of row numbers, (train, test), but its entry "
                    f"{k} is {messages.in_short(pair)}."
                )
    splitter: Any = deepcopy(check_cv(cv, y=y, classifier=classifier))
    if random_state is not None and getattr(splitter, "random_state", 0) is None:
        if getattr(splitter, "shuffle", True):
            splitter.random_state = random_state
    params = split_params or {}
    n_rows = len(y)
    try:
        pairs = splitter.split(X, y, **params)
        if not isinstance(pairs, Iterable):
            raise TypeError(
                f"cv={messages.in_short(splitter)} must yield pairs of row numbers, (train, test), "
                f"but its split returned {messages.in_short(pairs)}."
            )
        pairs = list(pairs)
    except (TypeError, ValueError) as error:
        if params.get("groups") is not None or not needs_groups(splitter):
            raise
        raise ValueError(
            f"cv={splitter!r} splits by groups, but got none. Pass one for each row: fit(X, y, "
            "groups=groups). In a search, groups reach a stack only with "
            "sklearn.set_config(enable_metadata_routing=True)."
        ) from error
    folds = [Fold(_indices(train, n_rows), _indices(test, n_rows)) for train, test in pairs]
    _check(folds, np.asarray(y), classifier, classes)
    return folds


def whole(n_samples: int) -> Fold:
    """Return the fold that trains on every row and predicts none: the refit."""
    return Fold(np.arange(n_samples), np.arange(0))


def needs_groups(cv) -> bool:
    """Whether a splitter is one of scikit-learn's that split by groups, or says so as they do."""
    if not hasattr(cv, "split") or not hasattr(cv, "get_metadata_routing"):
        return False
    return get_routing_for_object(cv).split.requests.get("groups") is True


def are_in_time_order(folds: Sequence[Fold]) -> bool:
    """Whether every fold trains on rows before those that it predicts.

    Examples
    --------
    >>> from sklearn.model_selection import KFold, TimeSeriesSplit
    >>> splits = TimeSeriesSplit(2).split(np.zeros(6)), KFold(2).split(np.zeros(6))
    >>> [are_in_time_order([Fold(*rows) for rows in split]) for split in splits]
    [True, False]
    """
    return len(folds) > 0 and all(
        len(train) and len(test) and train.max() < test.min() for train, test in folds
    )


def warn_growing(folds: Sequence[Fold]) -> None:
    """Warn that models of folds in the order of time are averaged, if the first saw few rows."""
    sizes = [len(fold.train) for fold in folds]
    if are_in_time_order(folds) and min(sizes) < 0.75 * max(sizes):
        warnings.warn(
            "refit=False averages the models of the folds. These folds go forward in time, so "
            f"the models saw {min(sizes)} to {max(sizes)} of {folds[-1].test.max() + 1} rows: the "
            "first saw few rows, and no recent ones. Use refit=True, the default, which trains "
            "on all rows.",
            stacklevel=2,
        )


def warn_missing_classes(
    folds: Sequence[Fold], y: np.ndarray, classes: np.ndarray | None, methods: Iterable[str]
) -> None:
    """Warn of folds that train without a class: what they predict for it is zero.

    Parameters
    ----------
    folds : sequence of Fold
    y : ndarray of shape (n_samples,)
        Class numbers.
    classes : ndarray of shape (n_classes,) or None
        The labels; None where there are no single labels.
    methods : iterable of str
        The methods that predict.

    Raises
    ------
    ValueError
        If a base gives decision values, of which none stands for a class not seen.
    """
    if classes is None:
        return
    lacking = {
        k: classes[np.setdiff1d(np.arange(len(classes)), y[fold.train])].tolist()
        for k, fold in enumerate(folds)
    }
    told = [f"fold {k} without {missing}" for k, missing in lacking.items() if missing]
    shown = ", ".join(told[:3]) + (", ..." if len(told) > 3 else "")
    if told and "decision_function" in methods:
        raise ValueError(
            f"cv trains {shown}, so the columns of decision_function cannot be matched. Use bases "
            "with predict_proba, or stratified folds."
        )
    if told:
        warnings.warn(
            f"cv trains {shown}. There a base predicts probability 0 for the missing class. "
            f"{_way_to_all_classes(folds, y, classes)}",
            stacklevel=2,
        )


def _indices(rows, n_rows: int) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (n_rows,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(
            f"cv must yield row numbers, or masks of {n_rows} booleans, got an array of dtype "
            f"{rows.dtype} and shape {rows.shape}."
        )
    return rows.astype(np.intp)


def _check(
    folds: Sequence[Fold], y: np.ndarray, classifier: bool, classes: np.ndarray | None = None
) -> None:
    if not folds:
        raise ValueError(
            "cv yields no folds: at least one (train, test) pair is needed. A generator can be "
            "read only once: pass a list of the pairs."
        )
    n_samples = len(y)
    for k, (train, test) in enumerate(folds):
        for name, rows in (("training", train), ("test", test)):
            if rows.size == 0:
                raise ValueError(f"cv: fold {k} has no {name} rows. Leave this fold out.")
            if rows.min() < 0 or rows.max() >= n_samples:
                raise ValueError(
                    f"cv: fold {k} has {name} rows outside 0..{n_samples - 1} "
                    f"({rows.min()} to {rows.max()})."
                )
        if np.bincount(test).max() > 1:
            raise ValueError(
                f"cv: fold {k} predicts a row twice. List each row once in its test set."
            )
        in_train = np.zeros(n_samples, bool)
        in_train[train] = True
        if in_train[test].any():
            leaked = np.intersect1d(train, test)
            raise ValueError(
                f"cv: fold {k} trains on {leaked.size} of the rows that it predicts (row "
                f"{leaked[0]}, for example), so out-of-fold predictions would leak. Take them out "
                "of its training rows."
            )
        if classifier and y.ndim == 1 and np.unique(y[train]).size < 2:
            label = y[train[0]] if classes is None else classes[y[train[0]]]
            raise ValueError(
                f"cv: fold {k} trains on one class only ({np.asarray(label).item()!r}). "
                f"{_way_to_all_classes(folds, y, classes)}"
            )


def _way_to_all_classes(
    folds: Sequence[Fold], y: np.ndarray, classes: np.ndarray | None = None
) -> str:
    """Return the advice for folds that train without a class."""
    if are_in_time_order(folds):
        return "Use fewer folds, so that the first one trains on more rows and all classes."
    numbers, counts = np.unique(y, return_counts=True)
    if counts.min() < 2:
        alone = numbers[counts.argmin()]
        label = np.asarray(alone if classes is None else classes[alone]).item()
        return f"Class {label!r} has one row: leave it out, or join it with another class."
    return "Use StratifiedKFold, or fewer folds."
