"""A target as a network learns it: y as numbers, the task, the classes and their weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import compute_sample_weight
from sklearn.utils.validation import column_or_1d

from stackfuse._core import messages, targets
from stackfuse._keras import several_outputs


@dataclass(frozen=True)
class Target(ABC):
    """The y of a fit.

    Attributes
    ----------
    numbers : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class numbers, indicators or numbers.
    task : str
        See :func:`stackfuse._core.targets.task_of`.
    columns : list of str or None
        The names of y's columns, if y is a frame.
    """

    numbers: np.ndarray
    task: targets.Task
    columns: list | None

    def without_rows(self) -> "Target":
        """Return the form of the target, to compare later ones with."""
        return replace(self, numbers=self.numbers[:0].copy())  # a view would keep all rows

    #: The labels, in sorted order; a list of arrays for several columns; None for numbers.
    classes: Any = None

    @classmethod
    @abstractmethod
    def read(cls, y, owner, *, known=None, classes=None) -> "Target":
        """Check y and return it as a target.

        Parameters
        ----------
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        owner : estimator
            Named in the messages.
        known : ndarray, list of ndarray or None
            The classes of an earlier fit that goes on.
        classes : array-like or None
            All labels, as the user named them.
        """

    @property
    @abstractmethod
    def info(self) -> dict[str, Any]:
        """The entries about the target in a builder's `meta`."""

    @property
    def strata(self) -> np.ndarray | None:
        """The classes to spread evenly over training and validation rows, if y is one column."""
        return self.numbers if self.task in ("binary", "multiclass") else None

    def classes_of(self, outputs) -> Any:
        """Return the classes as the estimator's ``classes_``, or None for numbers."""
        return self.classes

    @property
    def is_column(self) -> bool:
        """Whether y has one axis."""
        return self.numbers.ndim == 1

    def check_like(self, first: "Target", owner) -> None:
        """Raise ValueError if a network that learns one target would be trained on another.

        Parameters
        ----------
        first : Target
            The target that the network was built for.
        owner : estimator
            Named in the message.
        """
        if self.form == first.form:
            if None not in (self.columns, first.columns) and self.columns != first.columns:
                raise ValueError(
                    f"y has the columns {self.columns}, but {type(owner).__name__} was first "
                    f"fitted on {first.columns}: pass these, in this order."
                )
            return
        raise ValueError(
            f"y is {self._form_in_words}, but {type(owner).__name__} was first fitted on "
            f"{first._form_in_words}. Pass a y of the same form, or build a new network: fit with "
            "warm_start=False."
        )

    @property
    def form(self) -> tuple[str, tuple[int, ...]]:
        """The properties that all targets of one network share: their kind and columns."""
        several = self.task in ("multilabel", "multiclass-multioutput")
        return self.task if several else "", self.numbers.shape[1:]

    @property
    def _form_in_words(self) -> str:
        kinds = {"multilabel": " of indicators", "multiclass-multioutput": " of labels"}
        shape = ", ".join(["n_samples", *map(str, self.numbers.shape[1:])])
        return (
            f"of shape ({shape}{',' if self.numbers.ndim == 1 else ''}){kinds.get(self.task, '')}"
        )


@dataclass(frozen=True)
class NumberTarget(Target):
    """A target of numbers, for regression."""

    @classmethod
    def read(cls, y, owner, *, known=None, classes=None) -> "NumberTarget":
        """See :meth:`Target.read`; numbers have no classes."""
        columns = _column_names(y)
        y = targets.check_target(y, classifier=False, owner=owner)
        return cls(y, targets.task_of(y, classifier=False), columns)

    @property
    def info(self) -> dict[str, Any]:
        """See :attr:`Target.info`."""
        return {
            "target_type_": "continuous" if self.task == "regression" else "continuous-multioutput",
            "classes_": None,
            "n_classes_": None,
            "n_outputs_": 1 if self.is_column else self.numbers.shape[1],
            "n_outputs_expected_": 1,
            "y_columns_": self.columns,
        }


@dataclass(frozen=True)
class LabelTarget(Target):
    """A target of class labels, in one column or several, or a 0/1 matrix."""

    @classmethod
    def read(cls, y, owner, *, known=None, classes=None) -> "LabelTarget":
        """See :meth:`Target.read`."""
        if isinstance(y, Probabilities):
            return y.target()
        columns = _column_names(y)
        labels = classes if known is None else known
        y = targets.check_target(y, classifier=True, owner=owner, one_class=labels is not None)
        task = targets.task_of(y, classifier=True)
        name = type(owner).__name__
        if task == "multiclass-multioutput" or _is_list_of_arrays(labels):
            task = "multiclass-multioutput"
            found, numbers = _number_columns(y, labels, name)
        elif task == "multilabel":
            found, numbers = np.arange(y.shape[1]), y
        else:
            found, numbers = _number_labels(column_or_1d(y, warn=True), labels, name)
            task = "binary" if len(found) == 2 else "multiclass"
        if known is not None and classes is not None and not _same_classes(classes, known):
            raise ValueError(
                f"classes={_plain(classes)} differs from the classes of the first call, "
                f"{_plain(known)}. Pass the same classes, or leave classes out."
            )
        return cls(numbers, task, columns, found)

    @property
    def info(self) -> dict[str, Any]:
        """See :attr:`Target.info`."""
        found = self.classes
        several = isinstance(found, list)
        return {
            "target_type_": "multilabel-indicator" if self.task == "multilabel" else self.task,
            "classes_": found,
            "n_classes_": [len(labels) for labels in found] if several else len(found),
            "n_outputs_": self.numbers.shape[1] if self.numbers.ndim == 2 else 1,
            "n_outputs_expected_": len(found) if several else 1,
            "y_columns_": self.columns,
        }

    def classes_of(self, outputs) -> Any:
        """Return the classes: a list if each label of a 0/1 matrix has an output of its own."""
        if self.task == "multilabel" and isinstance(outputs, several_outputs.SeveralOutputs):
            return [np.arange(2) for _ in outputs.parts]
        return self.classes


@dataclass(frozen=True)
class ProbabilityTarget(LabelTarget):
    """A target that holds the probability of each class, or of each of several labels.

    `numbers` has the shape (n_samples, n_classes) or (n_samples, n_labels). All else is as of the
    classes or labels themselves.
    """

    @property
    def info(self) -> dict[str, Any]:
        """See :attr:`Target.info`."""
        return super().info if self.task == "multilabel" else super().info | {"n_outputs_": 1}

    @property
    def strata(self) -> np.ndarray | None:
        """The most probable classes; none where one is that of a single row."""
        if self.task == "multilabel":
            return None
        likely = self.numbers.argmax(axis=1)
        counts = np.bincount(likely)
        return None if counts[counts > 0].min() < 2 else likely

    @property
    def is_column(self) -> bool:
        """Whether the y that it stands for has one axis."""
        return self.task != "multilabel"

    @property
    def form(self) -> tuple[str, tuple[int, ...]]:
        """See :attr:`Target.form`."""
        return super().form if self.task == "multilabel" else ("", ())


@dataclass(frozen=True)
class Probabilities:
    """A y that holds probabilities.

    Attributes
    ----------
    table : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels), dtype float64
        The probabilities of classes, in their order, with the sum 1 in each row; or of labels.
    classes : ndarray of shape (n_classes,), or None
        None for labels.
    """

    table: np.ndarray
    classes: np.ndarray | None

    @classmethod
    def checked(cls, table, classes) -> "Probabilities":
        """Return probabilities as a y.

        Raises
        ------
        ValueError
            If they are none.
        """
        try:
            table = np.asarray(table, np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"probabilities must hold numbers, got {messages.in_short(table)}."
            ) from None
        if table.ndim != 2 or 0 in table.shape:
            raise ValueError(
                "probabilities must have a row for each row of X and a column for each class, "
                f"got shape {table.shape}. Pass shape (n_samples, n_classes)."
            )
        if not (np.isfinite(table).all() and (table >= 0).all() and (table <= 1 + 1e-6).all()):
            raise ValueError("probabilities must lie between 0 and 1.")
        if classes is None:
            return cls(table, None)
        classes = np.asarray(classes)
        if not np.array_equal(np.unique(classes), classes) or len(classes) != table.shape[1]:
            raise ValueError(
                f"classes must be the {table.shape[1]} labels of the columns of probabilities, "
                f"sorted, got {messages.in_short(classes.tolist())}."
            )
        if not np.allclose(table.sum(axis=1), 1, atol=1e-4):
            raise ValueError(
                "The probabilities of each row must sum to 1. If a row may have several labels, "
                "pass classes=None."
            )
        return cls(table / table.sum(axis=1, keepdims=True), classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the table."""
        return self.table.shape

    def __len__(self) -> int:
        return len(self.table)

    def target(self) -> ProbabilityTarget:
        """Return what a network learns."""
        if self.classes is None:
            labels = np.arange(self.table.shape[1])
            return ProbabilityTarget(self.table, "multilabel", None, labels)
        task: targets.Task = "binary" if len(self.classes) == 2 else "multiclass"
        return ProbabilityTarget(self.table, task, None, self.classes)


def _column_names(y) -> list | None:
    return list(y.columns) if hasattr(y, "columns") else None


def _number_labels(y: np.ndarray, known, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of one column of labels, and each row's place among them."""
    found = np.unique(y if known is None else np.asarray(known))
    unknown = np.setdiff1d(y, found)
    if unknown.size:
        raise ValueError(
            f"y holds the labels {unknown[:5].tolist()}, but {name} knows "
            f"{found.tolist()} only. Name all labels in the first call, "
            "partial_fit(X, y, classes=...), or fit anew with warm_start=False."
        )
    return found, np.searchsorted(found, y)


def _number_columns(y: np.ndarray, known, name: str) -> tuple[list, np.ndarray]:
    """Return the classes and the places of several columns of labels."""
    labels = [None] * y.shape[-1] if known is None else list(known)
    if y.ndim != 2 or len(labels) != y.shape[1]:
        raise ValueError(f"y has shape {y.shape}, but must have {len(labels)} columns of labels.")
    # numpy makes objects of a frame whose columns differ in dtype.
    columns = [np.asarray(c.tolist()) if c.dtype.kind == "O" else c for c in y.T]
    pairs = [_number_labels(column, which, name) for column, which in zip(columns, labels)]
    for k, (found, _) in enumerate(pairs):
        if len(found) < 2:
            raise ValueError(
                f"Column {k} of y holds one class only: {found.tolist()[0]!r}. Leave it out, "
                "or name all classes, partial_fit(X, y, classes=[...])."
            )
    return [found for found, _ in pairs], np.column_stack([numbers for _, numbers in pairs])


def _is_list_of_arrays(classes) -> bool:
    """Whether these are the classes of several columns of y."""
    return isinstance(classes, list | tuple) and len(classes) > 0 and np.ndim(classes[0]) == 1


def _same_classes(given, known) -> bool:
    if not _is_list_of_arrays(known):
        return np.array_equal(np.unique(given), known)
    return len(given) == len(known) and all(map(_same_classes, given, known))


def _plain(classes) -> list:
    """Return classes as lists, for a message."""
    if _is_list_of_arrays(classes):
        return [np.unique(c).tolist() for c in classes]
    return np.unique(classes).tolist()


def class_weights(class_weight: Any, numbers: np.ndarray, classes: Any) -> np.ndarray:
    """Return the weight of each row by its class; for several columns the product.

    Parameters
    ----------
    class_weight : dict of label to float, list of such dicts, or "balanced"
        Other labels weigh 1. For several columns of y a list, one dict per column.
    numbers : ndarray of shape (n_samples,) or (n_samples, n_columns)
        The places of y's labels among the classes.
    classes : ndarray of shape (n_classes,), or list of ndarray
        Not used for a 0/1 matrix: the classes of a column are 0 and 1.

    Returns
    -------
    weights : ndarray of shape (n_samples,), float32

    Raises
    ------
    ValueError
        If it has another form, names an unknown class, or a weight is negative or not finite.
    """
    several = numbers.ndim == 2
    if isinstance(class_weight, str) and class_weight == "balanced":
        return compute_sample_weight("balanced", numbers).astype(np.float32)
    columns = list(numbers.T) if several else [numbers]
    if not several:
        classes = [classes]
    elif not isinstance(classes, list):
        classes = [np.arange(2)] * len(columns)
    by_column: Any = class_weight if several else [class_weight]
    fits = isinstance(by_column, list | tuple) and len(by_column) == len(columns)
    if not fits or not all(isinstance(weights, dict) for weights in by_column):
        form = f"a list of {len(columns)} dicts, one per column of y," if several else "a dict"
        raise ValueError(
            f"class_weight must be {form} of label to weight, or 'balanced', got {class_weight!r}."
        )
    result = np.ones(len(numbers))
    for weights, column, labels in zip(by_column, columns, classes):
        result *= _weights_of(weights, labels.tolist())[column.astype(int)]
    if not result.any():
        raise ValueError(
            f"class_weight={class_weight!r} gives every row the weight 0: give a class of y more."
        )
    return result.astype(np.float32)


def _weights_of(weights: dict, labels: list) -> np.ndarray:
    """Return the weights of the labels, in their order."""
    for label, weight in weights.items():
        if label not in labels:
            raise ValueError(
                f"class_weight names {label!r}, but the classes are {labels}. Use these as keys."
            )
        number = isinstance(weight, int | float | np.number)
        if not number or not np.isfinite(weight) or weight < 0:
            raise ValueError(
                f"class_weight gives {label!r} the weight {weight!r}. Weights must be numbers of "
                "at least 0."
            )
    return np.array([weights.get(label, 1.0) for label in labels])
