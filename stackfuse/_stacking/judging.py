"""The worth of the bases and the meta-learner, from out-of-fold predictions alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from stackfuse._core import sklearn_private
from stackfuse._display import rowwise
from stackfuse._meta import combining, scorers
from stackfuse._oof import (
    OutOfFold,
    contributions,
    engines,
    jobs,
    prediction_columns,
)
from stackfuse._stacking.report import (
    BaseReport,
    Estimate,
    Report,
)

#: Folds that are made for bases that came fitted, of which there are none.
_FOLDS = 5

#: Log-losses up to this are those of probabilities of 1 that were rounded.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Measure:
    """A score: ``of(model, X, y, weight)``.

    ``rows`` has the same arguments. It returns what each row adds: the weighted mean is the score.
    """

    name: str
    greater_is_better: bool
    of: Callable[[Any, Any, np.ndarray, np.ndarray | None], float]
    rows: Callable[[Any, Any, np.ndarray, np.ndarray | None], np.ndarray] | None = None


def judge(judged: "Judged", scoring: str | Callable | None = None) -> Report:
    """Compare a meta-learner with its bases, on the folds of the bases.

    Parameters
    ----------
    judged : Judged
    scoring : str, callable or None
        One of scikit-learn's scorers.

    Returns
    -------
    report : Report

    Raises
    ------
    ValueError
        If no fold can be predicted by a meta-learner that other folds have trained.
    """
    oof, columns, final = judged.oof, judged.columns, judged.final
    measure = _measure(scoring, judged)
    names = list(dict.fromkeys(column.estimator for column in oof.columns))
    sign = 1 if measure.greater_is_better else -1
    whole = judged.cross_fitted(columns)
    stack = judged.scores_of(measure, whole)
    in_sample = judged.scores_of(measure, [(final, rows) for _, rows in whole])
    alone = {name: judged.scores_of_base(measure, name) for name in names}
    best = max(alone.values(), key=lambda scores: np.nan_to_num(sign * scores.mean(), nan=-np.inf))
    constant, over_constant = Estimate(), Estimate()
    if scoring is None:  # a scorer may warn about a constant, or refuse it
        known = judged.constants()
        scores = judged.scores_of(measure, known)
        constant = Estimate.of(scores)
        better, says = stack, whole
        if sign * best.mean() > sign * stack.mean():
            better = best
            says = judged.as_models(next(name for name in names if alone[name] is best))
        over_constant = Estimate.of(sign * _difference(better, scores))
        by_rows = judged.error_by_rows(measure, says, known)
        over_constant = replace(
            over_constant, error=float(np.maximum(over_constant.error, by_rows))
        )
    weights = weights_of(final, columns, judged.table, oof.mask)
    bases = []
    for name in names:
        others = [column for column in columns if column.estimator != name or _is_passed(column)]
        lost = Estimate()
        if others:
            without = judged.scores_of(measure, judged.cross_fitted(others))
            lost = Estimate.of(sign * _difference(stack, without))
        weight_of_it = weights.get(name, np.nan)
        bases.append(BaseReport(name, Estimate.of(alone[name]), weight_of_it, lost))
    return Report(
        measure.name,
        measure.greater_is_better,
        bases,
        Estimate.of(stack),
        Estimate.of(sign * _difference(stack, best)),
        judged.correlations(names),
        len(judged.folds),
        optimism=Estimate.of(sign * _difference(in_sample, stack)),
        constant=constant,
        over_constant=over_constant,
        evidence=judged.evidence(names, whole),
        is_constant=getattr(final, "pool_", None) == "constant",
    )


def score_of_folds(judged: "Judged", scoring: str | Callable | None) -> float:
    """Return the mean score of a cross-fitted meta-learner; greater is better, whatever it is."""
    measure = _measure(scoring, judged)
    scores = judged.scores_of(measure, judged.cross_fitted(judged.columns))
    mean = float(scores.mean())
    return mean if measure.greater_is_better else -mean


def _difference(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the differences of scores, zero where they are rounding alone.

    The order in which a mean is summed would decide else whether stacking helps or hurts.
    """
    apart = scores - others
    return np.where(np.abs(apart) <= 1e-12 * (np.abs(scores) + np.abs(others)), 0.0, apart)


class Judged:
    """The table of a stack, its folds, and what is measured on them.

    Parameters
    ----------
    oof : OutOfFold
        With the y that was learnt.
    table : ndarray or sparse matrix of shape (n_samples, n_columns)
        The out-of-fold predictions and what is passed through.
    columns : list of Column
        The base and the output behind each column of the table.
    final : fitted estimator
        The meta-learner; clones of it are fitted.
    weight : array-like of shape (n_samples,) or None
        Weights of the rows in scores, and by default in training.
    params : dict or callable, default=None
        Fit parameters of the meta-learner. Where weights fall with age, a function to them from the
        number of the last training row, so that this row weighs as much as the last one in fit.
    fewest : int, default=2
        The rows that a fold must predict.
    """

    def __init__(
        self,
        oof: OutOfFold,
        table,
        columns: list[prediction_columns.Column],
        final,
        weight,
        *,
        params: dict[str, Any] | Callable[[int], dict[str, Any]] | None = None,
        fewest: int = 2,
    ):
        self.oof, self.table, self.columns, self.final = oof, table, columns, final
        self.weight = None if weight is None else np.asarray(weight)
        #: Arguments for the fit of the meta-learner; by default the weights alone.
        self.params = params or ({} if weight is None else {"sample_weight": self.weight})
        self.y = np.asarray(oof.y)
        self.classifier = is_classifier(final)
        self.labels = self.classifier and self.y.ndim == 2
        self.folds = _usable_folds(oof, self.y if self.classifier else None, fewest)

    def cross_fitted(self, columns: list[prediction_columns.Column]) -> list[tuple[Any, Any]]:
        """Return for each fold the meta-learner of the other rows, and the rows it is asked for."""
        places = [place for place, column in enumerate(self.columns) if column in columns]
        final = prediction_columns.set_columns(clone(self.final), columns, anew=True)
        if len(places) < len(self.columns) and hasattr(self.final, "pool_"):
            final.set_params(pool=self.final.pool_)  # without a base, the choice is not made again
        rows = sklearn_private.safe_indexing(self.table, places, axis=1)
        models = self._fits(final, rows)
        tests = [sklearn_private.safe_indexing(rows, fold.test) for fold in self.folds]
        return list(zip(models, tests))

    def _fits(self, final, rows) -> list[Any]:
        """Return the meta-learner of the training rows of each fold."""
        fits = [engines.Job(fold.train) for fold in self.folds]
        if not callable(self.params):
            return engines.fit_many(final, rows, self.y, fits, fit_params=self.params)
        models = []
        for fit in fits:
            params = self.params(int(fit.rows.max()))
            models += engines.fit_many(final, rows, self.y, [fit], fit_params=params)
        return models

    def constants(self) -> list[tuple[Any, Any]]:
        """Return for each fold the model that says the mean or the shares of the other rows."""
        dummy = DummyClassifier(strategy="prior") if self.classifier else DummyRegressor()
        pairs = []
        for train, test in self.folds:
            weight = None if self.weight is None else self.weight[train]
            model = clone(dummy).fit(np.zeros((len(train), 1)), self.y[train], weight)
            pairs.append((model, np.zeros((len(test), 1))))
        return pairs

    def scores_of(self, measure: Measure, cross_fitted: list[tuple[Any, Any]]) -> np.ndarray:
        """Return the scores of cross-fitted meta-learners, one for each fold."""
        return np.array(
            [
                self._score(measure, model, rows, fold.test)
                for (model, rows), fold in zip(cross_fitted, self.folds)
            ]
        )

    def scores_of_base(self, measure: Measure, name: str) -> np.ndarray:
        """Return the scores of one base's out-of-fold predictions, on the same rows."""
        model, said = self._alone(name)
        if model is None:
            return np.full(len(self.folds), np.nan)
        return np.array([self._score(measure, model, said[test], test) for _, test in self.folds])

    def as_models(self, name: str) -> list[tuple[Any, Any]]:
        """Return for each fold a model that says what a base said, and the rows it is asked for."""
        model, said = self._alone(name)
        return [(model, said[test]) for _, test in self.folds]

    def error_by_rows(self, measure: Measure, one: list, other: list) -> float:
        """Return the standard error of a difference of two mean scores, from the rows.

        All rows of all folds are compared in pairs, which tells more than a few folds do. The
        interval is right for large samples (Bayle et al., "Cross-validation confidence intervals
        for test error", NeurIPS 2020) where rows do not depend on each other.
        """
        if measure.rows is None:
            return 0.0
        apart, parts = [], []
        for (model, X), (model_2, X_2), (_, test) in zip(one, other, self.folds):
            weight = None if self.weight is None else self.weight[test]
            y, part = self.y[test], np.ones(len(test)) if weight is None else weight
            rows = measure.rows(model, X, y, weight) - measure.rows(model_2, X_2, y, weight)
            apart.append(rows)
            parts.append(part / max(part.sum(), np.finfo(float).tiny) / len(self.folds))
        rows, part = np.concatenate(apart), np.concatenate(parts)
        return float(np.sqrt(np.sum((part * (rows - part @ rows)) ** 2)))

    def _score(self, measure: Measure, model, X, test: np.ndarray) -> float:
        weight = None if self.weight is None else self.weight[test]
        return float(measure.of(model, X, self.y[test], weight))

    def _alone(self, name: str) -> tuple[Any, np.ndarray]:
        """Return a base as a model of its own predictions; no model if they predict nothing."""
        places = [k for k, column in enumerate(self.oof.columns) if column.estimator == name]
        method, said = self.oof.columns[places[0]].method, self.oof.predictions[:, places]
        if method == contributions.FEATURES:
            return None, said
        if not self.classifier and said.shape[1] != self.y.size / len(self.y):
            return None, said  # a spread or quantiles beside the prediction, for example
        if not self.classifier:
            return scorers.NumbersAsX(), said if self.y.ndim == 2 else said[:, 0]
        classes = np.arange(self.y.shape[1] if self.labels else self.y.max() + 1)
        if method == "predict_proba":
            pair = not self.labels and said.shape[1] == 1
            return scorers.ProbabilitiesAsX(classes, self.labels), np.hstack(
                [1 - said, said]
            ) if pair else said
        if self.labels:
            cut = 0.5 if method == "predict" else 0
            return scorers.ProbabilitiesAsX(classes, True), said > cut
        if method == "decision_function":
            return scorers.ScoresAsX(classes), said
        are_classes = np.isin(said[self.oof.mask], classes).all()
        return (scorers.LabelsAsX(classes) if are_classes else None), said

    def says_chances(self) -> bool:
        """Whether everything that predicts predicts probabilities."""
        methods = {column.method for column in self.oof.columns}
        return (
            self.classifier
            and methods <= {"predict_proba", contributions.FEATURES}
            and hasattr(self.final, "predict_proba")
        )

    def out_of_fold(self) -> np.ndarray:
        """Return what the cross-fitted stack says of each row: chances, or else labels or numbers.

        Returns
        -------
        said : ndarray of shape (n_samples, ...)
            NaN in rows that no fold predicts.
        """
        return self._said_by_stack(self.cross_fitted(self.columns))[0]

    def evidence(self, names: list[str], whole: list[tuple[Any, Any]]) -> rowwise.Evidence:
        """Return what the bases and the cross-fitted stack say of each row, and how far off."""
        predictions, losses, loss_names = {}, {}, {}
        for name in [*names, rowwise.STACK]:
            said, chances = self.said_by(name, whole)
            if said is None:
                continue
            if chances or not self.classifier:
                predictions[name] = said
            losses[name], loss_names[name] = self._losses(said, chances)
        kind = "numbers" if not self.classifier else "labels" if self.labels else "classes"
        return rowwise.Evidence(
            kind,
            self.y,
            predictions,
            pd.DataFrame(losses),
            loss_names,
            self.oof.fold_ids,
            _names_of(self.oof.classes_),
        )

    def said_by(self, name: str, whole: list[tuple[Any, Any]]) -> tuple[np.ndarray | None, bool]:
        """Return predictions of all rows, NaN where there are none; whether they are chances."""
        if name != rowwise.STACK:
            model, said = self._alone(name)
            if model is None:
                return None, False
            if not self.classifier:
                return said, False
            if hasattr(model, "predict_proba"):
                return said, True
            known = np.isfinite(said).reshape(len(said), -1).all(axis=1)
            parts = [(np.flatnonzero(known), model.predict(said[known]))]
            return self._averaged(parts), False
        return self._said_by_stack(whole)

    def _said_by_stack(self, whole: list[tuple[Any, Any]]) -> tuple[np.ndarray, bool]:
        """Return what the cross-fitted stack says of all rows; whether that are chances."""
        chances = self.classifier and hasattr(self.final, "predict_proba")
        parts = [
            (fold.test, _chances(model, rows) if chances else model.predict(rows))
            for (model, rows), fold in zip(whole, self.folds)
        ]
        return self._averaged(parts), chances

    def _averaged(self, parts: list[tuple[np.ndarray, Any]]) -> np.ndarray:
        """Return the means of predictions of some rows each, NaN in rows without any."""
        width = np.shape(parts[0][1])[1:]
        total, count = np.zeros((len(self.y), *width)), np.zeros(len(self.y))
        for rows, said in parts:
            np.add.at(total, rows, np.asarray(said, float))
            np.add.at(count, rows, 1)
        with np.errstate(invalid="ignore"):
            return total / count.reshape(-1, *[1] * len(width))

    def _losses(self, said: np.ndarray, chances: bool) -> tuple[np.ndarray, str]:
        if not self.classifier:
            return rowwise.absolute_errors(self.y, said), "absolute error"
        if chances:
            return rowwise.log_losses(self.y, said), "log-loss"
        wrong = (said != self.y).astype(float)
        missing = np.isnan(said)
        if self.labels:
            wrong, missing = wrong.mean(axis=1), missing.any(axis=1)
        return np.where(missing, np.nan, wrong), "share of wrong answers"

    def correlations(self, names: list[str]) -> pd.DataFrame:
        """Return how alike the errors of the bases are."""
        rows = np.flatnonzero(self.oof.mask)
        errors = [self._errors(name, rows) for name in names]
        width = max(map(len, errors))  # a base without predictions has one NaN per row
        errors = [e if len(e) == width else np.full(width, np.nan) for e in errors]
        with np.errstate(invalid="ignore", divide="ignore"):
            matrix = np.atleast_2d(np.corrcoef(np.array(errors, float)))
        return pd.DataFrame(matrix, index=pd.Index(names), columns=pd.Index(names))

    def _errors(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return by how much a base misses: numbers, probabilities, or else whether it does."""
        model, said = self._alone(name)
        y = self.y[rows]
        if model is None:
            return np.full(len(rows), np.nan)
        if not self.classifier:
            return (said[rows] - y).ravel()
        if self.says_chances():
            return (said[rows] - (y if self.labels else np.eye(said.shape[1])[y])).ravel()
        return (model.predict(said[rows]) != y).ravel()


def _usable_folds(oof: OutOfFold, labels: np.ndarray | None, fewest: int) -> list:
    """Return the folds whose rows a meta-learner trained on other rows can predict.

    Where there are classes or labels, these other rows must hold all of them. The fold must predict
    at least the fewest rows: some scores are not defined for one.
    """
    folds = oof.folds
    if not folds:  # the bases came fitted
        parts = KFold(_FOLDS, shuffle=True, random_state=0).split(oof.predictions)
        folds = [jobs.Fold(train, test) for train, test in parts]
    n_classes = 0 if labels is None else _n_values(labels[oof.mask])
    usable = []
    for fold in folds:
        train = fold.train[oof.mask[fold.train]]
        if len(train) < 2 or len(fold.test) < fewest:
            continue
        if labels is None or _n_values(labels[train]) == n_classes:
            usable.append(jobs.Fold(train, fold.test))
    if not usable and all(len(fold.test) < fewest for fold in folds):
        raise ValueError(
            f"Each of the {len(folds)} folds predicts one row, and some scores are not defined for "
            "one: use folds of more rows, such as cv=10."
        )
    if not usable:
        raise ValueError(
            "No fold has training rows that were predicted as well, so the meta-learner cannot be "
            "cross-validated: use more folds."
        )
    return usable


def _n_values(labels: np.ndarray) -> int:
    """Return how many different classes there are; of 0/1 indicators, in all columns together."""
    return sum(len(np.unique(column)) for column in labels.reshape(len(labels), -1).T)


def _measure(scoring: str | Callable | None, judged: Judged) -> Measure:
    """Return what is measured: by default the log-loss, the accuracy or R2."""
    if scoring is not None:
        scorer = scorers.scorer_of(scoring)

        def by_scorer(model, X, y, weight):
            return scorer(model, X, y, **({} if weight is None else {"sample_weight": weight}))

        return Measure(str(scoring), True, by_scorer)
    if not judged.classifier:
        return Measure("R2", True, _r2, _r2_of_rows)
    if judged.says_chances():
        return Measure("log-loss", False, _log_loss, _log_losses)
    return Measure("accuracy", True, _accuracy, lambda m, X, y, w: _are_right(m, X, y))


def _chances(model, X) -> np.ndarray:
    """Return probabilities; of labels one column each."""
    chances = model.predict_proba(X)
    return prediction_columns.as_labels(chances, model) if isinstance(chances, list) else chances


def _names_of(classes) -> tuple[str, ...]:
    """Return the classes as text; of several labels their numbers."""
    if classes is None:
        return ()
    return tuple(str(label) for label in classes)


def _r2(model, X, y: np.ndarray, weight: np.ndarray | None) -> float:
    return float(r2_score(y, model.predict(X), sample_weight=weight))


def _r2_of_rows(model, X, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Return one minus the squared errors in units of the variance of y."""
    variance = np.average((y - np.average(y, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    errors = (y - model.predict(X)) ** 2 / np.where(variance > 0, variance, np.inf)
    return 1 - errors.reshape(len(y), -1).mean(axis=1)


def _log_losses(model, X, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return combining.pooling.log_losses(_chances(model, X), y, labels=y.ndim == 2)


def _log_loss(model, X, y: np.ndarray, weight: np.ndarray | None) -> float:
    chances = _chances(model, X)
    weight = np.ones(len(y)) if weight is None else weight
    loss = float(combining.pooling.log_loss(chances, y, weight, labels=y.ndim == 2))
    return loss if loss > _ROUNDING else 0.0


def _accuracy(model, X, y: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(_are_right(model, X, y), weights=weight))


def _are_right(model, X, y: np.ndarray) -> np.ndarray:
    """Return 1 for each row whose class, or whose labels all, are right, else 0."""
    right = model.predict(X) == y
    return (right.all(axis=1) if y.ndim == 2 else right).astype(float)


def _is_passed(column: prediction_columns.Column) -> bool:
    return column.method == prediction_columns.PASSED


def weights_of(
    final, columns: list[prediction_columns.Column], table, mask: np.ndarray
) -> dict[str, float]:
    """Return what a fitted meta-learner gives each base, if it tells."""
    while hasattr(final, "best_estimator_") or hasattr(final, "steps"):
        final = final.best_estimator_ if hasattr(final, "best_estimator_") else final[-1]
    names = list(dict.fromkeys(c.estimator for c in columns if not _is_passed(c)))
    if hasattr(final, "weights_"):
        weights = np.asarray(final.weights_).reshape(len(names), -1).mean(axis=1)
        return dict(zip(names, weights.tolist()))
    if hasattr(final, "feature_importances_"):
        shares = np.asarray(final.feature_importances_)
    elif hasattr(final, "coef_") and not issparse(table):
        spread = table[mask].std(axis=0)
        shares = np.abs(np.atleast_2d(final.coef_)).mean(axis=0) * spread
    else:
        return {}
    if shares.shape != (len(columns),) or not shares.sum() > 0:
        return {}
    parts = dict.fromkeys(names, 0.0)
    for column, share in zip(columns, shares / shares.sum()):
        if not _is_passed(column):
            parts[column.estimator] += float(share)
    return parts
