"""One small model from a big stack."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import fitting, messages, multi_input, sampling, sklearn_private, targets
from stackfuse._stacking.distilling import made_up
from stackfuse._stacking.distilling.answers import RowsOfFit, Teacher
from stackfuse._stacking.distilling.measuring import summary_of
from stackfuse._stacking.distilling.students import Lesson, Student
from stackfuse._stacking.fitting import Stack

#: The values that settings may have.
_SETTINGS = {
    "alpha": fitting.Wanted(
        lambda given: fitting.FRACTION.allows(given) or (fitting.is_positive(given) and given <= 1),
        "a number from 0 to 1",
    ),
    "augment": fitting.Wanted(
        lambda given: fitting.is_whole(given, 0) or (isinstance(given, str) and given == "auto"),
        "'auto' or an integer of at least 0",
    ),
    "score": fitting.FLAG,
}

#: Rows made up from each row of a table with "auto", and the most rows that are learnt then.
_TIMES, _MOST = 29, 30_000

#: The part of the rows of fit that may be found in other rows by chance.
_FEW = 0.1


def distill(
    stack: Any,
    student: Any,
    X: Any = None,
    *,
    alpha: float = 0.3,
    augment: Any = "auto",
    score: bool = True,
    sample_weight: Any = None,
    random_state: Any = None,
) -> Any:
    """Return a small model that has learnt the answers of a fitted stack.

    The answer of a stack says more about a row than the label does, and rows without labels have
    answers too.

    Parameters
    ----------
    stack : StackingClassifier or StackingRegressor
        The fitted stack, or a search whose best estimator is one. A classifier must give
        probabilities.
    student : estimator
        The model to clone and fit: a :class:`KerasClassifier` or :class:`KerasRegressor`, a
        pipeline that ends in one, or an estimator of scikit-learn, such as a tree. A network for
        classes learns the probabilities by its own loss
        (:meth:`KerasClassifier.fit_probabilities`). All networks average their weights over their
        last epochs; early stopping compares the averages with the newest weights. The argument
        ``dropout`` of a regressor's builder becomes 0 unless you set it. Any other classifier
        learns each row once for each class with a noticeable probability, weighted by the
        probability. It must take a ``sample_weight``; its least numbers of rows in a leaf count
        such copies.
    X : array-like of shape (n_samples, ...), default=None
        The rows given to ``fit``, in their order; other rows, without labels; or the rows given to
        ``fit`` and others below them. For the rows of ``fit``, the student learns the out-of-fold
        answers of models that have not seen them. By default, rows are made up from the kinds and
        ranges of the columns, which the stack keeps, column by column. A student learns much better
        with real rows.
    alpha : float, default=0.3
        The weight of the labels against the answers, for the rows of ``fit``: 0 for the answers
        alone, 1 for the labels alone.
    augment : int or "auto", default="auto"
        The number of rows to make up from each row of X, near to it. One half take half of their
        values from one of the ten nearest neighbours. The others add the difference of two of these
        neighbours, times a random number up to 1.5; each value becomes the nearest one of its
        column. The stack answers the rows. X must be an array of two axes or a data frame of
        pandas. "auto" makes 29, but no more than bring all rows to 30,000, and none for any other
        X.
    score : bool, default=True
        Whether to measure the losses and gains. The student is fitted twice more for this, without
        the test rows of one fold of the stack. One fit learns the answers, without made-up and
        other rows, because the stack that answers these knows the test rows. The other one learns
        the labels. The student itself can be much better than the first, above all after few
        epochs.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows of X; for the rows of ``fit``, pass the weights given to ``fit``.
    random_state : int, RandomState or None, default=None
        Seeds the made-up rows, and the random states of the student that are None.

    Returns
    -------
    student : estimator
        The fitted clone of `student`. It predicts, is pickled and exported as if it had been fitted
        on labels. Print its ``distillation_`` to see the losses and gains: the loss, milliseconds
        for a row, kilobytes.

    Raises
    ------
    TypeError
        If `stack` is no stack, or `student` no estimator of its kind.
    ValueError
        If a setting cannot be used, the stack gives no probabilities, or the student cannot learn
        them.

    Warns
    -----
    UserWarning
        If X holds rows of fit in another order, of which the stack is too sure.

    References
    ----------
    Hinton, G., Vinyals, O. and Dean, J. "Distilling the knowledge in a neural network." NIPS Deep
    Learning Workshop (2015). Fakoor, R. et al. "Fast, accurate, and simple models for tabular data
    via augmented distillation." NeurIPS (2020). Storn, R. and Price, K. "Differential evolution."
    Journal of Global Optimization 11 (1997): how rows are made up. Polyak, B. T. and Juditsky, A.
    B. "Acceleration of stochastic approximation by averaging." SIAM Journal on Control and
    Optimization 30 (1992): averaged weights.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True)
    >>> bases = [("linear", LogisticRegression(max_iter=1000)), ("bayes", GaussianNB())]
    >>> stack = sf.StackingClassifier(bases, cv=3).fit(X, y)
    >>> tree = sf.distill(stack, DecisionTreeClassifier(max_depth=3), X, random_state=0)
    >>> tree.distillation_.n_rows
    4500
    """
    settings = {"alpha": alpha, "augment": augment, "score": score}
    fitting.check_settings(settings, _SETTINGS)
    stack = Stack._within(stack, "distill")
    check_is_fitted(stack)
    teacher = Teacher(stack, is_classifier(stack))
    _check_student(student, teacher)
    weight = _checked_weight(X, sample_weight)
    seed = None if random_state is None else fitting.seed_of(random_state)
    generator = np.random.default_rng(seed)
    of_fit = None
    if X is None:
        n_rows = len(stack.oof_.mask)
        n_made_up = n_rows * (1 + _n_times(augment, n_rows))
        rows = stack._sketch.rows(n_made_up, generator)
        real = lesson = Lesson(rows, teacher.answers(rows), teacher.classes, None)
    else:
        X = multi_input.rows_given(X)
        of_fit = _rows_of_fit(teacher, X, weight)
        real = _real_lesson(teacher, X, weight, of_fit, alpha)
        n_made_up = len(real.answers) * _n_times(augment, len(real.answers), X)
        lesson = _with_made_up(real, teacher, n_made_up, generator)
    pupil = Student(student, teacher.classifier, seed)
    fitted = pupil.taught(lesson)
    fitted._sketch = stack._sketch  # its rows are of this kind: sf.export compares on such rows
    if score:
        summary = summary_of(teacher, pupil, fitted, real, of_fit)
        n_rows = len(lesson.answers)
        fitted.distillation_ = replace(summary, n_rows=n_rows, n_made_up=n_made_up)
    return fitted


def _check_student(student, teacher: Teacher) -> None:
    """Raise unless a student is an estimator of the stack's kind, and the stack can teach it."""
    kind, other = ("classifier", "regressor") if teacher.classifier else ("regressor", "classifier")
    if (
        isinstance(student, type)
        or not hasattr(student, "fit")
        or not hasattr(student, "get_params")
    ):
        raise TypeError(
            f"student must be a {kind} that is not fitted, for example "
            f"sf.Keras{kind.capitalize()}(build), got {messages.in_short(student)}."
        )
    if not (is_classifier if teacher.classifier else is_regressor)(student):
        name = type(teacher.stack).__name__
        raise TypeError(
            f"The stack is a {name} and teaches a {kind}, got the student "
            f"{type(student).__name__}. Pass a {kind}, or distill a stack of {other}s."
        )
    if teacher.classifier and not hasattr(teacher.stack, "predict_proba"):
        final = type(teacher.stack.final_estimator_).__name__
        raise ValueError(
            f"The stack has no probabilities, because its meta-learner {final} has no "
            "predict_proba. Train another one, for example "
            "stack.refit_final(sf.ConvexClassifier())."
        )


def _checked_weight(X, sample_weight) -> np.ndarray | None:
    """Return weights of the rows of X as an array."""
    if sample_weight is None:
        return None
    if X is None:
        raise ValueError("sample_weight weighs the rows of X, but X is None. Pass X too.")
    targets.check_weights(sample_weight)
    targets.check_same_length(X=multi_input.rows_given(X), sample_weight=sample_weight)
    return np.asarray(sample_weight, np.float64)


def _rows_of_fit(teacher: Teacher, X, weight: np.ndarray | None) -> RowsOfFit | None:
    """Return the first rows of X, if these are the rows of fit; warn if they stand elsewhere."""
    stack, n_rows = teacher.stack, sklearn_private.num_samples(X)
    n_fit = len(stack.oof_.mask)
    if n_rows >= n_fit:
        first = X if n_rows == n_fit else sklearn_private.safe_indexing(X, np.arange(n_fit))
        if stack._has_rows_of_fit(first):
            return RowsOfFit(teacher, first, None if weight is None else weight[:n_fit])
    here = set(sampling.row_digests(X))
    if np.mean([row in here for row in stack._seen_rows]) > _FEW:
        warnings.warn(
            "X holds rows that the stack was fitted on, but does not begin with all of them, in "
            "the same order. The stack is too sure of those rows, so the student would be too. "
            "Pass the X of fit, with other rows below it.",
            stacklevel=3,
        )
    return None


def _real_lesson(
    teacher: Teacher, X, weight: np.ndarray | None, of_fit: RowsOfFit | None, alpha: float
) -> Lesson:
    """Return the rows of X and what is to be learnt of them."""
    if of_fit is None:
        return Lesson(X, teacher.answers(X), teacher.classes, weight)
    answers, n_rows = of_fit.mixed(alpha), sklearn_private.num_samples(X)
    if n_rows > len(answers):
        others = sklearn_private.safe_indexing(X, np.arange(len(answers), n_rows))
        answers = np.concatenate([answers, teacher.answers(others)])
    return Lesson(X, answers, teacher.classes, weight)


def _n_times(augment: Any, n_rows: int, X=None) -> int:
    """Return how many rows are made up from each row."""
    if augment != "auto":
        return int(augment)
    if X is not None and not made_up.can_be_mixed(X):
        return 0
    return min(_TIMES, max(_MOST // n_rows - 1, 0))


def _with_made_up(real: Lesson, teacher: Teacher, n_made_up: int, generator) -> Lesson:
    """Return a lesson with further rows, made up from its own and answered by the stack."""
    if not n_made_up:
        return real
    rows, sources = made_up.mixed(real.X, n_made_up // len(real.answers), generator)
    answers = np.concatenate([real.answers, teacher.answers(rows)])
    if isinstance(rows, pd.DataFrame):
        X = pd.concat([real.X, rows], ignore_index=True)
    else:
        X = np.concatenate([real.X, rows])
    weight = None if real.weight is None else np.concatenate([real.weight, real.weight[sources]])
    return Lesson(X, answers, real.classes, weight)
