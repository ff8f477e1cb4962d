"""A list of bases for a table that is good without tuning."""

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stackfuse._core import fitting, messages, multi_input, targets
from stackfuse._models import preparing, training
from stackfuse._models.budget import within
from stackfuse._models.columns import Columns
from stackfuse._models.mlp import mlp
from stackfuse._models.periodic import mlp_plr
from stackfuse._models.tabm import tabm

#: The kinds of bases that are made by default, and of tables of very many rows.
DEFAULT_KINDS = ("linear", "forest", "boosting", "networks", "boosters")
_KINDS_OF_MANY_ROWS, _MANY_ROWS = ("linear", "boosting"), 100_000

#: From which a linear regression chooses its penalty: one fits no table of 500 columns as well as
#: one of five.
_ALPHAS = tuple(float(alpha) for alpha in np.logspace(-2, 5, 15))

#: Up to how many whole numbers, each of so many rows on average, may be meant as classes.
_MANY_CLASSES, _ROWS_OF_A_CLASS = 200, 10

#: The most rows of which nearest neighbours are sought.
_MAX_NEIGHBOURS = 5000


_SETTINGS = {
    "kinds": fitting.Wanted(
        lambda kinds: kinds is None or (isinstance(kinds, list | tuple | set) and len(kinds) > 0),
        "None or a list such as ['linear', 'forest']",
    ),
    "task": fitting.Wanted(
        lambda task: task in (None, "classification", "regression"),
        "None, 'classification' or 'regression'",
    ),
    "texts": fitting.FLAG,
    "time_budget": fitting.Wanted(
        lambda seconds: seconds is None or fitting.is_positive(seconds),
        "a positive number of seconds",
    ),
}


def table_bases(
    X: Any,
    y: Any,
    *,
    kinds: Sequence[str] | None = None,
    time_budget: float | None = None,
    texts: bool = True,
    task: str | None = None,
) -> list[tuple[str, BaseEstimator]]:
    """Return base estimators for a table, each behind the preprocessing that it needs.

    Numbers are imputed and scaled where that helps, and a further column tells which were missing.
    Categories with up to 32 levels become one column per level; those with more levels become the
    mean target of their level. Dates become numbers by :class:`DateParts`, and texts by
    :class:`TextVectorizer`. All of it is fitted within the folds, and is exported with the stack.

    Parameters
    ----------
    X : data frame of pandas, or ndarray, of shape (n_samples, n_features)
        Numbers, booleans, strings, texts and dates; some may be missing. A column of strings with
        more than 32 different values, of four words or more on average, holds texts.
    y : array-like of shape (n_samples,)
        Classes for a ``StackingClassifier``, or numbers for a ``StackingRegressor``. Strings,
        booleans, categories of pandas and up to 20 different whole numbers are taken as classes,
        all else as numbers; `task` says otherwise.
    kinds : sequence of str, default=None
        The kinds of bases: "linear", "forest", "boosting" (scikit-learn's), "networks", "boosters"
        (XGBoost, LightGBM and CatBoost, as far as they are installed) and "neighbors". By default,
        all but "neighbors", which holds its training rows, also in an exported file, and is left
        out with more than 5,000 rows. With more than 100,000 rows and no `time_budget`, the default
        is "linear" and "boosting": the others take hours, and forests gigabytes.
    time_budget : float, default=None
        The seconds that this call and the fits of a stack with five folds may take in all: six of
        each base, of networks side by side. The bases that take longest are left out, with a
        warning that names them. Their time is measured on up to 2,000 rows, of networks last and by
        three epochs, until a third of the budget is over.
    texts : bool, default=True
        Whether bases read columns of text. Stacks that do can be exported to .keras and SavedModel.
        Use False for other formats, which have no text.
    task : {"classification", "regression"}, default=None
        Whether y holds classes or numbers. By default y tells. You are warned where more than 20
        whole numbers look like classes.

    Returns
    -------
    bases : list of (str, estimator)
        Names and unfitted pipelines, for the `estimators` of a stack.

    Raises
    ------
    ValueError
        If a column of X holds something else, or no column can be used.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True)
    >>> [name for name, _ in sf.models.table_bases(X, y, kinds=["linear", "forest"])]
    ['linear', 'forest']
    """
    n_rows = targets.n_rows(X, "X")
    given = {"texts": texts, "time_budget": time_budget, "kinds": kinds, "task": task}
    fitting.check_settings(given, _SETTINGS)
    if kinds is None:
        many = n_rows > _MANY_ROWS and time_budget is None
        kinds = _KINDS_OF_MANY_ROWS if many else DEFAULT_KINDS
        if many:
            warnings.warn(
                f"With {n_rows:,} rows, table_bases makes only the kinds {list(kinds)} by "
                "default, because others take long. Name the others in kinds=, or pass "
                "time_budget=.",
                stacklevel=2,
            )
    unknown = [kind for kind in kinds if kind not in _KINDS]
    if unknown:
        raise ValueError(
            f"kinds names {unknown[0]!r}, which is not one of {messages.listed(list(_KINDS))}."
        )
    targets.n_rows(y, "y")
    X = multi_input.rows_given(X)
    targets.check_same_length(X=X, y=y)
    _check_target(y, task)
    columns = Columns.of(X, texts)
    columns.warn_of_unused()
    classifier = holds_classes(y) if task is None else task == "classification"
    if not classifier and task is None:
        _warn_of_many_classes(y)
    bases = []
    for kind in kinds:
        for name, prepare, estimator in _KINDS[kind](classifier, n_rows):
            base = make_pipeline(prepare(columns, n_rows), estimator)
            if prepare is preparing.for_networks and not classifier:
                base = TransformedTargetRegressor(base, transformer=StandardScaler())
            bases.append((name, base))
    return bases if time_budget is None else within(time_budget, bases, X, y, classifier)


def _check_target(y, task: str | None) -> None:
    """Raise unless a target is one column, of more than one value, and numbers for regression."""
    shape = np.shape(y)
    if len(shape) > 1 and shape[1:] != (1,):
        raise ValueError(
            f"table_bases reads a y with one axis, got shape {shape}: call it for each column."
        )
    values = pd.Series(np.ravel(np.asarray(y, object))).dropna()
    if len(values) and values.nunique() < 2:
        raise ValueError(
            f"y holds one value only, {messages.in_short(values.iloc[0])}: nothing can be learnt."
        )
    if task == "regression":
        try:
            values.astype(float)
        except (TypeError, ValueError):
            shown = messages.in_short(values.iloc[0])
            raise ValueError(f"task='regression' needs numbers, and y holds {shown}.") from None


def holds_classes(y) -> bool:
    """Whether a target names classes: strings, categories, truth values or few whole numbers."""
    is_category = isinstance(getattr(y, "dtype", None), pd.CategoricalDtype)
    y = np.asarray(y, object) if is_category else np.asarray(y)
    if y.dtype.kind not in "iuf":
        if pd.isna(y).all():
            raise ValueError(
                "y is empty or holds only missing values. Pass classes, or numbers to predict."
            )
        return True
    values = np.unique(y[np.isfinite(y)])
    if not values.size:
        raise ValueError(
            "y holds no number, only missing values. Pass classes, or numbers to predict."
        )
    return bool(np.all(values == np.floor(values))) and len(values) <= 20


def _warn_of_many_classes(y) -> None:
    """Warn of whole numbers without gaps that many rows share: classes have such numbers."""
    values = np.unique(np.asarray(y, float).ravel())
    values = values[np.isfinite(values)]
    has_no_gaps = np.array_equal(values, np.floor(values[0]) + np.arange(len(values)))
    if has_no_gaps and len(values) <= _MANY_CLASSES and len(y) >= _ROWS_OF_A_CLASS * len(values):
        warnings.warn(
            f"y holds the whole numbers from {values[0]:g} to {values[-1]:g}, which are taken as "
            "numbers to predict. Pass task='classification' if they name classes, or "
            "task='regression'.",
            stacklevel=3,
        )


_Bases = list[tuple[str, Callable, Any]]


def _linear(classifier: bool, n_rows: int) -> _Bases:
    model = LogisticRegression(max_iter=2000) if classifier else RidgeCV(_ALPHAS)
    return [("linear", preparing.for_sums, model)]


def _neighbors(classifier: bool, n_rows: int) -> _Bases:
    if n_rows > _MAX_NEIGHBOURS:
        return []
    kind = KNeighborsClassifier if classifier else KNeighborsRegressor
    return [("neighbors", preparing.for_sums, kind(20, weights="distance"))]


def _forest(classifier: bool, n_rows: int) -> _Bases:
    kind = RandomForestClassifier if classifier else RandomForestRegressor
    features = "sqrt" if classifier else 0.5
    forest = kind(200, min_samples_leaf=3, max_features=features)
    return [("forest", preparing.for_trees, forest)]


def _boosting(classifier: bool, n_rows: int) -> _Bases:
    kind = HistGradientBoostingClassifier if classifier else HistGradientBoostingRegressor
    model = kind(learning_rate=0.05, max_iter=500, early_stopping=True, n_iter_no_change=20)
    return [("boosting", preparing.for_trees, model)]


def _networks(classifier: bool, n_rows: int) -> _Bases:
    make = training.classifier if classifier else training.regressor
    builders = {"mlp": mlp, "mlp_plr": mlp_plr, "tabm": tabm}
    return [(name, preparing.for_networks, make(build)) for name, build in builders.items()]


def _boosters(classifier: bool, n_rows: int) -> _Bases:
    """Return the installed boosters; each uses one thread, as several bases are fitted at once."""
    installed = {name: importlib.util.find_spec(name) for name in _BOOSTERS}
    return [
        (name, preparing.for_trees, _BOOSTERS[name](classifier))
        for name, found in installed.items()
        if found is not None
    ]


def _xgboost(classifier: bool) -> Any:
    import xgboost

    kind = xgboost.XGBClassifier if classifier else xgboost.XGBRegressor
    return kind(n_estimators=300, learning_rate=0.05, subsample=0.8, n_jobs=1)


def _lightgbm(classifier: bool) -> Any:
    import lightgbm

    kind = lightgbm.LGBMClassifier if classifier else lightgbm.LGBMRegressor
    return kind(n_estimators=300, learning_rate=0.05, verbose=-1, n_jobs=1)


def _catboost(classifier: bool) -> Any:
    import catboost

    kind = catboost.CatBoostClassifier if classifier else catboost.CatBoostRegressor
    return kind(
        n_estimators=500, learning_rate=0.05, verbose=0, allow_writing_files=False, thread_count=1
    )


_BOOSTERS = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}

_KINDS = {
    "linear": _linear,
    "neighbors": _neighbors,
    "forest": _forest,
    "boosting": _boosting,
    "networks": _networks,
    "boosters": _boosters,
}
