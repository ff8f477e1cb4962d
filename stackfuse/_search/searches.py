"""Searches for parameters, as in scikit-learn; the fits of networks are made in advance."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn import model_selection
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv

from stackfuse._core import fitting, messages, sklearn_private
from stackfuse._oof import engines
from stackfuse._search.shared_bases import can_share
from stackfuse._search.stand_in import (
    RecordedFolds,
    StandIn,
    can_plan,
    check_estimator,
    refuse_cluster,
)
from stackfuse._search.tasks import EvaluationTasks

#: The attribute by which a search under way knows what stands in for its estimator.
_STAND_IN = "_stand_in"


class _PlannedSearch:
    """Makes the fits of a search in advance where one of its estimators ends in a network."""

    #: The name of the parameter that holds the values to search.
    _space: str

    def fit(self: Any, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit every candidate on every fold, and the best one on all rows.

        Parameters
        ----------
        X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The target.
        **params : dict
            Arguments for the fits, such as ``sample_weight``, for the splitter, such as ``groups``,
            and for the scorer. Those with one entry per row are cut to the rows of the fold.

        Returns
        -------
        self : estimator
            The search, with its results.

        Raises
        ------
        TypeError
            If `estimator` is no estimator, or the values to search are not in lists by name.
        ValueError
            If a parameter or setting is wrong, or every fit fails.
        """
        check_estimator(self.estimator)
        _check_space(self._space, getattr(self, self._space))
        values = _values_in(getattr(self, self._space))
        fitting.check_settings({"n_jobs": self.n_jobs}, {"n_jobs": fitting.JOBS})
        shares_bases, plans = can_share(self.estimator, self.n_jobs), y is not None
        plans = plans and can_plan(self.estimator, values)
        if not plans:
            refuse_cluster(self.engine, self.estimator)
        engine = engines.engine_named(self.engine, self.n_jobs)
        if y is None or not (shares_bases or plans):
            return super().fit(X, y, **params)  # pyright: ignore[reportAttributeAccessIssue]
        routed = sklearn_private.routing_enabled()
        for_fit = params if routed else {k: v for k, v in params.items() if k != "groups"}
        twin = object.__new__(type(self))
        stand_in = StandIn(self.estimator, engine, for_fit, twin, shares_bases)
        with stand_in.answering() as estimator:
            splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
            instead = {"estimator": estimator, "cv": splitter, "n_jobs": 1, _STAND_IN: stand_in}
            vars(twin).update(vars(self) | instead)
            super(_PlannedSearch, twin).fit(X, y, **params)  # pyright: ignore
        vars(self).update({k: v for k, v in vars(twin).items() if k not in instead})
        vars(twin).clear()  # it and what stands in hold each other, and with them fitted networks
        return self

    def _run_search(self: Any, evaluate_candidates, *, callback_ctx=None) -> None:
        """Let scikit-learn evaluate candidates, whose fits are planned when it draws the folds."""
        stand_in = vars(self).get(_STAND_IN)

        def evaluate(candidate_params, cv=None, more_results=None, callback_ctx=None):
            candidates = list(candidate_params)
            tasks = callback_ctx and EvaluationTasks(callback_ctx)
            plan = partial(stand_in.plan, candidates=candidates, tasks=tasks)
            folds = RecordedFolds(cv or self.cv, plan)
            results = evaluate_candidates(candidates, folds, more_results, tasks)
            seconds = stand_in.seconds.reshape(len(results["params"]), -1)
            results["mean_fit_time"] = seconds.mean(axis=1)
            results["std_fit_time"] = seconds.std(axis=1)
            return results

        each = evaluate_candidates if stand_in is None else evaluate
        super()._run_search(each, callback_ctx=callback_ctx)  # pyright: ignore


def _values_in(space) -> Iterator[Any]:
    """Yield the values in a grid, or in the lists of a distribution."""
    for part in [space] if isinstance(space, Mapping) else space:
        for values in part.values():
            yield from () if hasattr(values, "rvs") else values


def _check_space(name: str, space: Any) -> None:
    """Raise unless the values to search are in lists, by the names of parameters."""
    parts = [space] if isinstance(space, Mapping) else space
    several = isinstance(parts, list | tuple) and len(parts) > 0
    if not several or not all(isinstance(part, Mapping) for part in parts):
        raise TypeError(
            f"{name} must map parameter names to lists of values, as a dict or a list of dicts, "
            f"got {messages.in_short(space)}."
        )
    for part in parts:
        for key, values in part.items():
            if not isinstance(key, str):
                raise TypeError(
                    f"{name} must name parameters by text, got {messages.in_short(key)}."
                )
            listed = isinstance(values, Iterable) and not isinstance(values, str)
            if not listed and not hasattr(values, "rvs"):
                shown = messages.in_short(values)
                raise TypeError(f"{name}[{key!r}] must be a list of values, got {shown}.")


class GridSearchCV(_PlannedSearch, model_selection.GridSearchCV):
    """Try every combination of parameter values, each on every fold.

    This is scikit-learn's search, with the same parameters, attributes and results. If the
    estimator is a network, or a pipeline that ends in one, the networks of all folds are trained
    side by side. If it is a stack, the bases are fitted once per fold for all candidates that
    differ in the meta-learner alone. Everything else runs as in scikit-learn.

    Parameters
    ----------
    estimator : estimator
        The estimator whose parameters are searched. It is cloned.
    param_grid : dict of str to list, or list of these
        The values to try, by the name of the parameter.
    scoring : str, callable, list, tuple or dict, default=None
        The scorers; by default the estimator's own ``score``.
    n_jobs : int, default=None
        The number of fits at a time, as in joblib. Networks are trained in this process until
        further processes would save more time than they need to import TensorFlow.
        With more than one fit at a time, each candidate fits the bases of a stack anew.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate on all rows. With several scores, the name of the one that
        decides.
    cv : int, splitter, iterable of (train, test) or None, default=None
        The folds; by default five.
    verbose : int, default=0
        From 2 on, every fit is printed. The time of a network that is trained side by side is in
        ``cv_results_`` only.
    pre_dispatch : int or str, default="2*n_jobs"
        The number of jobs to prepare for other processes, as in joblib.
    error_score : "raise" or float, default=nan
        The score of a fit that fails.
    return_train_score : bool, default=False
        Whether to score the training rows too.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How networks are fitted. "auto" trains them side by side where that is possible and saves
        time. "sequential" trains one after another, as scikit-learn does. "fused" trains side by
        side, or raises an error. "dask" and "ray" run the fits on a cluster.

    Attributes
    ----------
    cv_results_ : dict of str to ndarray
        One row per candidate. Networks that were trained side by side share their time equally.
    best_estimator_ : estimator
        The best candidate, fitted on all rows; absent with ``refit=False``.
    best_params_ : dict
        The parameters of the best candidate.
    best_score_ : float
        The mean score of the best candidate over the folds.
    best_index_ : int
        The row of the best candidate in ``cv_results_``.
    scorer_ : callable or dict of these
        The scorers.
    n_splits_ : int
        The number of folds.
    refit_time_ : float
        The seconds of the fit on all rows.
    multimetric_ : bool
        Whether there are several scores.

    Notes
    -----
    With an integer as the networks' ``random_state`` the scores are scikit-learn's, up to
    rounding. With None every fit draws its own seed, as it does there.

    Examples
    --------
    >>> import keras, stackfuse as sf
    >>> from sklearn.datasets import load_iris
    >>> def network(meta, units=8):
    ...     inputs = keras.Input((meta["n_features_in_"],))
    ...     hidden = keras.layers.Dense(units, activation="relu")(inputs)
    ...     return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden))
    >>> net = sf.KerasClassifier(network, epochs=2, random_state=0)
    >>> grid = {"model__units": [8, 16], "optimizer__learning_rate": [1e-6, 0.1]}
    >>> search = sf.GridSearchCV(net, grid, cv=3).fit(*load_iris(return_X_y=True))
    >>> search.best_params_["optimizer__learning_rate"]
    0.1
    >>> search.cv_results_["mean_test_score"].shape
    (4,)
    """

    _space = "param_grid"

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: bool | str | Callable = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        error_score: str | float = np.nan,
        return_train_score: bool = False,
        engine: str | engines.Engine = "auto",
    ):
        super().__init__(
            estimator,  # pyright: ignore[reportCallIssue]
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.engine = engine


class RandomizedSearchCV(_PlannedSearch, model_selection.RandomizedSearchCV):
    """Draw some combinations of parameter values, and try each on every fold.

    This is scikit-learn's search, with the same parameters, attributes and results. If the
    estimator is a network, or a pipeline that ends in one, the networks of all folds are trained
    side by side. If it is a stack, the bases are fitted once per fold for all candidates that
    differ in the meta-learner alone. Everything else runs as in scikit-learn.

    Parameters
    ----------
    estimator : estimator
        The estimator whose parameters are searched. It is cloned.
    param_distributions : dict of str to list or distribution, or list of these
        The values to draw from, by the name of the parameter. A distribution has a method ``rvs``,
        as those of ``scipy.stats`` do.
    n_iter : int, default=10
        The number of candidates to draw.
    scoring : str, callable, list, tuple or dict, default=None
        The scorers; by default the estimator's own ``score``.
    n_jobs : int, default=None
        The number of fits at a time, as in joblib. Networks are trained in this process until
        further processes would save more time than they need to import TensorFlow.
        With more than one fit at a time, each candidate fits the bases of a stack anew.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate on all rows. With several scores, the name of the one that
        decides.
    cv : int, splitter, iterable of (train, test) or None, default=None
        The folds; by default five.
    verbose : int, default=0
        From 2 on, every fit is printed.
    pre_dispatch : int or str, default="2*n_jobs"
        The number of jobs to prepare for other processes, as in joblib.
    random_state : int, RandomState or None, default=None
        Seeds the draw of the candidates. The networks have a random state of their own.
    error_score : "raise" or float, default=nan
        The score of a fit that fails.
    return_train_score : bool, default=False
        Whether to score the training rows too.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How networks are fitted. "auto" trains them side by side where that is possible and saves
        time. "sequential" trains one after another, as scikit-learn does. "fused" trains side by
        side, or raises an error. "dask" and "ray" run the fits on a cluster.

    Attributes
    ----------
    cv_results_ : dict of str to ndarray
        One row per candidate. Networks that were trained side by side share their time equally.
    best_estimator_ : estimator
        The best candidate, fitted on all rows; absent with ``refit=False``.
    best_params_ : dict
        The parameters of the best candidate.
    best_score_ : float
        The mean score of the best candidate over the folds.
    best_index_ : int
        The row of the best candidate in ``cv_results_``.
    scorer_ : callable or dict of these
        The scorers.
    n_splits_ : int
        The number of folds.
    refit_time_ : float
        The seconds of the fit on all rows.
    multimetric_ : bool
        Whether there are several scores.

    Examples
    --------
    >>> import keras, stackfuse as sf
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_iris
    >>> layers = [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]
    >>> net = sf.KerasClassifier(keras.Sequential(layers), epochs=2, random_state=0)
    >>> rates = {"optimizer__learning_rate": loguniform(1e-3, 1)}
    >>> search = sf.RandomizedSearchCV(net, rates, n_iter=3, cv=2, random_state=0)
    >>> sorted(search.fit(*load_iris(return_X_y=True)).best_params_)
    ['optimizer__learning_rate']
    """

    _space = "param_distributions"

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: bool | str | Callable = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: Any = None,
        error_score: str | float = np.nan,
        return_train_score: bool = False,
        engine: str | engines.Engine = "auto",
    ):
        super().__init__(
            estimator,  # pyright: ignore[reportCallIssue]
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.engine = engine
