"""Columns that are passed through and that the meta-learner cannot take are told before any fit."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import stackfuse as sf

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(60, 3)), columns=list("abc")).assign(
    city=np.where(RNG.normal(size=60) > 0, "Ulm", "Bonn"),
    late=np.where(np.arange(60) < 5, np.nan, 1.5),
    day=pd.date_range("2020-01-01", periods=60),
)
Y = FRAME["a"].to_numpy() + (FRAME["city"] == "Ulm")


class Never(RegressorMixin, BaseEstimator):
    """A base that must not be fitted; it is asked for its clone only."""

    def fit(self, X, y):
        raise AssertionError("a base was fitted")

    def predict(self, X):
        return X


def on_a():
    return make_pipeline(ColumnTransformer([("a", "passthrough", ["a"])]), Ridge())


def stack(base, final=None, **settings):
    return sf.StackingRegressor([("base", base)], final, cv=3, **settings)


SEARCH = GridSearchCV(Ridge(), {"alpha": [1.0]})


@pytest.mark.parametrize(
    ("final", "passthrough", "message"),
    [
        (None, ["a", "city"], "column 'city' holds '(Ulm|Bonn)', and the default meta-learner tak"),
        (Ridge(), True, "column 'city' holds .* the meta-learner Ridge takes numbers only. Leave"),
        (SEARCH, [3], "column 'city' holds"),
        (make_pipeline(Ridge()), ["city"], "column 'city' holds"),
        (HistGradientBoostingRegressor(), ["city"], ".*HistGradientBoostingRegressor takes num"),
        (Ridge(), ["day"], "column 'day' holds .*2020-01-01"),
        (None, ["late"], "column 'late' lacks 5 of 60 values, which the default meta-learner does"),
        (Ridge(), ["b", "late"], r"column 'late' lacks 5 .*make_pipeline\(SimpleImputer\(\), ..."),
    ],
)
def test_a_column_that_is_not_taken_is_named_before_a_base_is_fitted(final, passthrough, message):
    for frame in (FRAME, FRAME.astype({"city": "category"})):
        with pytest.raises(ValueError, match=f"passthrough: {message}"):
            stack(Never(), final, passthrough=passthrough).fit(frame, Y)


def test_columns_of_arrays_are_named_by_number():
    table = np.array([[1.0, "x"]] * 60, dtype=object)
    with pytest.raises(ValueError, match="passthrough: column 1 holds 'x'"):
        stack(Never(), Ridge(), passthrough=True).fit(table, Y)


def test_what_is_taken_is_passed():
    boosting = HistGradientBoostingRegressor(min_samples_leaf=2)
    fitted = stack(on_a(), boosting, passthrough=["late"]).fit(FRAME, Y)
    table = np.column_stack([fitted.oof_.predictions, FRAME["late"]])
    assert_allclose(fitted.final_estimator_.predict(table), boosting.fit(table, Y).predict(table))
    imputed = make_pipeline(SimpleImputer(), Ridge())
    assert stack(on_a(), imputed, passthrough=["late"]).fit(FRAME, Y).score(FRAME, Y) > 0
    encoder = ColumnTransformer([("city", OneHotEncoder(), [1])], remainder="passthrough")
    encoded = stack(on_a(), make_pipeline(encoder, Ridge(0.01)), passthrough=["city"])
    assert encoded.fit(FRAME, Y).score(FRAME, Y) > 0.95
    numbers = FRAME.assign(a=FRAME["a"].astype(str), b=FRAME["b"] > 0)  # Ridge reads such text
    assert stack(on_b(), passthrough=["a", "b"]).fit(numbers, Y).score(numbers, Y) > 0.5


def on_b():
    return make_pipeline(ColumnTransformer([("b", "passthrough", ["b"])]), Ridge())


def test_rows_that_no_fold_predicts_may_lack_values():
    """Lagged columns begin without values; folds in the order of time do not predict these rows."""
    later = sf.StackingRegressor([("base", on_a())], cv=TimeSeriesSplit(3), passthrough=["late"])
    assert later.fit(FRAME, Y).oof_.mask.sum() == 45
