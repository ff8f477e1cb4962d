"""The methods of a fitted stack: transform, predict, name its columns, and show itself."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_html_repr
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import (
    fitting,
    messages,
    multi_input,
    sampling,
    sklearn_private,
    targets,
)
from stackfuse._oof import (
    contributions,
    prediction_columns,
)
from stackfuse._stacking.costs import costs_of
from stackfuse._stacking.facts import facts_of
from stackfuse._stacking.judging import Judged, judge, score_of_folds
from stackfuse._stacking.notebook import bases_as_html
from stackfuse._stacking.passthrough import as_list, chosen_columns
from stackfuse._stacking.report import Report
from stackfuse._stacking.shared_columns import SharedColumns
from stackfuse._stacking.uncertainty.calibrating import CalibratedStack

#: Training rows whose digests a stack keeps, to tell them from others.
DIGESTED_ROWS = 64


def final_has(method: str):
    """Return the check whether a stack's meta-learner, fitted or not, has a method."""

    def check(stack) -> bool:
        final = getattr(stack, "final_estimator_", stack.final_estimator)
        getattr(stack._default_final() if final is None else final, method)
        return True

    return check


class FittedStack(CalibratedStack, TransformerMixin):
    """The side of a stack that is used once it is fitted."""

    final_estimator_: Any
    #: Set while a search fits several meta-learners on the same bases.
    _shared_columns: SharedColumns | None = None

    @fitting.of_one_fit
    def transform(self, X: Any) -> Any:
        """Return the bases' predictions for X, the columns that the meta-learner sees.

        Parameters
        ----------
        X : array-like, data frame or MultiInput of shape (n_samples, ...)
            The rows, with the columns of those of ``fit``.

        Returns
        -------
        predictions : ndarray or sparse matrix of shape (n_samples, n_columns)
            The predictions in float64, followed by the passed-through columns of X.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        self._check_is_fitted()
        X, shared = multi_input.rows_given(X), self._shared_columns
        return self._columns(X) if shared is None else shared.of(X, self._columns)

    def _share_columns(self) -> None:
        """Let stacks on the same bases, which nobody changes, predict the same rows once."""
        self._shared_columns = SharedColumns()

    def bases_read(self) -> list[int]:
        """Return the numbers of the bases in use that the meta-learner reads.

        Returns
        -------
        numbers : list of int
            The meta-learners of stackfuse leave out bases of weight zero; of all others it is every
            base.
        """
        final, widths = self.final_estimator_, [len(c) for _, c in self._columns_by_base()]
        is_ours = isinstance(final, prediction_columns.ColumnsMixin)
        places = final.columns_read() if is_ours else None
        if places is None:
            return list(range(len(widths)))
        ends = np.cumsum(widths)
        wanted = np.unique(np.searchsorted(ends, [p for p in places if p < ends[-1]], side="right"))
        return wanted.tolist()

    def _table_read(self, X):
        """Return the meta-learner's table for X, zeros in columns that it does not read."""
        return self._table_of(X, self.bases_read())

    def _table_of(self, X, numbers: Sequence[int]):
        """Return the table for X with the predictions of some bases, zeros for the others."""
        if self._shared_columns is not None or len(numbers) == len(self.stack_method_):
            return self.transform(X)
        return self._columns(multi_input.rows_given(X), numbers)

    def _columns(self, X, read: Sequence[int] | None = None):
        """Ask all bases, or some, for their predictions of X; see :meth:`transform`."""
        widths = [len(columns) for _, columns in self._columns_by_base()]
        blocks = [np.zeros((sklearn_private.num_samples(X), width)) for width in widths]
        numbers = range(len(widths)) if read is None else read
        bases = [(k, self._replicas()[k], self.stack_method_[k]) for k in numbers]
        asked = [(replica, method) for _, replicas, method in bases for replica in replicas]
        with multi_input.checked_once(X), contributions.asked_together(asked, X):
            for k, replicas, method in bases:
                votes = [
                    prediction_columns.as_block(
                        contributions.contribution(e, method, X), e, method, self._labels_of(e)
                    )
                    for e in replicas
                ]
                blocks[k] = votes[0] if len(votes) == 1 else np.mean(votes, axis=0)
        return self._with_passthrough(np.hstack(blocks), X)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit, and return the out-of-fold predictions of X: no row is predicted by its own model.

        Parameters
        ----------
        X : array-like, data frame or MultiInput of shape (n_samples, ...)
            The training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The target. It is required.
        **fit_params : dict
            Arguments for :meth:`fit`.

        Returns
        -------
        predictions : ndarray or sparse matrix of shape (n_samples, n_columns)
            The predictions, followed by the passed-through columns of X. Rows that no fold predicts
            have NaN.

        Raises
        ------
        ValueError
            If X, y, the folds, an estimator or a setting cannot be used.
        """
        self.fit(X, y, **fit_params)
        return self._with_passthrough(self.oof_.predictions, X)

    @fitting.available_if(final_has("predict"))
    @fitting.of_one_fit
    def predict(self, X: Any, **predict_params: Any) -> Any:
        """Return the meta-learner's prediction for X.

        Parameters
        ----------
        X : array-like, data frame or MultiInput of shape (n_samples, ...)
            The rows, with the columns of those of ``fit``.
        **predict_params : dict
            Arguments for the meta-learner's ``predict``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The labels or numbers.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        self._check_is_fitted()
        if sklearn_private.routing_enabled():
            routed = process_routing(self, "predict", **predict_params)
            predict_params = routed["final_estimator_"]["predict"]
        said = self.final_estimator_.predict(self._table_read(X), **predict_params)
        encoders = getattr(self, "_label_encoder", None)
        if encoders is None:
            return said
        if not isinstance(encoders, list):
            return targets.labels_of(encoders, said)
        # Some meta-learners, chains for one, predict the numbers of labels as floats.
        numbers = np.asarray(said)
        columns = [e.inverse_transform(n) for e, n in zip(encoders, numbers.astype(np.intp).T)]
        return np.array(columns).T

    @fitting.of_one_fit
    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns that :meth:`transform` returns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            The names of X's columns, for a stack with `passthrough`.

        Returns
        -------
        names : ndarray of str, shape (n_columns,)
            The names of stack and base, such as ``stackingclassifier_forest0``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        check_is_fitted(self, "n_features_in_")
        passed = self._passes_through()
        input_features = sklearn_private.check_feature_names_in(
            self, input_features, generate_names=passed
        )
        prefix = type(self).__name__.lower()
        names = []
        for name, columns in self._columns_by_base():
            several = len(columns) > 1
            names += [f"{prefix}_{name}{j if several else ''}" for j in range(len(columns))]
        if not passed:
            return np.asarray(names, dtype=object)
        if self.passthrough is not True:
            known = list(input_features)
            chosen = as_list(self.passthrough)
            input_features = [c if isinstance(c, str) else known[c] for c in chosen]
        return np.concatenate((names, input_features))

    @fitting.of_one_fit
    def report(self, X: Any = None, *, scoring: Any = None, sample_weight: Any = None) -> Report:
        """Tell whether stacking helped, from the out-of-fold predictions: no base is fitted.

        The meta-learner is trained anew on the other folds' predictions to score each fold, and
        once more without each base. A base that predicted the training rows of a fold has seen the
        rows that are scored, so the stack's score is slightly too good; a search over the whole
        stack is the last word.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), default=None
            The rows given to ``fit``. Only a stack with `passthrough` needs them.
        scoring : str or callable, default=None
            One of scikit-learn's scorers. By default the log-loss where all give probabilities,
            the accuracy for other classifiers, and R2 for regressors.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as in ``fit``.

        Returns
        -------
        report : Report
            Prints as a table with a verdict; ``to_frame()`` gives the table, ``to_html(path)``
            writes a page.

        Raises
        ------
        ValueError
            If X is needed and missing, or has other rows than those of ``fit``.
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        check_is_fitted(self)
        self._check_rows_of_fit(X, sample_weight)
        table = self._with_passthrough(self.oof_.predictions, X)
        report = judge(self._judged(table, sample_weight), scoring)
        report = replace(report, costs=costs_of(self, X), failures=dict(self.failures_))
        return replace(report, facts=facts_of(self, report))

    def _score_of_folds(self, X, scoring, sample_weight) -> float:
        """Return the stack's score of :meth:`report` alone; greater is better, whatever it is."""
        self._check_rows_of_fit(X, sample_weight)
        table = self._with_passthrough(self.oof_.predictions, X)
        return score_of_folds(self._judged(table, sample_weight), scoring)

    def _judged(self, table, weight, *, fewest: int = 2) -> Judged:
        """Return the meta-learner's table, to train the meta-learner anew as in fit."""
        again, columns = partial(self._params_again, weight), self._table_columns(table)
        params = again() if self.recency is None else again
        return Judged(
            self.oof_, table, columns, self.final_estimator_, weight, params=params, fewest=fewest
        )

    def _check_rows_of_fit(self, X, sample_weight) -> None:
        """Raise unless X, where it is needed, has the rows of fit."""
        if self._passes_through() and X is None:
            raise ValueError(
                "The meta-learner also uses columns of X (passthrough). Pass X=, the X of fit."
            )
        rows = self.oof_.predictions if X is None else X
        targets.check_same_length(X=rows, oof_=self.oof_.predictions, sample_weight=sample_weight)
        targets.check_weights(sample_weight)
        if X is not None and not self._has_rows_of_fit(X):
            raise ValueError(
                "X does not hold the rows of fit in the same order. Pass the X of fit."
            )

    def _has_rows_of_fit(self, X) -> bool:
        """Whether as many rows as those of fit are these, as far as some of them tell."""
        places = sampling.spread(len(self.oof_.predictions), DIGESTED_ROWS)
        return sampling.row_digests(X, places) == self._seen_rows

    @property
    def n_features_in_(self) -> int:
        """The number of columns of X in ``fit``."""
        try:
            check_is_fitted(self)
        except NotFittedError as error:
            raise AttributeError(
                f"{type(self).__name__} object has no attribute n_features_in_"
            ) from error
        return self._replicas()[0][0].n_features_in_

    def _check_is_fitted(self) -> None:
        # scikit-learn's check alone takes as long as a small network.
        if not hasattr(self, "final_estimator_"):
            check_is_fitted(self)

    def _replicas(self) -> list[list]:
        """Return the fitted estimators that stand for each base: the refitted, or one per fold."""
        if hasattr(self, "estimators_"):
            return [[estimator] for estimator in self.estimators_]
        return self.fold_estimators_

    def _labels_of(self, base) -> np.ndarray | None:
        """Return the classes as a base knows them."""
        return prediction_columns.labels_for(base, self.oof_.classes_, prefit=not self.oof_.folds)

    def _block_of(self, base, method: str, X) -> np.ndarray:
        """Return the predictions of a base as columns of the meta-learner's table."""
        prediction = contributions.contribution(base, method, X)
        return prediction_columns.as_block(prediction, base, method, self._labels_of(base))

    def _columns_by_base(self) -> Iterator[tuple[str, list[prediction_columns.Column]]]:
        """Yield the columns of each base that is in use."""
        columns: dict[str, list] = {}
        for column in self.oof_.columns:
            columns.setdefault(column.estimator, []).append(column)
        for name, base in self.estimators:
            if name in columns and not targets.is_dropped(base):
                yield name, columns[name]

    def _passes_through(self) -> bool:
        if isinstance(self.passthrough, bool | np.bool_):
            return bool(self.passthrough)
        return len(as_list(self.passthrough)) > 0

    def _with_passthrough(self, predictions: np.ndarray, X: Any):
        """Return the predictions followed by the columns of X that the meta-learner sees too."""
        if not self._passes_through():
            return predictions
        if self.passthrough is not True:
            X = chosen_columns(X, self.passthrough)
        if scipy.sparse.issparse(X):
            return scipy.sparse.hstack([predictions, X], format=X.format)
        if np.ndim(X) > 2:
            raise ValueError(
                f"passthrough=True appends the columns of X, but X has shape {np.shape(X)}. "
                "Use passthrough=False."
            )
        return np.hstack([predictions, X])

    def _table_columns(self, table) -> list[prediction_columns.Column]:
        """Say what the columns of the meta-learner's table are, those of X at its end."""
        known = self.oof_.columns
        return known + [
            prediction_columns.Column("X", prediction_columns.PASSED, j)
            for j in range(table.shape[1] - len(known))
        ]

    def _sk_visual_block_(self):
        """Return what a notebook shows: the bases, the folds, the meta-learner."""
        names, estimators = zip(*self.estimators) if self.estimators else ((), ())
        names = [messages.printable(name) for name in names]
        shown = [e if hasattr(e, "get_params") else str(e) for e in estimators]
        final = self._default_final() if self.final_estimator is None else self.final_estimator
        blocks = (
            sklearn_private.VisualBlock("parallel", shown, names=names, dash_wrapped=False),
            sklearn_private.VisualBlock(
                "single", "folds", names="folds", name_details=self._folds_in_words()
            ),
            sklearn_private.VisualBlock(
                "parallel", [final], names=["final_estimator"], dash_wrapped=False
            ),
        )
        return sklearn_private.VisualBlock("serial", blocks, dash_wrapped=False)

    def _html_repr(self) -> str:
        """Return what a notebook shows: scikit-learn's diagram, and the bases of a fitted stack."""
        diagram = messages.printable(estimator_html_repr(self))
        return diagram + bases_as_html(self) if hasattr(self, "final_estimator_") else diagram

    def _folds_in_words(self) -> str:
        if hasattr(self, "oof_"):
            n_rows = int(self.oof_.mask.sum())
            return f"cv={self.cv!r}: {len(self.oof_.folds)} folds, {n_rows} rows predicted"
        return f"cv={self.cv!r}"
