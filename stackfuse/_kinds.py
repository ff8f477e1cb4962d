"""The two kinds of networks as estimators: classifiers and regressors."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import column_or_1d

from stackfuse._checks import Task, check_target, task_of
from stackfuse._network import NetworkEstimator


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """Base of the classifiers that train one Keras network.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels in sorted order; for a multilabel target the column numbers.
    """

    def _encode(self, y, *, reset: bool, classes) -> tuple[np.ndarray, Task, dict[str, Any]]:
        known = classes if reset else self.classes_
        if not reset and classes is not None and not np.array_equal(np.unique(classes), known):
            raise ValueError(
                f"classes={np.unique(classes).tolist()} differs from the classes of the first "
                f"call, {known.tolist()}."
            )
        y = check_target(y, classifier=True, owner=self, one_class=known is not None)
        task = task_of(y, classifier=True)
        if task == "multilabel":
            found, numbers = np.arange(y.shape[1]), y
        else:
            y = column_or_1d(y, warn=True)
            found = np.unique(y if known is None else np.asarray(known))
            unknown = np.setdiff1d(y, found)
            if unknown.size:
                raise ValueError(
                    f"y holds the labels {unknown[:5].tolist()}, but {type(self).__name__} knows "
                    f"{found.tolist()} only. Name all labels in the first call, "
                    "partial_fit(X, y, classes=...), or fit anew with warm_start=False."
                )
            task = "binary" if len(found) == 2 else "multiclass"
            numbers = np.searchsorted(found, y)
        if reset:
            self.classes_ = found
        return (
            numbers,
            task,
            {
                "target_type_": "multilabel-indicator" if task == "multilabel" else task,
                "classes_": found,
                "n_classes_": len(found),
                "n_outputs_": len(found),
            },
        )

    def decision_function(self, X) -> np.ndarray:
        """Return log-odds: of the second of two classes, of each label, or of each class.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)

        Returns
        -------
        decision : ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
            Where the network ends in logits, these; otherwise logarithms of probabilities.
        """
        decision = self._predict_numbers(X, "decide")
        return decision[:, 0] if self.outputs_.task == "binary" else decision

    def predict_proba(self, X) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``, float64.
        """
        return self._predict_numbers(X)

    def predict(self, X) -> np.ndarray:
        """Return the most probable class; the first of equals.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        labels : ndarray of shape (n_samples,), or (n_samples, n_labels) of 0 and 1
        """
        probabilities = self.predict_proba(X)
        if self.outputs_.task == "multilabel":
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """Base of the regressors that train one Keras network."""

    def _encode(self, y, *, reset: bool, classes) -> tuple[np.ndarray, Task, dict[str, Any]]:
        y = check_target(y, classifier=False, owner=self)
        if y.ndim > 2:
            raise ValueError(f"y must have one or two axes, got shape {y.shape}.")
        self._y_is_column = y.ndim == 1
        task = task_of(y, classifier=False)
        return (
            y,
            task,
            {
                "target_type_": "continuous" if task == "regression" else "continuous-multioutput",
                "classes_": None,
                "n_classes_": None,
                "n_outputs_": 1 if y.ndim == 1 else y.shape[1],
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
        numbers = self._predict_numbers(X)
        return numbers[:, 0] if self._y_is_column else numbers

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
