"""How much a student loses and gains beside its stack."""

from typing import Any

import numpy as np

from stackfuse._core import sklearn_private
from stackfuse._stacking.costs import kilobytes, milliseconds
from stackfuse._stacking.distilling.answers import RowsOfFit, Teacher
from stackfuse._stacking.distilling.students import Lesson, Student
from stackfuse._stacking.distilling.summary import Distillation, Model


def summary_of(
    teacher: Teacher, student: Student, fitted: Any, real: Lesson, of_fit: RowsOfFit | None
) -> Distillation:
    """Return what a fitted student loses and gains.

    Parameters
    ----------
    teacher : Teacher
    student : Student
    fitted : fitted estimator
        The student once it has learnt.
    real : Lesson
        Its lesson, without rows that were made up.
    of_fit : RowsOfFit or None
        The first rows of the lesson, if these are known.
    """
    row = sklearn_private.safe_indexing(real.X, [0])
    stack = teacher.stack
    costs = [
        (milliseconds(lambda model=model: _said(model, row, teacher)), kilobytes(parts))
        for model, parts in (
            (stack, [stack._replicas(), stack.final_estimator_]),
            (fitted, fitted),
        )
    ]
    metric = "log-loss" if teacher.classifier else "1 - R2"
    if of_fit is None:
        return Distillation(metric, Model(np.nan, *costs[0]), Model(np.nan, *costs[1]))
    train, test = of_fit.split()
    losses, weight = _losses(student, real, of_fit, train, test)
    means = [float(np.average(part, weights=weight)) for part in losses]
    apart = losses[1] - losses[0]
    part = np.ones(len(apart)) if weight is None else weight
    squares = (part * (apart - (means[1] - means[0]))) ** 2
    return Distillation(
        metric,
        Model(means[0], *costs[0]),
        Model(means[1], *costs[1]),
        Model(means[2], *costs[1]),
        difference=means[1] - means[0],
        error=float(np.sqrt(squares.sum()) / part.sum()),
        n_scored=len(test),
        n_twin=len(train),
    )


def _said(model, X, teacher: Teacher) -> np.ndarray:
    """Return what a model says of rows, in the form of the teacher's answers."""
    if not teacher.classifier:
        return model.predict(X)
    return model.predict_proba(X)


def _losses(
    student: Student, real: Lesson, of_fit: RowsOfFit, train: np.ndarray, test: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Return the losses of the stack, the student and one on labels, and the rows' weights."""
    part = real.rows(train)
    twins = [student.taught(part), student.trained(part.X, of_fit.labels[train], part.weight)]
    rows = sklearn_private.safe_indexing(of_fit.X, test)
    said = [of_fit.answers[test], *(_said(twin, rows, of_fit.teacher) for twin in twins)]
    weight = None if of_fit.weight is None else of_fit.weight[test]
    return [of_fit.losses(one, test) for one in said], weight
