"""Fits drawn at random from a number: each equals the loop of plain Keras, or is refused.

``python -m tests.support.random_fits [n_fits] [first_number]`` tries many and prints what became of
each. The loop (:func:`loop`) clones what was drawn with the networks of
:mod:`tests.support.plain_keras` in place of the wrappers, fits it on every fold, and predicts the
rest: plain Keras and scikit-learn alone. What is drawn goes through the public door, and nothing
else is set.
"""

import contextlib
import io
import pickle
import re
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import joblib
import numpy as np
import pandas as pd
import polars
import scipy.sparse
from sklearn import ensemble
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    check_cv,
    cross_val_predict,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.utils.validation import column_or_1d

import stackfuse as sf
from stackfuse._core import sklearn_private
from stackfuse._networks import NetworkEstimator
from tests.support.drawn_networks import (
    WORDS,
    Draw,
    DrawnNetwork,
    as_model,
    draw_network,
    plain,
)
from tests.support.plain_keras import Plain, PlainClassifier, PlainRegressor

TASKS = ("binary", "multiclass", "regression", "multilabel", "multioutput")

#: How far predictions may be from the loop's.
TOLERANCE = 5e-5

#: Twice the last digit of a probability in float32.
TWO_DIGITS = 1.2e-7

#: How far a loss in a history may be, which adds up the digits of many steps.
LOSS_TOLERANCE = 2e-4

#: Letters that a refusal takes at most.
SENTENCE = 400

#: Rows to train on, and further ones to predict.
N_NEW = 12

#: Kinds of X.
KINDS = (
    *("array", "array", "array", "float32", "frame", "frame", "mixed"),
    *("ids", "sparse", "several", "series", "lists", "polars", "float16", "bool", "memmap"),
    "text",
)

#: Kinds of X that scikit-learn's own estimators take as they are.
PLAIN_KINDS = ("array", "float32", "frame", "ids", "sparse", "lists", "polars", "bool", "memmap")

#: Some rows of any X, as scikit-learn takes them.
rows_of = sklearn_private.safe_indexing

#: The name of a base that cannot be fitted.
FAILS = "fails"

#: From a network to what holds it; the second argument tells whether our estimators may be used.
Wrap = Callable[[Any, bool], Any]


@dataclass
class DrawnFit:
    """A fit that was drawn, with its data.

    Attributes
    ----------
    number : int
    task : str
        One of ``TASKS``.
    bases : list of (str, callable)
        From whether our wrappers are used to an estimator, by name.
    door : {"stack", "out_of_fold", "search", "grid", "cross_val"}
        A stack, a function, a search around the stack; or without a stack a search of the base, or
        its cross-validated predictions.
    X, y : array-like
    X_new : array-like
        Rows that no fit sees.
    settings : dict of str to object
        What the stack is given.
    fit_params : dict of str to array-like
        What its fit is given besides X and y.
    grid : dict of str to list
        What a search tries; the names begin with the base's.
    memory : {"off", "again", "on", "twice"}
        "again" and "twice" fit two times, with "twice" the second one is all found.
    backend : str or None
        Of joblib.
    pickled : bool
        Whether the fitted stack is pickled and loaded before it predicts.
    words : dict of str to str
        What was drawn, in words.
    """

    number: int
    task: str
    bases: list[tuple[str, Callable[[bool], Any]]]
    door: str
    X: Any
    y: Any
    X_new: Any
    settings: dict[str, Any] = field(default_factory=dict)
    fit_params: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, list] = field(default_factory=dict)
    memory: str = "off"
    backend: str | None = None
    pickled: bool = False
    words: dict[str, str] = field(default_factory=dict)

    @property
    def classify(self) -> bool:
        """Whether y holds classes."""
        return is_classes(self.task)

    @property
    def method(self) -> str:
        """The method by which a base predicts."""
        return self.settings.get("stack_method", "predict_proba" if self.classify else "predict")

    @property
    def refit(self) -> bool:
        """Whether models of all rows predict."""
        return self.door != "out_of_fold" and self.settings.get("refit", True)

    @property
    def numbers(self) -> np.ndarray:
        """The target as the bases are told it, but for the names of classes."""
        y = np.asarray(self.y)
        return y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y

    def in_words(self) -> str:
        """Return what was drawn."""
        told = [word for word in self.words.values() if word]
        return f"{self.number} {self.task}, {', '.join(told)}"


def is_classes(task: str) -> bool:
    """Whether a task is one of a classifier."""
    return task in ("binary", "multiclass", "multilabel")


def draw(number: int, folder: Path) -> DrawnFit:
    """Return the fit of a number; its callbacks may write into a folder."""
    choice = Draw(number)
    task = TASKS[number % len(TASKS)]
    kind = choice.of(KINDS)
    n_rows = int(choice.random.integers(34, 46))
    X = _rows(choice, kind, n_rows + N_NEW)
    if kind == "memmap":
        np.save(folder / "X.npy", X)
        X = np.load(folder / "X.npy", mmap_mode="r")
    y, of_y = _target(choice, task, n_rows)
    network = draw_network(choice, task, _network_kind(kind), folder)
    words = {"X": kind, "y": of_y} | network.words
    first = rows_of(X, np.arange(n_rows))
    rest = rows_of(X, np.arange(n_rows, n_rows + N_NEW))
    may_be_model = kind in ("array", "float32", "frame") and _takes_model(network)
    if choice.chance(0.08) and may_be_model and not network.is_subclass:
        path = folder / "net.keras" if choice.chance(0.4) else None
        as_model(network, {"X_shape_": np.shape(first), **_about(task)}, number, path)
    wrap, prefix = _wrapping(choice, task, kind, words, first)
    drawn = DrawnFit(number, task, [], "stack", first, y, rest, words=words)
    _draw_door(choice, drawn, prefix, network)
    _draw_seeds(choice, drawn, network)
    if task in ("binary", "multiclass") and words.get("around") != "nested" and choice.chance(0.08):
        weights = {np.unique(drawn.numbers).tolist()[0]: 3.0}
        network.take("weights", "class weights", class_weight=weights)
        words["weights"] = "class weights"
    drawn.bases = _bases(choice, drawn, kind, network, wrap)
    if drawn.door not in ("grid", "cross_val"):
        _draw_settings(choice, drawn)
    return drawn


# ---------------------------------------------------------------------------- data


def _network_kind(kind: str) -> str:
    return kind if kind in ("ids", "several", "series", "text") else "table"


def _rows(choice: Draw, kind: str, n_rows: int) -> Any:
    random = choice.random
    table = random.normal(size=(n_rows, 4))
    if kind == "float32":
        return table.astype(np.float32)
    if kind == "frame":
        index = random.permutation(n_rows) + 100
        return pd.DataFrame(table, index, columns=list("abcd")).astype({"b": "float32"})
    if kind == "polars":
        return polars.DataFrame(table, schema=list("abcd"))
    if kind == "float16":
        return table.astype(np.float16)
    if kind == "bool":
        return table > 0
    if kind == "mixed":
        words = random.choice(["red", "green", "blue"], n_rows)
        return pd.DataFrame({"a": table[:, 0], "b": table[:, 1], "word": words})
    if kind == "ids":
        return random.integers(0, 7, (n_rows, 4))
    if kind == "text":
        return np.array([[" ".join(random.choice(WORDS, 3))] for _ in range(n_rows)], object)
    if kind == "sparse":
        forms = [scipy.sparse.csr_matrix, scipy.sparse.csr_array, scipy.sparse.csc_matrix]
        return choice.of(forms)(np.where(random.uniform(size=table.shape) < 0.5, table, 0))
    if kind == "several":
        return sf.MultiInput(left=table, right=random.normal(size=(n_rows, 3, 2)))
    if kind == "series":
        return random.normal(size=(n_rows, 5, 2))
    return table.tolist() if kind == "lists" else table


def _target(choice: Draw, task: str, n_rows: int) -> tuple[Any, str]:
    """Return a target and what it is, in words; every class is in any third of the rows."""
    random = choice.random
    if task == "multilabel":
        y = random.integers(0, 2, (n_rows, 3))
        y[:4, 0] = y[-4:, 0] = [0, 1, 0, 1]
        return y, "0/1 matrix"
    if task == "multioutput":
        y = random.normal(size=(n_rows, 2))
        return (pd.DataFrame(y, columns=["p", "q"]), "a frame") if choice.chance(0.2) else (y, "")
    if task == "regression":
        y = random.normal(size=n_rows)
        form = choice.of(["", "", "float32", "a column", "a series"])
        forms = {
            "": lambda: y,
            "float32": lambda: y.astype(np.float32),
            "a column": lambda: y[:, np.newaxis],
            "a series": lambda: pd.Series(y, index=np.arange(n_rows) + 7),
        }
        return forms[form](), form
    n_classes = 2 if task == "binary" else 3
    places = np.concatenate([random.permutation(n_classes) for _ in range(n_rows)])[:n_rows]
    names = {
        "": np.arange(n_classes),
        "numbers": np.array([10, 3, 7])[:n_classes],
        "strings": np.array(["yes", "no", "né"])[:n_classes],
        "objects": np.array(["yes", "no", "né"], object)[:n_classes],
    }
    if task == "binary":
        names["booleans"] = np.array([False, True])
    form = choice.of(list(names))
    y = names[form][places]
    if choice.chance(0.15):
        return pd.Series(y), f"{form} in a series"
    return (y.tolist(), f"{form} in a list") if choice.chance(0.1) else (y, form)


def _about(task: str) -> dict[str, Any]:
    """Return what a builder is told of a target."""
    kinds = {"multilabel": "multilabel-indicator", "regression": "continuous"}
    n_outputs = {"binary": 2, "regression": 1, "multioutput": 2}.get(task, 3)
    kind = kinds.get(task, "continuous-multioutput" if task == "multioutput" else task)
    return {"target_type_": kind, "n_classes_": n_outputs, "n_outputs_": n_outputs}


def _takes_model(network: DrawnNetwork) -> bool:
    """Whether a network can as well be given as a model: one that is not drawn from anew."""
    return network.params["model"].__name__ in ("plain", "normalized", "residual", "frozen_part")


# ---------------------------------------------------------------------------- what is around


def _wrapping(choice: Draw, task: str, kind: str, words: dict, X) -> tuple[Wrap, str]:
    """Return what is put around a network, and the beginning of its parameters' names."""
    before, prefix, shape = _preprocessing(choice, kind, X)
    words["before"] = shape

    def inner(network, ours):
        return network if before is None else Pipeline([*before, ("net", network)])

    options: list[tuple[str, Wrap, str]] = []
    if task in ("regression", "multioutput"):
        options += 3 * [("target", _transformed(choice), "regressor__")]
    if task in ("binary", "multiclass"):
        options += 2 * [("calibrated", _calibrated(choice), "estimator__")]
    if task in ("binary", "multiclass", "regression"):
        options.append(("nested", _nested(choice, task), "inner__"))
    names = {f"{prefix}epochs": [1, 2]}
    options.append(("search", lambda e, ours: GridSearchCV(e, names, cv=2), "estimator__"))
    if choice.chance(0.65):
        return inner, prefix
    word, outer, outer_prefix = choice.of(options)
    words["around"] = word
    return lambda network, ours: outer(inner(network, ours), ours), outer_prefix + prefix


def _preprocessing(choice: Draw, kind: str, X) -> tuple[list | None, str, str]:
    """Return the steps before a network, the prefix of its names, and both in words."""
    if kind == "mixed":
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        parts = [("words", one_hot, ["word"]), ("numbers", StandardScaler(), ["a", "b"])]
        return [("columns", ColumnTransformer(parts))], "net__", "columns"
    if kind in ("ids", "several", "text") or choice.chance(0.35):
        return None, "", ""
    steps: list[tuple[str, Any]]
    if kind == "series":
        steps = [("halved", FunctionTransformer(np.negative))]
    elif kind == "sparse":
        steps = [("step", choice.of([MaxAbsScaler(), TruncatedSVD(3), VarianceThreshold()]))]
    else:
        scalers = [
            *(StandardScaler(), StandardScaler(), MinMaxScaler(), PCA(3)),
            QuantileTransformer(n_quantiles=10),
        ]
        if kind != "lists":
            frozen = FrozenEstimator(StandardScaler().fit(X))
            names: list[list] = (
                [["a", "c"], ["b"]] if kind in ("frame", "polars") else [[0, 2], [1]]
            )
            parts = [("some", StandardScaler(), names[0]), ("rest", "passthrough", names[1])]
            scalers += [frozen, frozen, ColumnTransformer(parts), ColumnTransformer(parts)]
        steps = [("step", choice.of(scalers))]
        if choice.chance(0.15):
            steps.append(("then", MinMaxScaler()))
    return steps, "net__", " + ".join(type(step).__name__ for _, step in steps)


def _transformed(choice: Draw) -> Wrap:
    options: list[dict[str, Any]] = [
        {"transformer": StandardScaler()},
        {"transformer": MinMaxScaler()},
        {"func": np.arcsinh, "inverse_func": np.sinh},
    ]
    settings = choice.of(options)
    return lambda estimator, ours: TransformedTargetRegressor(estimator, **settings)


def _calibrated(choice: Draw) -> Wrap:
    settings: dict[str, Any] = {"cv": 2}
    if choice.chance(0.4):
        settings["ensemble"] = False
    return lambda estimator, ours: CalibratedClassifierCV(estimator, **settings)


def _nested(choice: Draw, task: str) -> Wrap:
    final, kinds = (
        (Ridge(), (ensemble.StackingRegressor, sf.StackingRegressor))
        if task == "regression"
        else (LogisticRegression(), (ensemble.StackingClassifier, sf.StackingClassifier))
    )
    return lambda estimator, ours: kinds[ours]([("inner", estimator)], final, cv=2)


def _bases(choice: Draw, drawn: DrawnFit, kind: str, network: DrawnNetwork, wrap: Wrap) -> list:
    """Return the bases, in any order."""

    def made(ours: bool):
        return wrap(network_of(drawn.classify, network, ours), ours)

    bases: list[tuple[str, Callable[[bool], Any]]] = [("net", made)]
    if drawn.door in ("grid", "cross_val"):
        return bases
    if kind in PLAIN_KINDS and choice.chance(0.3):
        other = Ridge() if not drawn.classify else LogisticRegression()
        if drawn.task == "multilabel":
            other = KNeighborsClassifier(3)
        elif choice.chance(0.3):
            forest = drawn.classify
            kinds = ensemble.RandomForestClassifier, ensemble.RandomForestRegressor
            other = kinds[not forest](4, max_depth=3, random_state=0)
        bases.insert(int(choice.chance(0.5)), ("other", lambda ours: clone(other)))
        drawn.words["other"] = f"{bases[0][0]} first, with {type(other).__name__}"
    elif kind in PLAIN_KINDS and kind != "sparse" and choice.chance(0.15):
        second = DrawnNetwork({"model": plain, "random_state": 3})
        bases.append(("second", lambda ours: network_of(drawn.classify, second, ours)))
        drawn.words["other"] = "with a second network"
    return bases


def network_of(classify: bool, network: DrawnNetwork, ours: bool) -> Any:
    """Return a wrapper, or what it has to equal."""
    if ours and network.is_subclass:
        params = {name: value for name, value in network.params.items() if name != "model"}
        return (OwnClassifier if classify else OwnRegressor)(**params)
    if ours:
        return (sf.KerasClassifier if classify else sf.KerasRegressor)(**network.params)
    return (PlainClassifier if classify else PlainRegressor)(**network.params, **network.hints)


class OwnClassifier(sf.KerasClassifier):
    """A wrapper as scikeras documents subclasses."""

    def __init__(self, units=6, **params):
        super().__init__(**params)
        self.units = units

    def _keras_build_fn(self, meta):
        return plain(meta, self.units)


class OwnRegressor(sf.KerasRegressor):
    """A wrapper with a builder and few names of its own."""

    def __init__(self, *, units=6, **params):
        super().__init__(**params)
        self.units = units

    def _keras_build_fn(self, units, meta):
        return plain(meta, units)


class FailingClassifier(ClassifierMixin, BaseEstimator):
    """A base that cannot be fitted."""

    def fit(self, X, y):
        raise ValueError("nothing can be learnt")

    def predict_proba(self, X):
        raise NotImplementedError


class FailingRegressor(RegressorMixin, BaseEstimator):
    """A base that cannot be fitted."""

    fit, predict = FailingClassifier.fit, FailingClassifier.predict_proba


# ---------------------------------------------------------------------------- how it is fitted


def _draw_door(choice: Draw, drawn: DrawnFit, prefix: str, network: DrawnNetwork) -> None:
    doors = 9 * ["stack"] + 3 * ["out_of_fold"] + ["cross_val"]
    if "around" not in drawn.words:  # else there would be folds within folds within folds
        doors += ["search", "grid"]
    drawn.door = choice.of(doors)
    drawn.words["door"] = "" if drawn.door == "stack" else drawn.door
    if drawn.door not in ("search", "grid"):
        return
    place = "net__" if drawn.door == "search" else ""
    names = [("epochs", [1, 2]), ("batch_size", [16, 32])]
    if "as a model" not in drawn.words["network"]:
        names.append(("units", [3, 5]))
    name, values = choice.of(names)
    drawn.grid = {f"{place}{prefix}{name}": values}


def _draw_seeds(choice: Draw, drawn: DrawnFit, network: DrawnNetwork) -> None:
    """Draw whose random state it is: the network's, the stack's, both, or numpy's."""
    options = ["network", "network", "stack", "stack", "both"]
    simple = drawn.door in ("stack", "out_of_fold") and "around" not in drawn.words
    if simple and drawn.words["before"] not in ("PCA", "TruncatedSVD", "QuantileTransformer"):
        options.append("numpy")
    whose = "network" if drawn.door in ("grid", "cross_val") else choice.of(options)
    if whose in ("network", "both"):
        seed = int(choice.random.integers(100))
        seeds = [*(4 * [seed]), np.int64(seed), np.random.RandomState(seed)]
        network.params["random_state"] = choice.of(seeds)
    if whose in ("stack", "both"):
        drawn.settings["random_state"] = int(choice.random.integers(100))
    drawn.words["seeds"] = f"seeds of {whose}"


def _draw_settings(choice: Draw, drawn: DrawnFit) -> None:
    settings, words = drawn.settings, drawn.words
    _draw_folds(choice, drawn)
    alone = "first" not in words.get("other", "")  # fused says no to all that is no network
    engine = choice.of(["", "", "", "", "sequential", *(["fused"] * (4 if alone else 1))])
    if engine:
        settings["engine"] = words["engine"] = engine
    if choice.chance(0.15):
        weights = choice.random.uniform(0.2, 2, len(drawn.numbers))
        drawn.fit_params["sample_weight"] = choice.of([weights, weights, weights.tolist()])
        words["sample_weight"] = "sample weights"
    if words["seeds"] != "seeds of numpy":
        drawn.memory = choice.of(6 * ["off"] + ["again", "on", "twice", "twice"])
        kinds = {"off": "", "again": "fitted twice"}
        words["memory"] = kinds.get(drawn.memory, f"memory {drawn.memory}")
    if choice.chance(0.12):
        settings["n_jobs"] = 2
        drawn.backend = None if choice.chance(0.2) else "threading"
        words["n_jobs"] = f"n_jobs=2 {drawn.backend or ''}"
    only_network = len(drawn.bases) == 1 and "around" not in words
    if drawn.classify and only_network and choice.chance(0.1):
        settings["stack_method"] = words["method"] = "decision_function"
    weighted = "sample_weight" in drawn.fit_params  # bases that take none would be dropped too
    may_fail = not (weighted or "engine" in settings or drawn.door == "search")
    if choice.chance(0.1) and may_fail:
        fails = FailingClassifier() if drawn.classify else FailingRegressor()
        drawn.bases.insert(int(choice.chance(0.5)), (FAILS, lambda ours: fails))
        settings["on_error"], words["on_error"] = "drop", "one base fails"
    if drawn.door == "out_of_fold":
        return
    drawn.pickled = choice.chance(0.15)
    words["pickled"] = "pickled" if drawn.pickled else ""
    if choice.chance(0.2):
        settings["refit"] = False
        words["refit"] = "no refit"
    if drawn.task != "multilabel" and choice.chance(0.35):
        final = LogisticRegression() if drawn.classify else Ridge()
        settings["final_estimator"], words["final"] = final, type(final).__name__
    if choice.chance(0.05):
        settings["verbose"], words["verbose of it"] = 1, "verbose"
    if words["X"] in ("array", "float32") and choice.chance(0.06):
        settings["passthrough"] = True
        words["passthrough"] = "passthrough"


def _draw_folds(choice: Draw, drawn: DrawnFit) -> None:
    n_rows = len(drawn.numbers)
    one_label = drawn.task in ("binary", "multiclass")
    groups = np.arange(n_rows) // 6
    order = choice.random.permutation(n_rows)
    options: list[tuple[str, Any]] = [
        *4 * [("2", 2), ("3", 3)],
        ("default", None),
        ("KFold", KFold(2, shuffle=True, random_state=1)),
        ("KFold", KFold(3)),
        ("GroupKFold", GroupKFold(2)),
        ("TimeSeries", TimeSeriesSplit(2)),
        ("Repeated", RepeatedKFold(n_splits=2, n_repeats=2, random_state=0)),
        ("ShuffleSplit", ShuffleSplit(2, test_size=0.3, random_state=0)),
        ("splits", [(order[12:], order[:12]), (order[:20], order[20:30])]),
        ("Predefined", PredefinedSplit(np.arange(n_rows) % 3 - 1)),
    ]
    if one_label:
        options += [
            ("Stratified", StratifiedKFold(2, shuffle=True, random_state=1)),
            ("StratifiedGroup", StratifiedGroupKFold(2)),
        ]
    name, cv = choice.of(options)
    few = ("2", "splits", "ShuffleSplit", "Stratified", "GroupKFold")
    within = drawn.words.get("around") in ("nested", "search")
    if drawn.door == "search" or (within and name not in few):
        name, cv = "2", 2  # the rows of a search's folds have other numbers and groups
    drawn.words["cv"] = f"cv {name}"
    if cv is not None:
        drawn.settings["cv"] = cv
    if "Group" in name:
        drawn.fit_params["groups"] = choice.of([groups, pd.Series(groups), groups.astype(str)])


# ---------------------------------------------------------------------------- the loop


@dataclass
class Loop:
    """The results of the loop over the folds.

    Attributes
    ----------
    predictions : ndarray of shape (n_samples, n_columns)
        NaN where no fold predicts a row.
    new : ndarray of shape (n_new, n_columns) or None
    histories : dict of str to list
        Of the bases that are networks, one dict per fold.
    lacks_classes : bool
        Whether a fold trains without one of the classes.
    tolerance : float
        How far predictions may be from these.
    """

    predictions: np.ndarray
    new: np.ndarray | None
    histories: dict[str, list]
    lacks_classes: bool
    tolerance: float


def loop(drawn: DrawnFit, chosen: dict[str, Any], names: set[str]) -> Loop:
    """Fit every base on every fold by plain Keras and scikit-learn.

    Parameters
    ----------
    drawn : DrawnFit
    chosen : dict of str to object
        The parameters that a search has chosen.
    names : set of str
        The bases that were not dropped; the others must say the same for every row of a fold.
    """
    y, settings = drawn.numbers, drawn.settings
    classes = np.unique(y) if drawn.classify and y.ndim == 1 else None
    cv = check_cv(settings.get("cv"), y, classifier=drawn.classify)
    splits = list(cv.split(np.zeros(len(y)), y, drawn.fit_params.get("groups")))
    folds = [tuple(map(np.asarray, split)) for split in splits]
    parts = [*folds, (np.arange(len(y)), None)] if drawn.refit else folds
    tables, new, histories, tolerance = [], [], {}, TOLERANCE
    for name, make in drawn.bases:
        if name == FAILS:
            continue
        base = make(False)
        base.set_params(**{k[len(name) + 2 :]: v for k, v in chosen.items() if k.startswith(name)})
        if isinstance(cv, TimeSeriesSplit):
            base.set_params(**dict.fromkeys(_unsaid(base), "last"))
        models = [
            _fitted(_seeded(base, settings.get("random_state"), name, place), drawn, train)
            for place, (train, _) in zip(_places(len(folds)), parts)
        ]
        tolerance = max(tolerance, TWO_DIGITS * max(map(_steepness, models)))
        tests = [test for _, test in folds]
        blocks = [_block(drawn, m, rows_of(drawn.X, r), classes) for m, r in zip(models, tests)]
        if name not in names:  # Ftrl's l1 may leave a network that says one number
            assert settings.get("on_error") == "drop", f"{name} is left out"
            spread = max(float(np.ptp(one, axis=0).max()) for one in blocks)
            assert spread <= TWO_DIGITS, f"{name} is left out, its spread is {spread:.1e}"
            continue
        tables.append(_out_of_fold(drawn, blocks, tests))
        if drawn.door != "out_of_fold":
            kept = models[len(folds) :] or models
            blocks = [_block(drawn, model, drawn.X_new, classes) for model in kept]
            new.append(np.mean(blocks, axis=0))
        if hasattr(models[0], "history_"):
            histories[name] = [model.history_ for model in models[: len(folds)]]
    lacks = classes is not None and any(len(np.unique(y[t])) < len(classes) for t, _ in folds)
    new = np.hstack(new) if new else None
    return Loop(np.hstack(tables), new, histories, lacks, tolerance)


def _steepness(model) -> float:
    """Return the largest slope of a base's calibration, 0 without one.

    A network that says nearly the same for every row is calibrated by a slope of thousands: in fit
    number 545 one of 2,700 made 1e-4 of the last digit, 6e-8, of a network trained by Ftrl.
    """
    parts = getattr(model, "calibrated_classifiers_", [])
    slopes = [abs(getattr(one, "a_", 0.0)) for part in parts for one in part.calibrators]
    return float(max(slopes, default=0.0))


def _places(n_folds: int) -> list[int | str]:
    return [*range(n_folds), "all rows"]


def _seeded(base, seed: int | None, name: str, place: int | str) -> Any:
    """Return a clone whose unset random states come from a stack's."""
    twin = clone(base)
    if seed is None:
        return twin
    own = _derived(seed, name, place)
    unset = [
        key
        for key, value in twin.get_params(deep=True).items()
        if key.rpartition("__")[2] == "random_state" and value is None
    ]
    return twin.set_params(**{key: _derived(own, key) for key in unset})


def _derived(seed: int, *path: int | str) -> int:
    words = [zlib.crc32(str(step).encode()) for step in path]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0] >> 1)


def _unsaid(base) -> list[str]:
    """Return the parameters of networks that leave it to the folds which rows are held out."""
    params = base.get_params(deep=True)
    return [k for k, v in params.items() if k.split("__")[-1] == "validation" and v == "auto"]


def _fitted(model, drawn: DrawnFit, train: np.ndarray) -> Any:
    weight, groups = (drawn.fit_params.get(name) for name in ("sample_weight", "groups"))
    params = {} if weight is None else {"sample_weight": np.asarray(weight)[train]}
    name = None if groups is None else _name_of_groups(model)
    if name is not None:
        params[name] = np.asarray(groups)[train]
    return model.fit(rows_of(drawn.X, train), drawn.numbers[train], **params)


def _name_of_groups(model) -> str | None:
    """Return the name by which groups reach a network that is given all rows in their places."""
    if isinstance(model, Plain):
        return "groups"
    if isinstance(model, Pipeline):
        inner = _name_of_groups(model.steps[-1][1])
        return inner and f"{model.steps[-1][0]}__{inner}"
    return (
        _name_of_groups(model.regressor) if isinstance(model, TransformedTargetRegressor) else None
    )


def _block(drawn: DrawnFit, model, X, classes) -> np.ndarray:
    """Return a model's predictions as columns."""
    if not drawn.classify:
        predictions = model.predict(X)
        return predictions.reshape(len(predictions), -1)
    table = getattr(model, drawn.method)(X)
    if isinstance(table, list):  # of a 0/1 matrix, an array per label
        return np.column_stack([column[:, 1] for column in table])
    if drawn.method == "decision_function":
        return table.reshape(len(table), -1)
    if classes is None:
        return table
    full = np.zeros((len(table), len(classes)))
    full[:, np.searchsorted(classes, model.classes_)] = table
    return full[:, 1:] if len(classes) == 2 else full


def _out_of_fold(drawn: DrawnFit, blocks: list, tests: list) -> np.ndarray:
    """Return the mean of what the folds predict for each row."""
    count = np.zeros((len(drawn.numbers), 1))
    total = np.zeros((len(count), blocks[0].shape[1]))
    for block, rows in zip(blocks, tests):
        total[rows] += block
        count[rows] += 1
    with np.errstate(invalid="ignore"):
        return total / count


# ---------------------------------------------------------------------------- what becomes of it


@dataclass(frozen=True)
class Outcome:
    """The outcome of a fit.

    Attributes
    ----------
    kind : {"equal", "refused", "wrong"}
    reason : str
        Why it was refused, or what is wrong; what was told by the way if it is equal.
    difference : float
        The largest in the predictions.
    """

    kind: str
    reason: str = ""
    difference: float = 0.0


class Trainings:
    """Counts the networks that are trained: those with a history, or with other weights."""

    def __init__(self):
        self.begun: list[tuple[Any, list[np.ndarray]]] = []

    @property
    def count(self) -> int:
        """The number so far."""
        return sum(
            bool(training.history)
            or not all(map(np.array_equal, training.model.get_weights(), weights))
            for training, weights in self.begun
        )

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is trained in this context."""
        complete = NetworkEstimator.complete

        def counting(network, begun, *by):
            if begun.training is not None:
                self.begun.append((begun.training, begun.training.model.get_weights()))
            return complete(network, begun, *by)

        with mock.patch.object(NetworkEstimator, "complete", counting):
            yield


def outcome_of(drawn: DrawnFit, folder: Path) -> Outcome:
    """Fit what was drawn, and compare it with the loop.

    Raises
    ------
    AssertionError
        If there is a third outcome.
    """
    trainings = Trainings()
    with warnings.catch_warnings(record=True) as told, trainings.counted():
        warnings.simplefilter("always")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                np.random.seed(drawn.number)
                got = _fit(drawn, folder, trainings)
        except Exception as error:  # whatever it is: check_refusal judges it
            check_refusal(error, trainings.count)
            return Outcome("refused", str(error))
    with warnings.catch_warnings(record=True) as expected:
        warnings.simplefilter("always")
        if np.shape(drawn.y)[1:] == (1,):
            column_or_1d(drawn.y, warn=True)  # as scikit-learn's stack does
        np.random.seed(drawn.number)
        if drawn.door == "grid":
            difference, lacks = _compare_searches(drawn, got), False
        elif drawn.door == "cross_val":
            base, y = drawn.bases[0][1](False), drawn.y
            wanted = cross_val_predict(base, drawn.X, y, cv=3, method=drawn.method)
            difference, lacks = _close(got, wanted, "cross-validated predictions"), False
        else:
            wanted = loop(drawn, got.chosen, got.names)
            difference, lacks = _compare(drawn, got, wanted), wanted.lacks_classes
    return Outcome("equal", _check_warnings(told, expected, lacks), difference)


def check_refusal(error: Exception, n_trained: int) -> None:
    """Raise if an error is no refusal: one sentence of ours, before anything was trained."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames[:-6:-1])
    said = f"{type(error).__name__}: {error} [{where}]"
    assert n_trained == 0, f"refused after {n_trained} trainings: {said}"
    text = str(error)
    in_search = text.startswith("\nAll the ")  # scikit-learn quotes what every fit of it raised
    if in_search:
        assert "/stackfuse/" in text, f"refused by others: {said}"
        text = text.strip().splitlines()[-1]
    assert len(text.splitlines()) == 1, f"refused in {len(text.splitlines())} lines: {said}"
    assert len(text) <= SENTENCE, f"refused in {len(text)} letters: {said}"
    ours = "/stackfuse/" in frames[-1].filename or "/sklearn/utils/" in frames[-1].filename
    assert ours or in_search, f"refused by others: {said}"


@dataclass
class Fitted:
    """The results of a fit through the public door."""

    predictions: np.ndarray
    new: np.ndarray | None
    histories: dict[str, list]
    names: set[str]
    chosen: dict[str, Any] = field(default_factory=dict)


def _fit(drawn: DrawnFit, folder: Path, trainings: Trainings) -> Any:
    """Fit through the public door."""
    if drawn.door == "grid":
        search = sf.GridSearchCV(drawn.bases[0][1](True), drawn.grid, cv=2, error_score="raise")
        return search.fit(drawn.X, drawn.y)
    if drawn.door == "cross_val":
        function = sf.cross_val_predict
        return function(drawn.bases[0][1](True), drawn.X, drawn.y, cv=3, method=drawn.method)
    settings = dict(drawn.settings)
    if drawn.memory in ("on", "twice"):
        settings["memory"] = str(folder / "memory")
    backend = joblib.parallel_config(drawn.backend) if drawn.backend else contextlib.nullcontext()
    with backend:
        fitted = _fit_once(drawn, settings)
        if drawn.memory in ("again", "twice"):
            before, first = trainings.count, fitted
            fitted = _fit_once(drawn, settings)
            again = trainings.count - before
            if drawn.memory == "twice":
                assert again == 0, f"a second fit with memory trains {again} of {before} again"
            same = np.array_equal(first.predictions, fitted.predictions, equal_nan=True)
            assert same, "a second fit has other digits than the first"
    return fitted


def _fit_once(drawn: DrawnFit, settings: dict[str, Any]) -> Fitted:
    bases = [(name, make(True)) for name, make in drawn.bases]
    if drawn.door == "out_of_fold":
        oof = sf.out_of_fold(bases, drawn.X, drawn.y, **drawn.fit_params, **settings)
        names = {column.estimator for column in oof.columns}
        return Fitted(oof.predictions, None, oof.histories, names)
    kind = sf.StackingClassifier if drawn.classify else sf.StackingRegressor
    stack, chosen = kind(bases, **settings), {}
    if drawn.door == "search":
        search = GridSearchCV(stack, drawn.grid, cv=2, error_score="raise")
        search.fit(drawn.X, drawn.y, **drawn.fit_params)
        stack, chosen = search.best_estimator_, search.best_params_
    else:
        stack.fit(drawn.X, drawn.y, **drawn.fit_params)
    new, width = stack.transform(drawn.X_new), stack.oof_.predictions.shape[1]
    predicted = stack.predict(drawn.X_new)
    assert predicted.shape[1:] == drawn.numbers.shape[1:], predicted.shape
    again = stack.transform(drawn.X_new)
    assert np.array_equal(new, again), "a second call of transform has other digits"
    if drawn.pickled:
        stack = pickle.loads(pickle.dumps(stack))
        _close(stack.transform(drawn.X_new), new, "predictions of the pickled stack")
    oof = stack.oof_
    names = {column.estimator for column in oof.columns}
    return Fitted(oof.predictions, new[:, :width], oof.histories, names, chosen)


def _compare(drawn: DrawnFit, got: Fitted, wanted: Loop) -> float:
    """Raise AssertionError if predictions or histories differ; return by how much at most."""
    near = wanted.tolerance
    largest = _close(got.predictions, wanted.predictions, "out-of-fold predictions", near)
    if wanted.new is not None:
        largest = max(largest, _close(got.new, wanted.new, "predictions for new rows", near))
    for name, histories in wanted.histories.items():
        told = got.histories[name]
        for fold, (mine, theirs) in enumerate(zip(told, histories, strict=True)):
            what = f"history of {name} on fold {fold}"
            assert mine is not None, f"{what}: there is none"
            mine, theirs = map(_with_plain_names, (mine, theirs))
            assert set(mine) == set(theirs), f"{what}: {sorted(mine)} in place of {sorted(theirs)}"
            for key in theirs:
                if "acc" not in key:
                    _close(mine[key], theirs[key], f"{what}, {key}", LOSS_TOLERANCE)
    return largest


def _with_plain_names(history: dict[str, list]) -> dict[str, list]:
    """Return a history in which layers that Keras has named are numbered from 0."""
    pattern = re.compile(r"(?<=dense_)\d+")
    numbers = sorted({int(found[0]) for name in history if (found := pattern.search(name))})
    return {
        pattern.sub(lambda found: str(numbers.index(int(found[0]))), name): values
        for name, values in history.items()
    }


def _compare_searches(drawn: DrawnFit, got) -> float:
    plain_search = GridSearchCV(drawn.bases[0][1](False), drawn.grid, cv=2, error_score="raise")
    wanted = plain_search.fit(drawn.X, drawn.y)
    for key in ("split0_test_score", "split1_test_score", "mean_test_score"):
        _close(got.cv_results_[key], wanted.cv_results_[key], key, LOSS_TOLERANCE)
    assert got.best_params_ == wanted.best_params_, (got.best_params_, wanted.best_params_)
    method = "predict_proba" if drawn.classify else "predict"
    mine, theirs = (np.asarray(getattr(s, method)(drawn.X_new)) for s in (got, wanted))
    return _close(mine.reshape(theirs.shape), theirs, "predictions of the best")


def _close(got, wanted, what: str, tolerance: float = TOLERANCE) -> float:
    """Raise AssertionError unless arrays are close; return the largest difference."""
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    assert got.shape == wanted.shape, f"{what}: shape {got.shape} in place of {wanted.shape}"
    assert np.array_equal(np.isnan(got), np.isnan(wanted)), f"{what}: NaN in other places"
    difference = np.nan_to_num(np.abs(got - wanted))
    largest = float(difference.max(initial=0))
    limit = tolerance * np.maximum(1, np.nan_to_num(np.abs(wanted)))
    assert (difference <= limit).all(), f"{what}: off by {largest:.1e}"
    return largest


def _check_warnings(told, expected, lacks_classes: bool) -> str:
    """Raise AssertionError at a warning without a reason; return those that have one."""
    known = {(warning.category, str(warning.message)[:40]) for warning in expected}
    reasons = []
    for warning in told:
        text = " ".join(str(warning.message).split())
        if (warning.category, str(warning.message)[:40]) in known:
            continue
        if f"Base estimator {FAILS!r} failed" in text and "is dropped" in text:
            continue
        if "is dropped. it predicted the same for every row" in text and FAILS not in text:
            continue  # the loop has left it out too, else the columns differ
        if text.startswith("refit=False averages") or text.startswith("n_quantiles ("):
            continue  # told by the stack; told by scikit-learn of the few rows in a search
        if "is fitted without memory" in text:
            reasons.append(text[:120])
        elif not (lacks_classes and text.startswith("cv trains")):
            raise AssertionError(f"warns: {warning.category.__name__}: {text[:300]}")
    return "; ".join(dict.fromkeys(reasons))


def try_one(number: int) -> tuple[DrawnFit | None, Outcome]:
    """Return the fit of a number and what became of it, a third outcome too."""
    drawn = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            drawn = draw(number, Path(folder))
            return drawn, outcome_of(drawn, Path(folder))
        except Exception as error:  # whatever it is: it is the third outcome
            frames = traceback.extract_tb(error.__traceback__)
            where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames[:-5:-1])
            said = " ".join(str(error).split())
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__} {where}: "
            return drawn, Outcome("wrong", f"{kind}{said[:700]}")


def tally(n_fits: int, first: int = 0, say: Callable[[str], Any] = lambda line: None):
    """Try many fits.

    Parameters
    ----------
    n_fits : int
    first : int
        The first number.
    say : callable
        Takes a line about each fit, once it is known.

    Returns
    -------
    n_wrong : int
        Fits that are neither equal to the loop nor refused.
    text : str
        What became of all, and why of those that were refused or wrong.
    """
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    wrong, largest, started = [], 0.0, time.perf_counter()
    for number in range(first, first + n_fits):
        drawn, outcome = try_one(number)
        counts[outcome.kind] += 1
        largest = max(largest, outcome.difference)
        words = str(number) if drawn is None else drawn.in_words()
        line = f"{outcome.kind}: {words}{' | ' if outcome.reason else ''}{outcome.reason}"
        if outcome.kind == "wrong":
            line += f" | again: python -m tests.support.random_fits 1 {number}"
            wrong.append(line)
        elif outcome.reason:
            reasons[f"{outcome.kind}: {outcome.reason[:140]}"] += 1
        say(line)
    seconds = time.perf_counter() - started
    told = [
        f"{n_fits} fits from number {first} in {seconds:.0f} s: {dict(counts)}",
        f"largest difference: {largest:.1e}",
        *(f"{count:4d} {reason}" for reason, count in reasons.most_common()),
        *wrong,
    ]
    return len(wrong), "\n".join(told)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    n_wrong, text = tally(*map(int, sys.argv[1:] or ["500"]), say=_say)
    _say(text)
    sys.exit(min(n_wrong, 1))
