"""Cross-validation as in scikit-learn; the fits of networks are made in advance."""

from functools import partial
from typing import Any

import numpy as np
from sklearn import model_selection
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv
from sklearn.preprocessing import LabelEncoder

from stackfuse._oof import engines
from stackfuse._search.stand_in import (
    RecordedFolds,
    StandIn,
    can_plan,
    check_estimator,
    refuse_cluster,
)


def cross_validate(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    scoring: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: Any = None,
    pre_dispatch: int | str = "2*n_jobs",
    return_train_score: bool = False,
    return_estimator: bool = False,
    return_indices: bool = False,
    error_score: str | float = np.nan,
    engine: str | engines.Engine = "auto",
) -> dict[str, Any]:
    """Score an estimator on every fold.

    This is scikit-learn's function, with the same parameters and results. If the estimator is a
    network, or a pipeline that ends in one, the networks of all folds are trained side by side.
    Everything else runs as in scikit-learn.

    Parameters
    ----------
    estimator : estimator
        The estimator to score. It is cloned.
    X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
        The rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        The target.
    groups : array-like of shape (n_samples,), default=None
        The groups of the rows, for the splitter.
    scoring : str, callable, list, tuple or dict, default=None
        The scorers; by default the estimator's own ``score``.
    cv : int, splitter, iterable of (train, test) or None, default=None
        The folds; by default five.
    n_jobs : int, default=None
        The number of fits at a time, as in joblib. Networks are trained in this process until
        further processes would save more time than they need to import TensorFlow.
    verbose : int, default=0
        How much joblib prints: 0 nothing, more with greater numbers.
    params : dict, default=None
        Arguments for ``fit``. Those with one entry per row are cut to the rows of the fold.
    pre_dispatch : int or str, default="2*n_jobs"
        The number of jobs to prepare for other processes, as in joblib.
    return_train_score : bool, default=False
        Whether to return the scores on the training rows too.
    return_estimator : bool, default=False
        Whether to return the fitted estimators too.
    return_indices : bool, default=False
        Whether to return the rows of the folds too.
    error_score : "raise" or float, default=nan
        The score of a fit that fails.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How networks are fitted. "auto" trains them side by side where that is possible and saves
        time. "sequential" trains one after another, as scikit-learn does. "fused" trains side by
        side, or raises an error. "dask" and "ray" run the fits on a cluster.

    Returns
    -------
    scores : dict of str to ndarray
        ``test_score``, ``fit_time`` and so on, with one entry per fold. Networks that were trained
        side by side share their time equally.

    Raises
    ------
    TypeError
        If `estimator` is no estimator.
    ValueError
        If a setting is wrong, or every fit fails.

    Examples
    --------
    >>> import keras, stackfuse as sf
    >>> from sklearn.datasets import load_iris
    >>> layers = [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]
    >>> net = sf.KerasClassifier(keras.Sequential(layers), epochs=2, random_state=0)
    >>> scores = sf.cross_validate(net, *load_iris(return_X_y=True), cv=3)
    >>> {name: values.shape for name, values in scores.items()}
    {'fit_time': (3,), 'score_time': (3,), 'test_score': (3,)}
    """
    settings: dict[str, Any] = {
        "groups": groups,
        "scoring": scoring,
        "verbose": verbose,
        "params": params,
        "pre_dispatch": pre_dispatch,
        "return_train_score": return_train_score,
        "return_estimator": return_estimator,
        "return_indices": return_indices,
        "error_score": error_score,
    }
    stand_in = _stand_in(estimator, y, engine, n_jobs, params)
    if stand_in is None:
        return model_selection.cross_validate(estimator, X, y, cv=cv, n_jobs=n_jobs, **settings)
    splitter = check_cv(cv, y, classifier=is_classifier(estimator))
    folds = RecordedFolds(splitter, partial(stand_in.plan, candidates=[{}]))
    with stand_in.answering() as twin:
        scores = model_selection.cross_validate(twin, X, y, cv=folds, n_jobs=1, **settings)
    return scores | {"fit_time": stand_in.seconds}


def cross_val_predict(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: Any = None,
    pre_dispatch: int | str = "2*n_jobs",
    method: str = "predict",
    engine: str | engines.Engine = "auto",
) -> Any:
    """Predict each row by an estimator that was fitted on the other folds.

    This is scikit-learn's function, with the same parameters and results. If the estimator is a
    network, or a pipeline that ends in one, the networks of all folds are trained side by side.
    Everything else runs as in scikit-learn.

    Parameters
    ----------
    estimator : estimator
        The estimator to fit. It is cloned.
    X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
        The rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        The target.
    groups : array-like of shape (n_samples,), default=None
        The groups of the rows, for the splitter.
    cv : int, splitter, iterable of (train, test) or None, default=None
        The folds; by default five. Each row must be in the test rows of exactly one fold.
    n_jobs : int, default=None
        The number of fits at a time, as in joblib. Networks are trained in this process until
        further processes would save more time than they need to import TensorFlow.
    verbose : int, default=0
        How much joblib prints: 0 nothing, more with greater numbers.
    params : dict, default=None
        Arguments for ``fit``. Those with one entry per row are cut to the rows of the fold.
    pre_dispatch : int or str, default="2*n_jobs"
        The number of jobs to prepare for other processes, as in joblib.
    method : str, default="predict"
        The name of the method that predicts, such as ``"predict_proba"``.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How networks are fitted. "auto" trains them side by side where that is possible and saves
        time. "sequential" trains one after another, as scikit-learn does. "fused" trains side by
        side, or raises an error. "dask" and "ray" run the fits on a cluster.

    Returns
    -------
    predictions : ndarray of shape (n_samples,) or (n_samples, n_columns), or list of these
        The predictions, in the order of the rows of X.

    Raises
    ------
    TypeError
        If `estimator` is no estimator.
    ValueError
        If a setting is wrong, or the folds do not predict each row once.

    See Also
    --------
    out_of_fold : The same for several estimators, with all that a stack needs.

    Examples
    --------
    >>> import keras, stackfuse as sf
    >>> from sklearn.datasets import load_iris
    >>> layers = [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]
    >>> net = sf.KerasClassifier(keras.Sequential(layers), epochs=2, random_state=0)
    >>> X, y = load_iris(return_X_y=True)
    >>> sf.cross_val_predict(net, X, y, cv=3, method="predict_proba").shape
    (150, 3)
    """
    settings: dict[str, Any] = {
        "groups": groups,
        "verbose": verbose,
        "params": params,
        "pre_dispatch": pre_dispatch,
        "method": method,
    }
    predict = model_selection.cross_val_predict
    stand_in = _stand_in(estimator, y, engine, n_jobs, params)
    if stand_in is None:
        return predict(estimator, X, y, cv=cv, n_jobs=n_jobs, **settings)
    splitter = check_cv(cv, y, classifier=is_classifier(estimator))
    folds = RecordedFolds(splitter, partial(stand_in.plan, candidates=[{}]), y)
    if method in ("decision_function", "predict_proba", "predict_log_proba"):
        y = _class_numbers(y)  # as scikit-learn does after it has drawn the folds
    with stand_in.answering() as twin:
        return predict(twin, X, y, cv=folds, n_jobs=1, **settings)


def _stand_in(estimator, y, engine, n_jobs: int | None, params) -> StandIn | None:
    """Return what stands in for an estimator whose fits are planned; None for any other."""
    check_estimator(estimator)
    plans = y is not None and can_plan(estimator)
    if not plans:
        refuse_cluster(engine, estimator)
    chosen = engines.engine_named(engine, n_jobs)
    return StandIn(estimator, chosen, params or {}) if plans else None


def _class_numbers(y) -> np.ndarray:
    """Return the numbers of classes in y, column by column."""
    y = np.asarray(y)
    if y.ndim == 1:
        return LabelEncoder().fit_transform(y)
    return np.column_stack([LabelEncoder().fit_transform(column) for column in y.T])
