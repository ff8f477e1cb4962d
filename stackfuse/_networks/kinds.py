"""The two kinds of networks as estimators: classifiers and regressors."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import column_or_1d

from stackfuse._core import (
    targets,
)
from stackfuse._keras import several_outputs
from stackfuse._networks.base import NetworkEstimator


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """Base of the classifiers that train one Keras network.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The labels in sorted order; for a multilabel target the column numbers. A network with
        several outputs has a list, one array per output.
    """

    def _encode(
        self, y, *, reset: bool, classes
    ) -> tuple[np.ndarray, targets.Task, dict[str, Any]]:
        y_columns = list(y.columns) if hasattr(y, "columns") else None
        known = classes if reset else self.classes_
        y = targets.check_target(y, classifier=True, owner=self, one_class=known is not None)
        task = targets.task_of(y, classifier=True)
        if task == "multiclass-multioutput" or _is_list_of_arrays(known):
            task = "multiclass-multioutput"
            found, numbers = self._numbered_columns(y, known)
        elif task == "multilabel":
            found, numbers = np.arange(y.shape[1]), y
        else:
            found, numbers = self._numbered(column_or_1d(y, warn=True), known)
            task = "binary" if len(found) == 2 else "multiclass"
        if reset:
            self.classes_ = found
        elif classes is not None and not _same_classes(classes, known):
            raise ValueError(
                f"classes={_plain(classes)} differs from the classes of the first call, "
                f"{_plain(known)}."
            )
        several = isinstance(found, list)
        return (
            numbers,
            task,
            {
                "target_type_": "multilabel-indicator" if task == "multilabel" else task,
                "classes_": found,
                "n_classes_": [len(labels) for labels in found] if several else len(found),
                "n_outputs_": len(found),
                "n_outputs_expected_": len(found) if several else 1,
                "y_columns_": y_columns,
            },
        )

    def _numbered(self, y: np.ndarray, known) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes of one column of labels, and each row's place among them."""
        found = np.unique(y if known is None else np.asarray(known))
        unknown = np.setdiff1d(y, found)
        if unknown.size:
            raise ValueError(
                f"y holds the labels {unknown[:5].tolist()}, but {type(self).__name__} knows "
                f"{found.tolist()} only. Name all labels in the first call, "
                "partial_fit(X, y, classes=...), or fit anew with warm_start=False."
            )
        return found, np.searchsorted(found, y)

    def _numbered_columns(self, y: np.ndarray, known) -> tuple[list, np.ndarray]:
        """Return the classes and the places of several columns of labels."""
        labels = [None] * y.shape[-1] if known is None else list(known)
        if y.ndim != 2 or len(labels) != y.shape[1]:
            raise ValueError(
                f"y has shape {y.shape}, but {len(labels)} columns of labels are needed."
            )
        # Of a frame with columns of several dtypes numpy makes objects.
        columns = [np.asarray(c.tolist()) if c.dtype.kind == "O" else c for c in y.T]
        pairs = [self._numbered(column, which) for column, which in zip(columns, labels)]
        for k, (found, _) in enumerate(pairs):
            if len(found) < 2:
                raise ValueError(
                    f"Column {k} of y holds one class only: {found.tolist()[0]!r}. Leave it out, "
                    "or name all classes, partial_fit(X, y, classes=[...])."
                )
        return [found for found, _ in pairs], np.column_stack([numbers for _, numbers in pairs])

    def _network(self, X, rows, y, task: targets.Task, told: dict[str, Any]):
        network, outputs = super()._network(X, rows, y, task, told)
        if (
            isinstance(outputs, several_outputs.SeveralOutputs) and task == "multilabel"
        ):  # one head per label
            self.classes_ = [np.arange(2) for _ in outputs.heads]
        return network, outputs

    def decision_function(self, X) -> Any:
        """Return log-odds: of the second of two classes, of each label, or of each class.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)

        Returns
        -------
        decision : ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
            Where the network ends in logits, these; otherwise logarithms of probabilities. Of a
            network with several outputs a list, one array per output.
        """
        decision: Any = self._predict_numbers(X, "decide")
        if isinstance(decision, list):
            return [part[:, 0] if part.shape[1] == 1 else part for part in decision]
        return decision[:, 0] if self.outputs_.task == "binary" else decision

    def predict_proba(self, X) -> Any:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``, float64. Of a network with several outputs a list, one
            array per output.
        """
        return self._predict_numbers(X)

    def predict(self, X) -> np.ndarray:
        """Return the most probable class; the first of equals.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            For a multilabel target 0 or 1 in one column per label.
        """
        probabilities = self.predict_proba(X)
        if isinstance(probabilities, list):
            best = [part.argmax(axis=1) for part in probabilities]
            return _table([labels[which] for labels, which in zip(self.classes_, best)])
        if self.outputs_.task == "multilabel":
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]

    def score(self, X, y, sample_weight=None) -> float:
        """Return the accuracy: the fraction of rows of which all labels are right.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        accuracy : float
        """
        if not isinstance(getattr(self, "outputs_", None), several_outputs.SeveralOutputs):
            return super().score(X, y, sample_weight)
        right = (self.predict(X) == np.asarray(y)).all(axis=1)
        return float(np.average(right, weights=sample_weight))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _is_list_of_arrays(classes) -> bool:
    """Whether these are the classes of several columns of y."""
    return isinstance(classes, list | tuple) and len(classes) > 0 and np.ndim(classes[0]) == 1


def _same_classes(given, known) -> bool:
    if not _is_list_of_arrays(known):
        return np.array_equal(np.unique(given), known)
    return len(given) == len(known) and all(map(_same_classes, given, known))


def _plain(classes) -> list:
    return (
        [np.unique(c).tolist() for c in classes]
        if _is_list_of_arrays(classes)
        else (np.unique(classes).tolist())
    )


def _table(columns: list[np.ndarray]) -> np.ndarray:
    """Return columns of labels as one array: of objects where text and numbers meet."""
    kinds = {"text" if column.dtype.kind in "US" else "number" for column in columns}
    if len(kinds) > 1 or any(column.dtype.kind == "O" for column in columns):
        columns = [column.astype(object) for column in columns]
    return np.column_stack(columns)


class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """Base of the regressors that train one Keras network."""

    def _encode(
        self, y, *, reset: bool, classes
    ) -> tuple[np.ndarray, targets.Task, dict[str, Any]]:
        y_columns = list(y.columns) if hasattr(y, "columns") else None
        y = targets.check_target(y, classifier=False, owner=self)
        if y.ndim > 2:
            raise ValueError(f"y must have one or two axes, got shape {y.shape}.")
        self._y_is_column = y.ndim == 1
        task = targets.task_of(y, classifier=False)
        return (
            y,
            task,
            {
                "target_type_": "continuous" if task == "regression" else "continuous-multioutput",
                "classes_": None,
                "n_classes_": None,
                "n_outputs_": 1 if y.ndim == 1 else y.shape[1],
                "n_outputs_expected_": 1,
                "y_columns_": y_columns,
            },
        )

    def predict(self, X) -> np.ndarray:
        """Return the predicted numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        predictions : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            As many axes as the y of fit, float64.
        """
        numbers: Any = self._predict_numbers(X)
        return numbers[:, 0] if self._y_is_column else numbers

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
