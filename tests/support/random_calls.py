"""Calls drawn at random, right ones and wrong ones: each is answered right, or refused by us.

Hypothesis draws rows, targets, folds, estimators and options. What a call leaves is compared with
the same fits by scikit-learn alone. An error has to be a ValueError or a TypeError that stackfuse
or scikit-learn raises, never one from deeper down.
"""

import traceback
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import scipy.sparse
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneOut,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import stackfuse as sf


def build(meta):
    inputs = keras.Input((meta["n_features_in_"],))
    if meta["n_classes_"] is None:
        return keras.Model(inputs, keras.layers.Dense(meta["n_outputs_"])(inputs))
    return keras.Model(inputs, keras.layers.Dense(meta["n_classes_"], "softmax")(inputs))


CLASSIFIERS = [
    LogisticRegression(),
    DecisionTreeClassifier(max_depth=2, random_state=0),
    GaussianNB(),
    KNeighborsClassifier(2),
    RidgeClassifier(),
    DummyClassifier(),
    make_pipeline(StandardScaler(), LogisticRegression()),
]
REGRESSORS = [
    Ridge(),
    LinearRegression(),
    DecisionTreeRegressor(max_depth=2, random_state=0),
    KNeighborsRegressor(2),
    DummyRegressor(),
    make_pipeline(StandardScaler(), Ridge()),
]
NO_ESTIMATORS: list[Any] = [None, 3, "drop", "nothing", LogisticRegression, StandardScaler(), build]

#: Values that an option may have, and values that it may not.
OPTIONS: dict[str, tuple[list[Any], list[Any]]] = {
    "passthrough": ([False, True, [0]], ["no", 1, None, [99], ["z"], 2.5, {}]),
    "refit": ([True, False], [0, 1, "yes", None]),
    "verbose": ([0, False], ["loud", -1, 1.5, None, [1]]),
    "n_jobs": ([None, 1], ["two", 0, 1.5, True, [2]]),
    "stack_method": (["auto", "predict"], ["proba", None, 3, {"nobody": "auto"}, "features", []]),
    "on_error": (["raise", "drop"], ["ignore", None, 1, ["drop"]]),
    "engine": (["auto", "sequential"], ["gpu", None, 3, "fused"]),
    "random_state": ([None, 0, np.int64(7)], ["a", -1, True, 1.0, [1]]),
    "memory": ([None], ["", 3, True, []]),
}
SPLITTERS = [
    None,
    2,
    3,
    KFold(3, shuffle=True, random_state=0),
    StratifiedKFold(2),
    GroupKFold(2),
    TimeSeriesSplit(2),
    ShuffleSplit(2, random_state=0),
    RepeatedKFold(n_splits=2, n_repeats=2, random_state=0),
    LeaveOneOut(),
]
NO_SPLITTERS: list[Any] = [1, 0, -2, 2.0, True, "five", "outer", "prefit", [], [1, 2], KFold, 999]


@dataclass
class Call:
    """A call through the public door."""

    door: str
    estimators: Any
    X: Any
    y: Any
    options: dict[str, Any]
    for_fit: dict[str, Any]

    def run(self) -> Any:
        """Make the call; return the out-of-fold predictions, or of a network its predictions."""
        if self.door == "out_of_fold":
            options = {k: v for k, v in self.options.items() if k in _OF_FUNCTION}
            return sf.out_of_fold(self.estimators, self.X, self.y, **options, **self.for_fit)
        if self.door in ("KerasClassifier", "KerasRegressor"):
            options = {k: v for k, v in self.options.items() if k in ("verbose", "random_state")}
            network = getattr(sf, self.door)(build, **options)
            return network.fit(self.X, self.y, **self.for_fit).predict(self.X)
        stack = getattr(sf, self.door)(self.estimators, **self.options)
        stack.fit(self.X, self.y, **self.for_fit)
        predicted = stack.predict(self.X)
        assert len(predicted) == len(self.y)
        if self.door == "StackingRegressor":
            assert np.isfinite(predicted).all()
        return stack.oof_

    def check(self, oof: sf.OutOfFold) -> None:
        """Compare out-of-fold predictions with those of scikit-learn alone."""
        X, y = rows_of(self.X), np.asarray(self.y)
        if y.ndim > 1 or "sample_weight" in self.for_fit:
            return
        for name, base in self.estimators:
            places = [k for k, column in enumerate(oof.columns) if column.estimator == name]
            if not places or isinstance(base, str | sf.KerasClassifier | sf.KerasRegressor):
                continue
            method = oof.columns[places[0]].method
            total, count = np.zeros((len(y), len(places))), np.zeros(len(y))
            for train, test in oof.folds:
                if oof.classes_ is not None and len(np.unique(y[train])) < len(oof.classes_):
                    break  # what a base says of a class that it has not seen is ours alone
                fitted = clone(base).fit(X[train], y[train])
                block = getattr(fitted, method)(X[test])
                if oof.classes_ is not None and method == "predict":
                    block = np.searchsorted(oof.classes_, block)
                total[test] += block.reshape(len(test), -1)[:, -len(places) :]
                count[test] += 1
            else:
                seen = count > 0
                expected = total[seen] / count[seen, None]
                np.testing.assert_allclose(
                    oof.predictions[seen][:, places], expected, rtol=1e-6, atol=1e-8
                )


_OF_FUNCTION = {"cv", "stack_method", "n_jobs", "on_error", "engine", "random_state", "memory"}


def rows_of(X) -> Any:
    """Return rows as something that takes an array of numbers as an index."""
    return (
        X.iloc[:].to_numpy()
        if hasattr(X, "iloc")
        else X
        if scipy.sparse.issparse(X)
        else np.asarray(X)
    )


def mostly(right, wrong, share: int = 12):
    """Return a strategy of right values, and now and then a wrong one."""
    return st.integers(0, share).flatmap(lambda k: wrong if k == share else right)


@st.composite
def rows(draw, n_rows: int):
    """Draw an X."""
    width, seed = draw(st.integers(1, 4)), draw(st.integers(0, 99))
    X: Any = np.random.default_rng(seed).normal(size=(n_rows, width))
    kind = draw(
        mostly(st.sampled_from(["float64"] * 4 + _RIGHT_ROWS), st.sampled_from(_WRONG_ROWS))
    )
    spoilt = X.copy()
    spoilt[: 1 + n_rows // 9, -1] = np.inf if kind == "infinite" else np.nan
    return {
        "float64": lambda: X,
        "float32": lambda: X.astype(np.float32),
        "whole": lambda: np.round(X * 3).astype(int),
        "boolean": lambda: X > 0,
        "list": lambda: X.tolist(),
        "frame": lambda: pd.DataFrame(X, columns=[f"c{k}" for k in range(width)]),
        "sparse": lambda: scipy.sparse.csr_matrix(np.where(X > 0, X, 0)),
        "constant": lambda: np.ones_like(X),
        "inputs": lambda: sf.MultiInput(a=X),
        "missing": lambda: spoilt,
        "infinite": lambda: spoilt,
        "text": lambda: np.full(X.shape, "a"),
        "objects": lambda: np.full(X.shape, None),
        "complex": lambda: X + 1j,
        "dates": lambda: np.full(X.shape, np.datetime64("2020-01-01")),
        "one axis": lambda: X[:, 0],
        "three axes": lambda: X[:, :, None],
        "no columns": lambda: X[:, :0],
        "nothing": lambda: None,
        "a number": lambda: 3,
        "words": lambda: "abc",
        "ragged": lambda: [[0.0] * (1 + k % 2) for k in range(n_rows)],
    }[kind]()


_RIGHT_ROWS = ["float32", "whole", "boolean", "list", "frame", "sparse", "constant"]
_WRONG_ROWS = ["inputs", "missing", "infinite", "text", "objects", "complex", "dates", "one axis"]
_WRONG_ROWS += ["three axes", "no columns", "nothing", "a number", "words", "ragged"]


@st.composite
def targets(draw, n_rows: int, *, classes: bool):
    """Draw a y."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    few, numbers = rng.integers(0, draw(st.integers(2, 3)), n_rows), rng.normal(size=n_rows)
    right: dict[str, Any] = {"numbers": numbers, "single": numbers.astype(np.float32)}
    right |= {"whole": few, "pairs": np.column_stack([numbers, numbers])}
    if classes:
        right = {"few": few, "words": np.array(["no", "yes", "maybe"])[few], "flags": few > 0}
        right |= {"list": few.tolist(), "series": pd.Series(few), "floats": few.astype(float)}
        right |= {"labels": rng.integers(0, 2, (n_rows, 2))}
    spoilt = numbers.copy()
    spoilt[:2] = np.nan
    wrong: dict[str, Any] = {"continuous": numbers, "missing": spoilt, "one": np.zeros(n_rows)}
    wrong |= {"words": ["a"] * n_rows, "nothing": None, "a number": 3, "shorter": few[:-2]}
    wrong |= {"objects": [None] * n_rows, "mixed": [*few[:-1].tolist(), "a"], "rare": few * 0 + 1}
    wrong |= {"deep": few[:, None, None], "wide": np.zeros((n_rows, 0)), "pairs": np.c_[few, few]}
    wrong |= {"complex": few + 1j, "infinite": np.full(n_rows, np.inf), "ragged": [[1], [1, 2]]}
    name = draw(mostly(st.sampled_from([*right]), st.sampled_from([*wrong])))
    return right[name] if name in right else wrong[name]


@st.composite
def bases(draw, kinds: list):
    """Draw estimators with names."""
    given = draw(
        st.lists(mostly(st.sampled_from(kinds), st.sampled_from(NO_ESTIMATORS), 25), max_size=3)
    )
    wrong_names = st.sampled_from(["", "a__b", "cv", 3, None, "same"])
    names = [draw(mostly(st.just(f"base{k}"), wrong_names, 25)) for k in range(len(given))]
    pairs = list(zip(names, given))
    wrong = [None, 3, "lr", {"a": Ridge()}, iter(pairs), [*given, 1], [("a", Ridge(), 1)]]
    return draw(mostly(st.just(pairs), st.sampled_from(wrong), 25))


@st.composite
def calls(draw):
    """Draw a call."""
    doors = ["StackingClassifier", "StackingRegressor", "out_of_fold"] * 13
    door = draw(st.sampled_from([*doors, "KerasClassifier", "KerasRegressor"]))
    classes = door.endswith("Classifier") or (door == "out_of_fold" and draw(st.booleans()))
    n_rows = draw(mostly(st.integers(12, 30), st.integers(0, 5)))
    options = {
        name: draw(st.sampled_from(right + wrong if draw(st.integers(0, 9)) == 0 else right))
        for name, (right, wrong) in OPTIONS.items()
        if draw(st.integers(0, 2)) == 0
    }
    options["cv"] = draw(mostly(st.sampled_from(SPLITTERS), st.sampled_from(NO_SPLITTERS)))
    kinds = CLASSIFIERS if classes else REGRESSORS
    if draw(st.integers(0, 40)) == 0:
        network = sf.KerasClassifier(build) if classes else sf.KerasRegressor(build)
        kinds = [*kinds, network, network]
    if door.startswith("Stacking") and draw(st.integers(0, 3)) == 0:
        meta = [sf.GreedyClassifier(), sf.BestClassifier()] if classes else [sf.BestRegressor()]
        right, wrong = (
            [*kinds[:3], *meta],
            [*NO_ESTIMATORS, *(REGRESSORS if classes else CLASSIFIERS)],
        )
        options["final_estimator"] = draw(mostly(st.sampled_from(right), st.sampled_from(wrong), 5))
    for_fit: dict[str, Any] = {}
    if isinstance(options["cv"], GroupKFold) or draw(st.integers(0, 9)) == 0:
        some = np.arange(n_rows) % 3
        for_fit["groups"] = draw(mostly(st.just(some), st.sampled_from([None, 3, "ab", some[:-1]])))
    if draw(st.integers(0, 9)) == 0:
        ones = np.ones(n_rows)
        for_fit["sample_weight"] = draw(
            mostly(st.just(ones), st.sampled_from([-ones, 3, "a", ones[:-1], ones * np.nan]), 4)
        )
    X, y = draw(rows(n_rows)), draw(targets(n_rows, classes=classes))
    return Call(door, draw(bases(kinds)), X, y, options, for_fit)


def outcome(call: Call) -> str:
    """Make a call and judge what becomes of it; return "right" or "refused"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answer = call.run()
        except (ValueError, TypeError) as error:
            _check_ours(error)
            return "refused"
        if isinstance(answer, sf.OutOfFold):
            call.check(answer)
    return "right"


def _check_ours(error: Exception) -> None:
    """Raise if an error comes from elsewhere, or ours has several lines."""
    file = traceback.extract_tb(error.__traceback__)[-1].filename
    ours = "/stackfuse/" in file
    if not (ours or "/sklearn/" in file) or (ours and "\n" in str(error)):
        raise AssertionError(f"Not said by us in one sentence: {error!r}") from error
