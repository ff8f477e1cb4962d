"""StackingClassifier and StackingRegressor: scikit-learn's, over any folds, with a memory."""

from typing import Any

import numpy as np
from sklearn import ensemble
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import column_or_1d

from stackfuse._core import (
    fitting,
    targets,
)
from stackfuse._meta import (
    PoolClassifier,
    PoolRegressor,
)
from stackfuse._oof import (
    contributions,
    prediction_columns,
)
from stackfuse._stacking.checks import check_final
from stackfuse._stacking.fitted import final_has
from stackfuse._stacking.fitting import Stack
from stackfuse._stacking.uncertainty.intervals import PredictsIntervals
from stackfuse._stacking.uncertainty.sets import PredictsSets


class StackingClassifier(PredictsSets, Stack, ensemble.StackingClassifier):
    """Classifiers, combined by a meta-learner trained on their out-of-fold predictions.

    A drop-in for :class:`sklearn.ensemble.StackingClassifier` with any splitter, kept out-of-fold
    predictions, reproducible seeds, and an export to one Keras graph (:func:`stackfuse.export`).

    Parameters
    ----------
    estimators : list of (str, estimator)
        The bases: :class:`KerasClassifier` and any scikit-learn estimator, or ``"drop"``.
    final_estimator : classifier, default=None
        The meta-learner, trained in float64. By default :class:`PoolClassifier` where all bases
        give probabilities and nothing is passed through, else a logistic regression, one per label
        of a multilabel target.
        A path to a ``.keras`` or ``.h5`` file is a network that is used as it is.
    cv : int, splitter, iterable, "prefit", "outer" or OutOfFold, default=None
        By default five stratified folds. The test sets need not cover all rows: the meta-learner
        trains on those that they do cover. ``"prefit"`` takes fitted bases as they are. A stack
        inside a stack may have ``"outer"``: the folds of the stack around it, as far as they lie in
        its rows; each level multiplies the fits, with 4 folds to 5, 21 and 73 a base. Kept
        out-of-fold predictions (:class:`OutOfFold`) take the place of all fits but the last ones.
    stack_method : {"auto", "predict_proba", "decision_function", "predict", "features"} or dict, \
default="auto"
        What the bases contribute; with "auto" the first of these that a base has. "features" are
        what the last layer of a network is given (see :meth:`KerasClassifier.features`); those of
        the fold models are turned into the frame of the refitted model, on their training rows. A
        dict has one of these by the names of bases; the others have "auto".
    n_jobs : int, default=None
        Folds that are fitted at a time, by joblib; None stands for what ``joblib.parallel_config``
        says. Networks, which use all cores as they are, go into processes only where their folds
        take so long that it pays; to a backend such as "dask" they go as all bases do.
    passthrough : bool or list, default=False
        Whether the meta-learner also sees X, or which of its columns, by name or number.
    verbose : int, default=0
        With 1, fit shows progress bars: bases, folds, epochs; and says how each base was fitted.
    refit : bool, default=True
        Whether the bases are refitted on all rows to predict; if not, the fold models are kept
        and their predictions averaged.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How the fold replicas of a network are trained, bare or inside of a pipeline, a search or
        another estimator. "sequential": one after another by ``model.fit``. "fused": side by side
        in compiled graphs, one for every processor; this gives the same up to rounding, or raises
        with the reason why it cannot. "auto": side by side where that is possible and saves time.
        "dask", "ray": all bases on the workers of the current client of ``distributed``, or of the
        running Ray. An engine of your own: see :mod:`stackfuse.engines`.
    memory : str, path or joblib.Memory, default=None
        A directory in which every fit of a base is kept, and found again whenever the same base is
        fitted on the same data, folds and seed: by another meta-learner, in another process, or
        after this one was killed. Only read directories that you trust: models are pickled.
    on_error : {"raise", "drop"}, default="raise"
        Whether a base is an error, or is left out with a warning, if it cannot be fitted, diverges,
        or predicts NaN or probabilities that are none; with "drop" also if it predicts the same
        for every row. With `memory` what failed is tried again at the next fit.
    time_limit : float, default=None
        Seconds for the fits of the bases, in their order: put those that take long last. A base
        that cannot be finished in what is left is skipped, with a warning, and named in
        ``failures_``; the others are what they are without a limit. Networks are stopped before
        their next epoch. Other bases are ended in the middle of a fit only where `n_jobs` has
        processes fit them; else when the fit of a fold is done. The meta-learner is fitted in any
        case.
    recency : float, default=None
        For rows in the order of time: the half-life, in rows, of the weights that they have for the
        meta-learner. The last row weighs 1, one that is `recency` rows older 0.5, multiplied by
        ``sample_weight``. The meta-learner must take weights. The bases are fitted without, and
        :meth:`report` judges the meta-learner without.
    random_state : int or None, default=None
        Seeds every estimator whose own random state is None, with one seed for each estimator
        and fold, whatever the order. By default estimators keep their own.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    estimators_ : list of estimators
        The refitted bases; absent with ``refit=False``.
    fold_estimators_ : list of list of estimators
        Per base one model per fold; only with ``refit=False``.
    final_estimator_ : estimator
        The fitted meta-learner.
    oof_ : OutOfFold
        The out-of-fold predictions, with scores and histories.
    engine_ : dict of str to str
        How each base was fitted, by name: "side by side"; "one by one", with the reason where a
        network could not be trained side by side or gains nothing by it; "2 at a time"; "by
        Dask on 2 workers, 6 fits in 6 jobs"; "from memory".
    fit_seconds_ : dict of str to float
        What the bases took, all fits together, and the meta-learner.
    failures_ : dict of str to str
        Why bases were left out, by name: with ``on_error="drop"``, or with `time_limit`.
    stack_method_ : list of str
        The method used of each base.

    References
    ----------
    Wolpert, D. H. "Stacked generalization." Neural Networks 5.2 (1992): 241-259.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True)
    >>> bases = [("lr", LogisticRegression(max_iter=1000)), ("tree", DecisionTreeClassifier())]
    >>> stack = sf.StackingClassifier(bases, cv=3, random_state=0).fit(X, y)
    >>> stack.oof_.predictions.shape
    (150, 6)
    """

    @staticmethod
    def _default_final():
        return PoolClassifier()

    def _default_for(self, columns):
        if all(column.method == "predict_proba" for column in columns):
            return self._default_final()
        has_features = any(column.method == contributions.FEATURES for column in columns)
        logistic = LogisticRegression(max_iter=5000) if has_features else LogisticRegression()
        return MultiOutputClassifier(logistic) if isinstance(self.classes_, list) else logistic

    @available_if(final_has("predict_proba"))
    @fitting.of_one_fit
    def predict_proba(self, X):
        """Return the meta-learner's probabilities for X.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; for a multilabel target of shape (n_samples, n_labels),
            the probability that a row has the label.
        """
        self._check_is_fitted()
        probabilities: Any = self.final_estimator_.predict_proba(self._table_read(X))
        if isinstance(probabilities, list):  # of having the label, and of not having it
            return prediction_columns.as_labels(probabilities, self.final_estimator_)
        return probabilities

    @available_if(final_has("decision_function"))
    @fitting.of_one_fit
    def decision_function(self, X):
        """Return the meta-learner's decision function for X.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        self._check_is_fitted()
        return self.final_estimator_.decision_function(self._table_read(X))

    def _encode(self, y) -> tuple[np.ndarray, np.ndarray | None]:
        y = targets.check_target(y, classifier=True, owner=self)
        targets.refuse_several_columns(y)
        if targets.task_of(y, classifier=True) == "multilabel":
            self._label_encoder = [LabelEncoder().fit(label) for label in y.T]
            self.classes_ = [encoder.classes_ for encoder in self._label_encoder]
            encoded = [e.transform(label) for e, label in zip(self._label_encoder, y.T)]
            return np.array(encoded).T, None
        self._label_encoder = LabelEncoder().fit(column_or_1d(y, warn=True))
        self.classes_ = self._label_encoder.classes_
        return self._label_encoder.transform(column_or_1d(y)), self.classes_

    def _validate_final_estimator(self):
        check_final(self.final_estimator, "classifier", "LogisticRegression()")
        super()._validate_final_estimator()


class StackingRegressor(PredictsIntervals, Stack, ensemble.StackingRegressor):
    """Regressors, combined by a meta-learner trained on their out-of-fold predictions.

    A drop-in for :class:`sklearn.ensemble.StackingRegressor`; see :class:`StackingClassifier`.

    Parameters
    ----------
    estimators : list of (str, estimator)
        The bases: :class:`KerasRegressor` and any scikit-learn regressor, or ``"drop"``.
    final_estimator : regressor, default=None
        The meta-learner; by default :class:`PoolRegressor`, with `passthrough` ``RidgeCV()``.
    cv, stack_method, n_jobs, passthrough, verbose, refit, engine, memory, on_error, time_limit, \
recency, random_state
        See :class:`StackingClassifier`.

    Attributes
    ----------
    estimators_, fold_estimators_, final_estimator_, fit_seconds_, oof_, stack_method_
        See :class:`StackingClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> import stackfuse as sf
    >>> X, y = load_diabetes(return_X_y=True)
    >>> stack = sf.StackingRegressor([("ridge", Ridge()), ("knn", KNeighborsRegressor())])
    >>> round(stack.fit(X, y).score(X, y), 1)
    0.5
    """

    @staticmethod
    def _default_final():
        return PoolRegressor()

    def _default_for(self, columns):
        more = any(
            column.method in (prediction_columns.PASSED, contributions.FEATURES)
            for column in columns
        )
        y = np.asarray(self.oof_.y)
        width = 1 if y.ndim == 1 else y.shape[1]
        unlike_y = any(len(own) != width for _, own in self._columns_by_base())
        return RidgeCV() if more or unlike_y else self._default_final()

    def _encode(self, y) -> tuple[np.ndarray, np.ndarray | None]:
        y = targets.check_target(y, classifier=False, owner=self)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return y, None

    def _validate_final_estimator(self):
        check_final(self.final_estimator, "regressor", "Ridge()")
        super()._validate_final_estimator()
