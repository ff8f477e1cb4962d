"""Base classes of the meta-learners that return a weighted sum of the bases' predictions."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from stackfuse._core import (
    sklearn_private,
    targets,
)
from stackfuse._meta.blocks import (
    blocks_of,
    check_probabilities,
    fit_calibrator,
)
from stackfuse._meta.combining.pooling import (
    apply_link,
    check_link,
    invert_link,
)
from stackfuse._oof import prediction_columns


class Combiner(prediction_columns.ColumnsMixin, BaseEstimator):
    """Base of the meta-learners that find one weight per base estimator.

    A subclass finds the weights (:meth:`_find_weights`).

    Attributes
    ----------
    weights_ : ndarray of shape (n_models,) or (n_models, n_outputs)
        Not negative. A base of weight zero is not read when predicting.
    bases_ : list of str
        The names of the base estimators, in the order of the weights.
    blocks_ : list of Block
        Which columns of X are whose.
    offset_ : ndarray of shape (n_outputs,) or None
        What is added to the weighted sum.
    """

    #: Not every subclass finds an offset.
    offset_: Any = None

    @abstractmethod
    def _find_weights(
        self, predictions: np.ndarray, target: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Return the weights of the base estimators.

        Parameters
        ----------
        predictions : ndarray of shape (n_samples, n_models, n_outputs)
            Of each base: probabilities of classes or labels, or numbers.
        target : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class numbers, indicators of labels, or columns of numbers.
        weight : ndarray of shape (n_samples,)

        Returns
        -------
        weights : ndarray of shape (n_models,) or (n_models, n_outputs)
        """

    def _assign_columns(self, X: np.ndarray, task: targets.Task, width: int) -> None:
        """Assign the columns of X to the bases."""
        names = sklearn_private.check_feature_names_in(self, None)
        self.blocks_ = blocks_of(self.columns, X, names, task=task, width=width)
        self.bases_ = [block.name for block in self.blocks_]

    def blocks_read(self) -> list[int]:
        """Return the numbers of the bases that have a weight; at least one, so that rows count."""
        return [k for k, weight in enumerate(self.weights_) if np.any(weight)] or [0]

    def columns_read(self) -> Sequence[int]:
        """Return the columns of the bases that have a weight.

        Returns
        -------
        places : list of int
        """
        return [place for k in self.blocks_read() for place in self.blocks_[k].places]

    def _weighted_sum(self, predictions: np.ndarray) -> np.ndarray:
        """Return the weighted sum over the bases that are read, added up one after another.

        The exported graph adds in the same order, so that both have the same ties.
        """
        weights = self.weights_[self.blocks_read()]
        total = predictions[:, 0] * weights[0]
        for k in range(1, len(weights)):
            total = total + predictions[:, k] * weights[k]
        return total if self.offset_ is None else total + self.offset_


class CombiningClassifier(ClassifierMixin, Combiner):
    """Base of the classifiers that find one weight per base estimator.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels; of a multilabel target the numbers of its columns.
    calibrators_ : list of (estimator or None)
        One per base: the logistic regression that turns its scores into probabilities (Platt
        scaling), or None if it contributes probabilities.
    """

    #: The scale on which probabilities are averaged; a subclass may offer it as a parameter.
    link: str = "identity"

    def fit(self, X, y, sample_weight=None):
        """Find the weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Predictions of the bases for rows that they were not trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or 0/1 indicators.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If the columns cannot be assigned to bases, or are no predictions of these classes.
        """
        check_link(self.link)
        y = targets.check_target(y, classifier=True, owner=self)
        targets.refuse_several_columns(y)
        self._task = targets.task_of(y, classifier=True)
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        if self._is_multilabel:
            self.classes_, target = np.arange(y.shape[1]), y
        else:
            self.classes_, target = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        weight = sklearn_private.check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        self._assign_columns(X, self._task, len(self.classes_))
        self.calibrators_ = [
            fit_calibrator(block.of(X), target, weight) if block.scores else None
            for block in self.blocks_
        ]
        everyone = self._base_predictions(X, range(len(self.blocks_)))
        self.weights_ = self._find_weights(everyone, target, weight)
        return self

    @property
    def scale(self) -> str:
        """The scale on which probabilities are added up: a link."""
        return self.link

    @property
    def _is_multilabel(self) -> bool:
        return self._task == "multilabel"

    def _base_predictions(self, X: np.ndarray, numbers_of: Sequence[int]) -> np.ndarray:
        """Return the probabilities of some bases; shape (n_samples, n_models, n_classes)."""
        predictions = []
        for k in numbers_of:
            block, model = self.blocks_[k], self.calibrators_[k]
            numbers = block.of(X)
            if model is not None:
                numbers = model.predict_proba(numbers)
            else:
                check_probabilities(block, X, self)
            if self._task == "binary" and numbers.shape[1] == 1:
                numbers = np.hstack([1 - numbers, numbers])
            predictions.append(numbers)
        return np.stack(predictions, axis=1)

    def predict_proba(self, X) -> np.ndarray:
        """Return the combined probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Of a multilabel target the probability of each label.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        read = self._base_predictions(X, self.blocks_read())
        total = self._weighted_sum(apply_link(read, self.scale, labels=self._is_multilabel))
        return invert_link(total, self.scale, labels=self._is_multilabel)

    def decision_function(self, X) -> np.ndarray:
        """Return log-odds of the second of two classes or of each label, else log-probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        log = apply_link(self.predict_proba(X), "logit", labels=self._is_multilabel)
        return log[:, 1] - log[:, 0] if self._task == "binary" else log

    def predict(self, X) -> np.ndarray:
        """Return the most probable class, the first of equals.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        probabilities = self.predict_proba(X)
        if self._is_multilabel:
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.classifier_tags.poor_score = True  # it weighs predictions; it learns no features
        return tags


class CombiningRegressor(RegressorMixin, Combiner):
    """Base of the regressors that find one weight per base estimator."""

    def fit(self, X, y, sample_weight=None):
        """Find the weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Predictions of the bases for rows that they were not trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If the columns cannot be assigned to bases.
        """
        y = targets.check_target(y, classifier=False, owner=self)
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        target = y.astype(np.float64).reshape(len(y), -1)
        weight = sklearn_private.check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        self._y_is_column = y.ndim == 1
        width = target.shape[1]
        self._assign_columns(X, "multioutput" if width > 1 else "regression", width)
        everyone = self._base_predictions(X, range(len(self.blocks_)))
        self.weights_ = self._find_weights(everyone, target, weight)
        return self

    def _base_predictions(self, X: np.ndarray, numbers_of: Sequence[int]) -> np.ndarray:
        """Return the predictions of some bases; shape (n_samples, n_models, n_outputs)."""
        return np.stack([self.blocks_[k].of(X) for k in numbers_of], axis=1)

    def predict(self, X) -> np.ndarray:
        """Return the combined numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        blend = self._weighted_sum(self._base_predictions(X, self.blocks_read()))
        return blend[:, 0] if self._y_is_column else blend

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # it weighs predictions; it learns no features
        return tags
