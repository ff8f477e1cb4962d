"""StackingClassifier and StackingRegressor: scikit-learn's, over any folds, with a memory."""

from typing import Any

import numpy as np
from sklearn import ensemble
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.preprocessing import LabelEncoder
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
        The folds; by default five, stratified. The test sets need not cover all rows: the
        meta-learner trains on the rows that they cover. ``"prefit"`` uses fitted bases as they are.
        A stack inside a stack may have ``"outer"``: the folds of the stack around it, as far as
        they lie in its rows. With 4 folds a base is fitted 5 times in a stack, 11 times in one
        inside, 15 times a level deeper: equal fits are made once. Where they cannot be shared, it
        is 21 and 73 times. Earlier out-of-fold predictions (:class:`OutOfFold`) replace all fits
        but the last ones.
    stack_method : {"auto", "predict_proba", "decision_function", "predict", "features"} or dict, \
default="auto"
        The contribution of the bases to the meta-learner's table, or one contribution per name of a
        base; bases that a dict does not name have "auto". "auto" takes the first of the methods
        above that a base has. "features" are the inputs of a network's last layer (see
        :meth:`KerasClassifier.features`). The features of the fold models are turned into the frame
        of the refitted model, on their training rows.
    n_jobs : int, default=None
        The number of folds to fit at a time, by joblib. None takes it from
        ``joblib.parallel_config``. Networks already use all cores: they go into processes only if
        that saves time. To a backend such as "dask" they go as all bases do.
    passthrough : bool or list, default=False
        Whether the meta-learner also sees X; a list has the names or numbers of the columns to see.
    verbose : int, default=0
        With 1, ``fit`` shows progress bars for bases, folds and epochs, and says how each base was
        fitted.
    refit : bool, default=True
        Whether to refit the bases on all rows, to predict with. If not, the fold models are kept,
        and their predictions averaged.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How the fold replicas of a network are trained, also inside a pipeline, a search or another
        estimator. "sequential" trains one after another by ``model.fit``. "fused" trains them side
        by side in compiled graphs, one per processor, with the same result up to rounding, or
        raises an error with the reason. "auto" trains side by side where that is possible and saves
        time. "dask" and "ray" fit all bases on the workers of the current client of
        ``distributed``, or of the running Ray. For an engine of your own see
        :mod:`stackfuse.engines`.
    memory : str, path or joblib.Memory, default=None
        A folder that keeps every fit of a base. A fit is found again whenever the same base is
        fitted on the same data, folds and seed: with another meta-learner, in another process, or
        after this one was killed. Models are pickled: use a folder that only you can write to.
    on_error : {"raise", "drop"}, default="raise"
        How to treat a base that cannot be fitted, diverges, or predicts NaN or invalid
        probabilities: raise an error, or go on without that base and warn. "drop" also drops a base
        that predicts the same for every row. With `memory`, failed fits are tried again.
    time_limit : float, default=None
        Seconds for the fits of the bases, in their order: put slow bases last. A base that cannot
        be finished in the remaining time is skipped, with a warning, and named in ``failures_``.
        The remaining bases are the same as without a limit. Networks are stopped before their next
        epoch. Other bases are stopped within a fit only if `n_jobs` uses processes; else after the
        fit of a fold. On Dask, a fit that goes on keeps its worker busy until it ends;
        ``client.restart()`` ends it at once. The meta-learner is always fitted.
    recency : float, default=None
        For rows in the order of time: the half-life, in rows, of their weights for the
        meta-learner. The last row has the weight 1, a row `recency` rows earlier 0.5; both are
        multiplied by ``sample_weight``. The meta-learner must take weights. The bases are fitted
        without these weights. :meth:`report` trains the meta-learner with them, and scores all rows
        alike.
    random_state : int or None, default=None
        Seeds the random states of bases and meta-learner that are None, with one seed per estimator
        and fold, whatever the order. By default, they stay None.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The labels, sorted; for a multilabel target one array per label.
    estimators_ : list of estimators
        The refitted bases; absent with ``refit=False``.
    fold_estimators_ : list of list of estimators
        For each base one model per fold; only with ``refit=False``.
    final_estimator_ : estimator
        The fitted meta-learner.
    oof_ : OutOfFold
        The out-of-fold predictions, with scores and histories.
    engine_ : dict of str to str
        How each base was fitted, by name: "side by side"; "one by one", with the reason if a
        network could not be trained side by side or gains nothing by it; "2 at a time"; "by
        Dask on 2 workers, 6 fits in 6 jobs"; "from memory"; "2 of 5 fits from memory; ...". For
        a stack it also says how many fits there were inside, and how many more were shared.
    fit_seconds_ : dict of str to float
        The seconds of all fits of bases, ``"bases"``, and of the ``"meta-learner"``. Those of each
        base are in ``report().costs``.
    failures_ : dict of str to str
        Why bases were left out, by name: with ``on_error="drop"``, or with `time_limit`.
    stack_method_ : list of str
        The method of each base.

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

    classes_: Any

    @staticmethod
    def _default_final():
        return PoolClassifier()

    def _default_for(self, columns):
        if all(column.method == "predict_proba" for column in columns):
            return self._default_final()
        has_features = any(column.method == contributions.FEATURES for column in columns)
        logistic = LogisticRegression(max_iter=5000) if has_features else LogisticRegression()
        return MultiOutputClassifier(logistic) if isinstance(self.classes_, list) else logistic

    @fitting.available_if(final_has("predict_proba"))
    @fitting.of_one_fit
    def predict_proba(self, X: Any) -> Any:
        """Return the meta-learner's probabilities for X.

        Parameters
        ----------
        X : array-like, data frame or MultiInput of shape (n_samples, ...)
            The rows, with the columns of those of ``fit``.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            The probabilities, in the order of ``classes_``. A multilabel target has the shape
            (n_samples, n_labels): the probability that a row has each label.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        self._check_is_fitted()
        probabilities: Any = self.final_estimator_.predict_proba(self._table_read(X))
        if isinstance(probabilities, list):  # of having the label, and of not having it
            return prediction_columns.as_labels(probabilities, self.final_estimator_)
        return probabilities

    @fitting.available_if(final_has("decision_function"))
    @fitting.of_one_fit
    def decision_function(self, X: Any) -> Any:
        """Return the meta-learner's decision function for X.

        Parameters
        ----------
        X : array-like, data frame or MultiInput of shape (n_samples, ...)
            The rows, with the columns of those of ``fit``.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            The decision function of the meta-learner.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        self._check_is_fitted()
        return self.final_estimator_.decision_function(self._table_read(X))

    def _encode(self, y) -> tuple[np.ndarray, np.ndarray | None]:
        y = targets.check_target(y, classifier=True, owner=self)
        if targets.refuse_several_columns(y) == "multilabel":
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

    A drop-in for :class:`sklearn.ensemble.StackingRegressor` with any splitter, kept out-of-fold
    predictions, reproducible seeds, and an export to one Keras graph (:func:`stackfuse.export`).

    Parameters
    ----------
    estimators : list of (str, estimator)
        The bases: :class:`KerasRegressor` and any scikit-learn regressor, or ``"drop"``.
    final_estimator : regressor, default=None
        The meta-learner; by default :class:`PoolRegressor`, with `passthrough` ``RidgeCV()``.
    cv : int, splitter, iterable, "prefit", "outer" or OutOfFold, default=None
        The folds; by default five. The test sets need not cover all rows: the meta-learner trains
        on the rows that they cover. ``"prefit"`` uses fitted bases as they are. A stack inside a
        stack may have ``"outer"``: the folds of the stack around it, as far as they lie in its
        rows. With 4 folds a base is fitted 5 times in a stack, 11 times in one inside, 15 times a
        level deeper: equal fits are made once. Where they cannot be shared, it is 21 and 73 times.
        Earlier out-of-fold predictions (:class:`OutOfFold`) replace all fits but the last ones.
    stack_method : {"auto", "predict_proba", "decision_function", "predict", "features"} or dict, \
default="auto"
        The contribution of the bases to the meta-learner's table, or one contribution per name of a
        base; bases that a dict does not name have "auto". "auto" is ``predict`` for regressors.
        "features" are the inputs of a network's last layer (see :meth:`KerasRegressor.features`).
        The features of the fold models are turned into the frame of the refitted model, on their
        training rows.
    n_jobs : int, default=None
        The number of folds to fit at a time, by joblib. None takes it from
        ``joblib.parallel_config``. Networks already use all cores: they go into processes only if
        that saves time. To a backend such as "dask" they go as all bases do.
    passthrough : bool or list, default=False
        Whether the meta-learner also sees X; a list has the names or numbers of the columns to see.
    verbose : int, default=0
        With 1, ``fit`` shows progress bars for bases, folds and epochs, and says how each base was
        fitted.
    refit : bool, default=True
        Whether to refit the bases on all rows, to predict with. If not, the fold models are kept,
        and their predictions averaged.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How the fold replicas of a network are trained, also inside a pipeline, a search or another
        estimator. "sequential" trains one after another by ``model.fit``. "fused" trains them side
        by side in compiled graphs, one per processor, with the same result up to rounding, or
        raises an error with the reason. "auto" trains side by side where that is possible and saves
        time. "dask" and "ray" fit all bases on the workers of the current client of
        ``distributed``, or of the running Ray. For an engine of your own see
        :mod:`stackfuse.engines`.
    memory : str, path or joblib.Memory, default=None
        A folder that keeps every fit of a base. A fit is found again whenever the same base is
        fitted on the same data, folds and seed: with another meta-learner, in another process, or
        after this one was killed. Models are pickled: use a folder that only you can write to.
    on_error : {"raise", "drop"}, default="raise"
        How to treat a base that cannot be fitted, diverges, or predicts NaN or invalid
        probabilities: raise an error, or go on without that base and warn. "drop" also drops a base
        that predicts the same for every row. With `memory`, failed fits are tried again.
    time_limit : float, default=None
        Seconds for the fits of the bases, in their order: put slow bases last. A base that cannot
        be finished in the remaining time is skipped, with a warning, and named in ``failures_``.
        The remaining bases are the same as without a limit. Networks are stopped before their next
        epoch. Other bases are stopped within a fit only if `n_jobs` uses processes; else after the
        fit of a fold. On Dask, a fit that goes on keeps its worker busy until it ends;
        ``client.restart()`` ends it at once. The meta-learner is always fitted.
    recency : float, default=None
        For rows in the order of time: the half-life, in rows, of their weights for the
        meta-learner. The last row has the weight 1, a row `recency` rows earlier 0.5; both are
        multiplied by ``sample_weight``. The meta-learner must take weights. The bases are fitted
        without these weights. :meth:`report` trains the meta-learner with them, and scores all rows
        alike.
    random_state : int or None, default=None
        Seeds the random states of bases and meta-learner that are None, with one seed per estimator
        and fold, whatever the order. By default, they stay None.

    Attributes
    ----------
    estimators_ : list of estimators
        The refitted bases; absent with ``refit=False``.
    fold_estimators_ : list of list of estimators
        For each base one model per fold; only with ``refit=False``.
    final_estimator_ : estimator
        The fitted meta-learner.
    oof_ : OutOfFold
        The out-of-fold predictions, with scores and histories.
    engine_ : dict of str to str
        How each base was fitted, by name: "side by side"; "one by one", with the reason if a
        network could not be trained side by side or gains nothing by it; "2 at a time"; "by
        Dask on 2 workers, 6 fits in 6 jobs"; "from memory"; "2 of 5 fits from memory; ...". For
        a stack it also says how many fits there were inside, and how many more were shared.
    fit_seconds_ : dict of str to float
        The seconds of all fits of bases, ``"bases"``, and of the ``"meta-learner"``. Those of each
        base are in ``report().costs``.
    failures_ : dict of str to str
        Why bases were left out, by name: with ``on_error="drop"``, or with `time_limit`.
    stack_method_ : list of str
        The method of each base.

    References
    ----------
    Breiman, L. "Stacked regressions." Machine Learning 24 (1996): 49-64.

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
