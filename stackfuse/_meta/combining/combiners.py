"""Base classes of the meta-learners that return a weighted sum of the bases' predictions."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from stackfuse._core import (
    sklearn_private,
    targets,
)
from stackfuse._meta.blocks import (
    Block,
    blocks_of,
    check_probabilities,
    fit_calibrator,
)
from stackfuse._meta.combining.pooling import (
    SMALLEST_PROBABILITY,
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
        The weights, not negative. A base of weight zero is not read when predicting.
    bases_ : list of str
        The names of the base estimators, in the order of the weights.
    blocks_ : list of Block
        The columns of each base.
    offset_ : ndarray of shape (n_outputs,) or None
        The numbers to add to the weighted sum; None for none.
    """

    #: Not every subclass finds an offset.
    offset_: Any = None
    weights_: np.ndarray
    bases_: list[str]
    blocks_: list[Block]

    @abstractmethod
    def _find_weights(
        self, predictions: np.ndarray, target: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Return the weights of the base estimators.

        Parameters
        ----------
        predictions : ndarray of shape (n_samples, n_models, n_outputs)
            The predictions of each base: probabilities of classes or labels, or numbers.
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
        """Return the numbers of the bases that have a weight.

        Returns
        -------
        numbers : list of int
            The numbers; if no base has a weight, that of the first, because rows must be counted.
        """
        return [k for k, weight in enumerate(self.weights_) if np.any(weight)] or [0]

    def columns_read(self) -> Sequence[int]:
        """Return the columns of the bases that have a weight.

        Returns
        -------
        places : list of int
            The numbers of the columns.
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
        The labels; for a multilabel target the numbers of its columns.
    calibrators_ : list of (estimator or None)
        One per base: the logistic regression that turns its scores into probabilities (Platt
        scaling), or None if it contributes probabilities.
    """

    #: The scale on which probabilities are averaged; a subclass may offer it as a parameter.
    link: str = "identity"
    #: Smaller probabilities of a base count as this before a logarithm.
    floor: float = SMALLEST_PROBABILITY
    classes_: np.ndarray
    calibrators_: list[Any]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Predictions of the bases for rows that they were not trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            The target: class labels, or 0/1 indicators of labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : estimator
            The meta-learner, with its weights.

        Raises
        ------
        ValueError
            If the columns cannot be assigned to bases, or are no predictions of these classes.
        """
        check_link(self.link)
        y = targets.check_target(y, classifier=True, owner=self)
        self._task = targets.refuse_several_columns(y)
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        if self._is_multilabel:
            self.classes_, target = np.arange(y.shape[1]), y
        else:
            self.classes_, target = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        if sample_weight is not None:
            targets.check_same_length(X=X, sample_weight=sample_weight)
            targets.check_weights(sample_weight)
        weight = sklearn_private.check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        self._assign_columns(X, self._task, len(self.classes_))
        self.calibrators_ = [
            fit_calibrator(block.of(X), target, weight) if block.scores else None
            for block in self.blocks_
        ]
        everyone = self._base_predictions(X, range(len(self.blocks_)))
        self.weights_: np.ndarray = self._find_weights(everyone, target, weight)
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

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the combined probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Predictions of the bases, in the columns of ``fit``.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            The probabilities; for a multilabel target the probability of each label.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the weights have not been found yet.
        ValueError
            If X is no table like the X of ``fit``.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        read = self._base_predictions(X, self.blocks_read())
        labels, floor = self._is_multilabel, self.floor
        total = self._weighted_sum(apply_link(read, self.scale, labels=labels, floor=floor))
        return invert_link(total, self.scale, labels=labels)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return log-odds of the second of two classes or of each label, else log-probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Predictions of the bases, in the columns of ``fit``.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            The log-odds or logarithms.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the weights have not been found yet.
        ValueError
            If X is no table like the X of ``fit``.
        """
        log = apply_link(self.predict_proba(X), "logit", labels=self._is_multilabel)
        return log[:, 1] - log[:, 0] if self._task == "binary" else log

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class, the first of equals.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Predictions of the bases, in the columns of ``fit``.

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_labels)
            The labels; for a multilabel target 0 or 1, in one column per label.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the weights have not been found yet.
        ValueError
            If X is no table like the X of ``fit``.
        """
        probabilities = self.predict_proba(X)
        if self._is_multilabel:
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.classifier_tags.poor_score = True  # it weighs predictions; it learns no features
        return tags


class CombiningRegressor(RegressorMixin, Combiner):
    """Base of the regressors that find one weight per base estimator."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Predictions of the bases for rows that they were not trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : estimator
            The meta-learner, with its weights.

        Raises
        ------
        ValueError
            If the columns cannot be assigned to bases.
        """
        y = targets.check_target(y, classifier=False, owner=self)
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        target = y.astype(np.float64).reshape(len(y), -1)
        if sample_weight is not None:
            targets.check_same_length(X=X, sample_weight=sample_weight)
            targets.check_weights(sample_weight)
        weight = sklearn_private.check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        self._y_is_column = y.ndim == 1
        width = target.shape[1]
        self._assign_columns(X, "multioutput" if width > 1 else "regression", width)
        everyone = self._base_predictions(X, range(len(self.blocks_)))
        self.weights_: np.ndarray = self._find_weights(everyone, target, weight)
        return self

    def _base_predictions(self, X: np.ndarray, numbers_of: Sequence[int]) -> np.ndarray:
        """Return the predictions of some bases; shape (n_samples, n_models, n_outputs)."""
        return np.stack([self.blocks_[k].of(X) for k in numbers_of], axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Return the combined numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Predictions of the bases, in the columns of ``fit``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The numbers, in the shape of the target.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the weights have not been found yet.
        ValueError
            If X is no table like the X of ``fit``.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        blend = self._weighted_sum(self._base_predictions(X, self.blocks_read()))
        return blend[:, 0] if self._y_is_column else blend

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # it weighs predictions; it learns no features
        return tags
