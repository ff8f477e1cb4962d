"""How a student learns answers: numbers, or probabilities of classes or labels."""

import inspect
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from stackfuse._core import fitting, sklearn_private
from stackfuse._networks import KerasClassifier, KerasRegressor
from stackfuse._oof import jobs

#: Less probable classes of a row are not learnt from it.
_LEAST = 1e-3


@dataclass(frozen=True, eq=False)
class Lesson:
    """Rows and what is to be learnt of them.

    Attributes
    ----------
    X : array-like of shape (n_samples, ...)
    answers : ndarray of shape (n_samples, n_classes), (n_samples, n_outputs) or (n_samples,)
        Probabilities, or numbers.
    classes : ndarray of shape (n_classes,), or None
        The classes behind the columns of probabilities; None for labels, and for numbers.
    weight : ndarray of shape (n_samples,) or None
    """

    X: Any
    answers: np.ndarray
    classes: np.ndarray | None
    weight: np.ndarray | None

    def rows(self, places: np.ndarray) -> "Lesson":
        """Return the lesson of some rows."""
        weight = None if self.weight is None else self.weight[places]
        X = sklearn_private.safe_indexing(self.X, places)
        return replace(self, X=X, answers=self.answers[places], weight=weight)


@dataclass(frozen=True, eq=False)
class Student:
    """An estimator that is cloned, and never fitted itself.

    Attributes
    ----------
    estimator : estimator
    classifier : bool
        Whether it learns probabilities.
    seed : int or None
        Sets the unset random states of the clones.
    """

    estimator: Any
    classifier: bool
    seed: int | None

    def taught(self, lesson: Lesson) -> Any:
        """Return a clone that has learnt a lesson.

        Raises
        ------
        ValueError
            If it cannot learn such answers.
        """
        clone = jobs.replica(self.estimator, self.seed)
        last = _last_of(clone)
        network = isinstance(last, KerasClassifier | KerasRegressor)
        if isinstance(last, KerasRegressor):
            _leave_dropout_out(last)
        with fitting.averaging.within(network):
            if not self.classifier:
                return clone.fit(lesson.X, lesson.answers, **_weights(clone, lesson.weight))
            if network:
                return _taught_network(clone, lesson, lesson.X)
            return _taught_by_copies(clone, lesson)

    def trained(self, X, y: np.ndarray, weight: np.ndarray | None) -> Any:
        """Return a clone that is trained as usual, on labels or numbers."""
        clone = jobs.replica(self.estimator, self.seed)
        return clone.fit(X, y, **_weights(clone, weight))


def _last_of(estimator) -> Any:
    """Return the estimator inside pipelines and scalers of targets, or the estimator itself."""
    while isinstance(estimator, Pipeline | TransformedTargetRegressor):
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        else:
            estimator = estimator.regressor
    return estimator


def _leave_dropout_out(network: KerasRegressor) -> None:
    """Set a builder's argument `dropout` to 0, unless the user has set it.

    A network that was trained with dropout and predicts without it is biased where errors are
    squared, and answers have no noise from which dropout would keep it.
    """
    names = ("dropout", "model__dropout")
    if not callable(network.model) or any(name in network.get_params() for name in names):
        return
    try:
        known = inspect.signature(network.model).parameters
    except (TypeError, ValueError):  # a function without a signature, of another language
        return
    if "dropout" in known:
        network.set_params(dropout=0.0)


def _taught_network(estimator, lesson: Lesson, X) -> Any:
    """Fit a network, or a pipeline that ends in one, on probabilities."""
    if isinstance(estimator, KerasClassifier):
        return estimator.fit_probabilities(
            X, lesson.answers, lesson.classes, sample_weight=lesson.weight
        )
    if len(estimator.steps) > 1:  # what stands in front may look at labels
        before = estimator[:-1]
        X = before.fit_transform(X, _likely(lesson))
        estimator.steps[:-1] = before.steps
    _taught_network(estimator.steps[-1][1], lesson, X)
    return estimator


def _likely(lesson: Lesson) -> np.ndarray:
    """Return the most probable label of each row, or all that are more likely than not."""
    if lesson.classes is None:
        return (lesson.answers > 0.5).astype(int)
    return lesson.classes[lesson.answers.argmax(axis=1)]


def _taught_by_copies(student, lesson: Lesson) -> Any:
    """Fit a classifier on a copy of each row for each class, weighted by its probability.

    The weighted loss of a row's copies is the sum over the classes of probability times loss: the
    loss of the probabilities.
    """
    name = type(_last_of(student)).__name__
    if lesson.classes is None:
        raise ValueError(
            f"{name} cannot learn the probabilities of several labels. Distill into a network, "
            "sf.KerasClassifier(...), whose loss compares them."
        )
    chances = lesson.answers
    kept = chances >= _LEAST
    for k in np.flatnonzero(~kept.any(axis=0)):
        kept[chances[:, k].argmax(), k] = True  # the student knows all classes
    rows, places = np.nonzero(kept)
    weight = chances[rows, places]
    weight = weight / np.bincount(rows, weight)[rows]
    if lesson.weight is not None:
        weight = weight * lesson.weight[rows]
    weight = np.maximum(weight, np.finfo(np.float32).tiny)
    params = _weights(student, weight * (len(weight) / weight.sum()))
    X = sklearn_private.safe_indexing(lesson.X, rows)
    return student.fit(X, lesson.classes[places], **params)


def _weights(student, weight: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return weights of rows as a parameter of a student's fit.

    Raises
    ------
    ValueError
        If it takes none.
    """
    if weight is None:
        return {}
    prefix, last = "", student
    while isinstance(last, Pipeline | TransformedTargetRegressor):
        if isinstance(last, Pipeline):
            name, last = last.steps[-1]
            prefix += f"{name}__"
        else:  # it hands weights on
            last = LinearRegression() if last.regressor is None else last.regressor
    if not has_fit_parameter(last, "sample_weight"):
        raise ValueError(
            f"{type(last).__name__}.fit takes no sample_weight, which a student needs to learn "
            "probabilities and weighted rows. Use a network, sf.KerasClassifier or "
            "sf.KerasRegressor, or a tree."
        )
    return {f"{prefix}sample_weight": weight}
