"""Cross-validation as in scikit-learn; the fits of networks are made in advance."""

from functools import partial
from typing import Any

import numpy as np
from sklearn import model_selection
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv
from sklearn.preprocessing import LabelEncoder

from stackfuse._oof import engines
from stackfuse._search.stand_in import RecordedFolds, StandIn, can_plan, check_estimator


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
    pre_dispatch: str = "2*n_jobs",
    return_train_score: bool = False,
    return_estimator: bool = False,
    return_indices: bool = False,
    error_score: str | float = np.nan,
    engine: str | engines.Engine = "auto",
):
    """Score an estimator on every fold.

    This is scikit-learn's function, with the same parameters and results. Where the estimator ends
    in a network, by itself or as the last step of a pipeline, the fits on all folds are trained
    side by side. Everything else runs as in scikit-learn.

    Parameters
    ----------
    estimator : estimator
    X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
    groups : array-like of shape (n_samples,), default=None
        For the splitter.
    scoring : str, callable, list, tuple or dict, default=None
        How predictions are scored; by default the estimator's own ``score``.
    cv : int, splitter, iterable of (train, test) or None, default=None
        None stands for 5 folds.
    n_jobs : int, default=None
        Fits at a time, as in joblib. Networks are trained in this process as long as more of
        them would take longer to import TensorFlow than they save.
    verbose : int, default=0
    params : dict, default=None
        Passed to fit. What has one entry per row is cut to the rows of a fold.
    pre_dispatch : int or str, default="2*n_jobs"
        Jobs that are laid ready for other processes.
    return_train_score, return_estimator, return_indices : bool, default=False
        What is returned besides the times and the scores on the test rows.
    error_score : "raise" or float, default=nan
        The score of a fit that fails.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How networks are fitted. "auto" trains them side by side where that is possible and pays,
        "sequential" one after another as scikit-learn does, "fused" always side by side.

    Returns
    -------
    scores : dict of str to ndarray
        ``test_score``, ``fit_time`` and so on, with an entry for each fold. Fits that were made
        side by side share their time equally.

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
    check_estimator(estimator)
    stand_in = StandIn(estimator, engines.engine_named(engine, n_jobs), params or {})
    if y is None or not can_plan(estimator):
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
    pre_dispatch: str = "2*n_jobs",
    method: str = "predict",
    engine: str | engines.Engine = "auto",
):
    """Predict each row by the fit on the folds that do not hold it.

    This is scikit-learn's function, with the same parameters and results. Where the estimator ends
    in a network, by itself or as the last step of a pipeline, the fits on all folds are trained
    side by side. Everything else runs as in scikit-learn.

    Parameters
    ----------
    estimator : estimator
    X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
    groups : array-like of shape (n_samples,), default=None
        For the splitter.
    cv : int, splitter, iterable of (train, test) or None, default=None
        None stands for 5 folds. Each row has to be in the test rows of one of them.
    n_jobs : int, default=None
        Fits at a time, as in :func:`cross_validate`.
    verbose : int, default=0
    params : dict, default=None
        Passed to fit. What has one entry per row is cut to the rows of a fold.
    pre_dispatch : int or str, default="2*n_jobs"
        Jobs that are laid ready for other processes.
    method : str, default="predict"
        What the estimator predicts with, such as ``"predict_proba"``.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How networks are fitted, as in :func:`cross_validate`.

    Returns
    -------
    predictions : ndarray of shape (n_samples,) or (n_samples, n_columns), or list of these
        In the order of the rows of X.

    See Also
    --------
    out_of_fold : The same for several estimators, with everything that a stack needs.

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
    check_estimator(estimator)
    stand_in = StandIn(estimator, engines.engine_named(engine, n_jobs), params or {})
    if y is None or not can_plan(estimator):
        return predict(estimator, X, y, cv=cv, n_jobs=n_jobs, **settings)
    splitter = check_cv(cv, y, classifier=is_classifier(estimator))
    folds = RecordedFolds(splitter, partial(stand_in.plan, candidates=[{}]), y)
    if method in ("decision_function", "predict_proba", "predict_log_proba"):
        y = _class_numbers(y)  # as scikit-learn does after it has drawn the folds
    with stand_in.answering() as twin:
        return predict(twin, X, y, cv=folds, n_jobs=1, **settings)


def _class_numbers(y) -> np.ndarray:
    """Return the numbers of classes in y, column by column."""
    y = np.asarray(y)
    if y.ndim == 1:
        return LabelEncoder().fit_transform(y)
    return np.column_stack([LabelEncoder().fit_transform(column) for column in y.T])
