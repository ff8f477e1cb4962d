"""The side of a stack that is calibrated, and where that means nothing."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted, column_or_1d

from stackfuse._core import fitting, multi_input, targets
from stackfuse._stacking.uncertainty.calibration import (
    Calibration,
    Extras,
    HeldCalibration,
    on_new_rows,
    on_out_of_fold,
)
from stackfuse._stacking.uncertainty.row_weights import HALF_LIFE, keeps_groups_apart

#: The call to type if the rows of fit cannot be used.
_NEW_ROWS = "stack.calibrate(X_new, y_new), with rows that no part of it was fitted on"


class CalibratedStack:
    """The side of a stack that is calibrated, on its out-of-fold rows or on new ones."""

    #: Made when it is first asked for, or by :meth:`calibrate`.
    _calibration: HeldCalibration
    #: The group of each row of fit by number, or None.
    _groups: np.ndarray | None = None
    #: Names of the arguments of the meta-learner's fit, besides the table.
    _final_params: tuple[str, ...] = ()
    #: Makes the intervals or sets that a graph has too; set in copies that are exported.
    _coverage: Any = None

    def calibrate(
        self,
        X: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        half_life: float | None = None,
    ) -> Self:
        """Measure how far off the stack is; intervals and sets for new rows are made from that.

        `predict_interval` and `predict_set` do so themselves when they are first called, as
        ``calibrate()`` does. Call it before pickling, so that what is loaded need not do it; and
        wherever these methods say that something is missing.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), default=None
            Without y: the rows of fit, needed with `passthrough` only. No base is fitted; the
            meta-learner is trained anew for each fold, on the out-of-fold predictions of the
            others. With y: new rows, which the stack predicts as it is.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The target of new rows, on which nothing in the stack was fitted.
        sample_weight : array-like of shape (n_samples,), default=None
            The weights of the rows, those of fit if the rows are; only their ratios matter. A new
            row counts as much as these do on average.
        groups : array-like of shape (n_samples,), default=None
            Each group counts once, for predictions about new groups. By default the groups of
            fit, if the folds keep them apart. Not together with `half_life`.
        half_life : float, default=None
            After so many rows, in their order in time, a row counts half. For folds that go
            forward, ``TimeSeriesSplit()``, or new rows. By default all rows count alike.

        Returns
        -------
        self : estimator
            The stack, calibrated.

        Raises
        ------
        ValueError
            If X is needed, or has other rows than those of fit; or if the out-of-fold predictions
            do not tell how far off the stack is, because its bases came fitted, for example.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> import stackfuse as sf
        >>> X, y = load_diabetes(return_X_y=True)
        >>> ridge = Ridge().fit(X[:150], y[:150])
        >>> stack = sf.StackingRegressor([("ridge", ridge)], cv="prefit")
        >>> stack = stack.fit(X[150:250], y[150:250]).calibrate(X[250:350], y[250:350])
        >>> lower, upper = stack.predict_interval(X[350:], coverage=0.8).T
        >>> round(float(((lower <= y[350:]) & (y[350:] <= upper)).mean()), 1)
        0.8
        """
        check_is_fitted(self)
        refuse_without_sets(self)
        fitting.check_settings({"half_life": half_life}, {"half_life": HALF_LIFE})
        twin = fitting.as_it_is(self)
        twin._calibration = HeldCalibration(
            twin._calibrated_on(X, y, sample_weight, groups, half_life)
        )
        self.__dict__ = vars(twin)
        return self

    def _calibrated_on(self, X, y, sample_weight, groups, half_life) -> Calibration:
        """Return the calibration on the rows of fit, or with y on new rows."""
        stack: Any = self
        X = multi_input.rows_given(X) if X is not None else None
        codes = self._groups_of_fit() if groups is None and y is None else group_numbers(groups)
        if codes is not None and half_life is not None:
            raise ValueError(
                "groups and half_life cannot be combined, because groups have no order in "
                "time. Leave out one of them."
            )
        if y is None:
            refuse_seen_rows(stack)
            stack._check_rows_of_fit(X, sample_weight)
            targets.check_same_length(oof_=stack.oof_.predictions, groups=groups)
            return on_out_of_fold(stack, X, _extras(sample_weight, codes, half_life))
        if X is None:
            raise ValueError(f"y is the target of new rows, but X is missing: {_NEW_ROWS}.")
        targets.check_same_length(X=X, y=y, sample_weight=sample_weight, groups=groups)
        targets.check_weights(sample_weight)
        extras = _extras(sample_weight, codes, half_life)
        return on_new_rows(stack, X, _as_learnt(stack, y), extras)

    def _groups_of_fit(self) -> np.ndarray | None:
        """Return the groups of the rows of fit, if its folds keep them apart."""
        folds = self.oof_.folds  # type: ignore[attr-defined]
        groups = self._groups
        return groups if groups is not None and keeps_groups_apart(folds, groups) else None

    def _calibrated(self) -> Calibration:
        """Return the calibration, on the out-of-fold rows unless there is one."""
        refuse_without_sets(self)
        return self._calibration.of(self._calibrated_by_itself)

    def _calibrated_by_itself(self) -> Calibration:
        stack: Any = self
        refuse_seen_rows(stack)
        lacking = {"X": "X"} if stack._passes_through() else {}
        lacking |= {name: f"{name}={name}" for name in self._final_params}
        unknown = [name for name in self._final_params if name != "sample_weight"]
        if unknown:
            raise ValueError(
                f"The meta-learner was fitted with {unknown[0]}, which a stack does not keep. "
                f"Call {_NEW_ROWS}."
            )
        if lacking:
            raise ValueError(
                f"The meta-learner was fitted with {' and '.join(lacking)} too, but a stack keeps "
                f"no rows. First call stack.calibrate({', '.join(lacking.values())}) with the "
                "arguments of fit."
            )
        return self._calibrated_on(None, None, None, None, None)


def _extras(sample_weight, groups: np.ndarray | None, half_life: float | None) -> Extras:
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    return Extras(weight, groups, half_life)


def group_numbers(groups) -> np.ndarray | None:
    """Return the number of each row's group, or None if there are no groups."""
    if groups is not None:
        targets.n_rows(groups, "groups")
        targets.check_groups(groups)
    return None if groups is None else pd.factorize(np.asarray(groups), use_na_sentinel=False)[0]


def refuse_without_sets(stack) -> None:
    """Raise if a classifier does not predict the probabilities of the classes of one label."""
    if not is_classifier(stack):
        return
    if isinstance(stack.classes_, list):
        raise ValueError(
            "A set is of the classes of one label, and this stack predicts "
            f"{len(stack.classes_)} labels: fit a stack for each, on y[:, k]."
        )
    if not hasattr(stack, "predict_proba"):
        raise ValueError(
            f"Sets are made from probabilities, and {type(stack.final_estimator_).__name__} gives "
            "none: use a meta-learner with predict_proba, such as LogisticRegression()."
        )


def refuse_seen_rows(stack) -> None:
    """Raise if out-of-fold predictions of a stack say too much good of its predictions.

    Raises
    ------
    ValueError
        With what to type instead.
    """
    oof = stack.oof_
    if not oof.folds:
        raise ValueError(
            "The bases were fitted before, so no out-of-fold predictions show how far off they "
            f"are. Call {_NEW_ROWS}."
        )
    for name, base in stack.estimators:
        if not targets.is_dropped(base) and _comes_fitted(base):
            raise ValueError(
                f"Base estimator {name!r} was fitted before, maybe on these rows. So its "
                f"predictions do not show how far off it is. Call {_NEW_ROWS}."
            )
    if _comes_fitted(stack.final_estimator_):
        raise ValueError(
            "The meta-learner was fitted before, maybe on these rows. So its predictions do not "
            f"show how far off it is. Call {_NEW_ROWS}."
        )
    tested = np.concatenate([fold.test for fold in oof.folds])
    if hasattr(stack, "estimators_") and np.unique(tested).size < tested.size:
        raise ValueError(
            "Some rows were predicted in several folds. The means are better than what one "
            "refitted base predicts, so they do not show how far off it is. Use refit=False, or "
            f"folds that do not overlap, or {_NEW_ROWS}."
        )


def _comes_fitted(estimator) -> bool:
    """Whether an estimator predicts as it was before the stack was fitted."""
    while hasattr(estimator, "steps") and estimator.steps:
        estimator = estimator.steps[-1][1]
    # A network of 0 epochs is one from a file, or one that was trained before.
    return isinstance(estimator, FrozenEstimator) or getattr(estimator, "epochs", None) == 0


def _as_learnt(stack, y) -> np.ndarray:
    """Return the target of new rows as the stack learnt it: numbers of classes, or numbers."""
    if not is_classifier(stack):
        y = targets.check_target(y, classifier=False, owner=stack)
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if y.shape[1:] != np.shape(stack.oof_.y)[1:]:
            raise ValueError(
                f"y has shape {y.shape}, but the stack was fitted on targets of shape "
                f"{np.shape(stack.oof_.y)}. Pass y in that form."
            )
        return np.asarray(y)
    y = column_or_1d(y)
    known = stack.classes_.tolist()
    unknown = [label for label in pd.unique(y).tolist() if label not in known]
    if unknown:
        raise ValueError(f"y holds {unknown[0]!r}, which is not one of the classes {known}.")
    return np.searchsorted(stack.classes_, y)
