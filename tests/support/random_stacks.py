"""Stacks drawn at random from a seed: each exports and agrees with itself, or is refused.

Run as a script, ``python -m tests.support.random_stacks [n_stacks] [first_seed] [--ending .onnx]``,
it tries many and prints what became of them.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import ensemble
from sklearn.base import clone, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, RadiusNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

import stackfuse as sf
from stackfuse._cli import inspect as _inspect
from stackfuse._export.checking import answers
from stackfuse._export.checking.comparison import Comparison, RowsToCompare, _round_to_float32
from stackfuse._export.converters import to_keras  # noqa: F401  registers all converters
from stackfuse._export.graph import graph as _graph
from stackfuse._export.graph.build import Build
from stackfuse._stacking import parts_of
from tests.support.cases import (
    CLASSIFIERS,
    FAMILY_CLASSIFIERS,
    FAMILY_REGRESSORS,
    REGRESSORS,
)
from tests.support.last_digits import answering_by_graphs, is_narrow, own_movement
from tests.support.networks import build_classifier, build_regressor, build_sigmoid

#: Rows that a stack is trained on, and further ones that it is compared on.
N_TRAIN, N_HELD_OUT = 90, 60

#: How a column of classes, numbers or labels is asked for: the tasks.
TASKS = ("binary", "multiclass", "regression", "multilabel", "multioutput")

#: How close a graph is to a stack where both compute in float64.
EXACT = 1e-9

#: Estimators of columns that are not negative, and of columns of one scale.
OF_POSITIVE = ("MultinomialNB", "ComplementNB", "GammaRegressor", "PoissonRegressor")
OF_SCALED = (
    *("KernelRidge", "MLPRegressor", "MLPClassifier", "SGDClassifier"),
    "RadiusNeighborsClassifier",
)

MULTI_CLASSIFIERS = [
    DecisionTreeClassifier(max_depth=4, random_state=0),
    ensemble.RandomForestClassifier(6, random_state=0),
    ensemble.ExtraTreesClassifier(5, max_depth=4, random_state=0),
    KNeighborsClassifier(4, weights="distance"),
    MLPClassifier((4,), max_iter=100, random_state=0),
    OneVsRestClassifier(LogisticRegression()),
    OneVsRestClassifier(SVC()),
    MultiOutputClassifier(GaussianNB()),
    MultiOutputClassifier(DecisionTreeClassifier(max_depth=3, random_state=0)),
    ClassifierChain(LogisticRegression(), order="random", random_state=0),
]

MULTI_REGRESSORS = [
    LinearRegression(),
    Ridge(0.3),
    DecisionTreeRegressor(max_depth=4, random_state=0),
    ensemble.RandomForestRegressor(6, random_state=0),
    KNeighborsRegressor(4, weights="distance"),
    GaussianProcessRegressor(alpha=0.1, optimizer=None),
    MLPRegressor(hidden_layer_sizes=(4,), max_iter=100, random_state=0),
    MultiOutputRegressor(ensemble.GradientBoostingRegressor(n_estimators=4, random_state=0)),
    RegressorChain(Ridge(), order="random", random_state=0),
]


def _boosters(classifier: bool) -> list:
    import catboost
    import lightgbm
    import xgboost

    light: dict[str, Any] = {"n_estimators": 4, "verbose": -1, "min_child_samples": 5, "n_jobs": 1}
    cat: dict[str, Any] = {
        "n_estimators": 4,
        "depth": 3,
        "verbose": 0,
        "allow_writing_files": False,
    }
    xgb: dict[str, Any] = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1}
    if classifier:
        return [
            lightgbm.LGBMClassifier(**light),
            catboost.CatBoostClassifier(**cat, thread_count=1),
            xgboost.XGBClassifier(**xgb),
        ]
    return [
        lightgbm.LGBMRegressor(**light),
        catboost.CatBoostRegressor(**cat, thread_count=1),
        xgboost.XGBRegressor(**xgb),
    ]


@dataclass(frozen=True)
class Drawn:
    """A stack that was drawn, not fitted, with its data.

    Attributes
    ----------
    seed : int
    task : str
        One of ``TASKS``.
    estimator : estimator
        A stack, or something around one.
    X, y : array-like
        To fit on.
    rows : array-like
        To compare on; the estimator has not seen them.
    precision : {"float64", "float32"}
    ending : str or None
        Of the file that is written, if one is.
    """

    seed: int
    task: str
    estimator: Any
    X: Any
    y: np.ndarray
    rows: Any
    precision: str
    ending: str | None


class Draw:
    """Choices from a seed.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)

    def of(self, things) -> Any:
        """Return one of some things."""
        return things[int(self.random.integers(len(things)))]

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.random.uniform() < probability)


def draw(seed: int) -> Drawn:
    """Return the stack of a seed."""
    choice = Draw(seed)
    task = TASKS[seed % len(TASKS)]
    framed = choice.chance(0.4)
    with_missing = framed and choice.chance(0.6)
    X: Any = _frame(choice, with_missing) if framed else _table(choice)
    y = _target(choice, task, X)
    prepare = _columns(choice, X, with_missing) if framed else None
    estimator = _stack(choice, task, prepare, X)
    estimator = _around(choice, task, prepare, estimator)
    precision = "float32" if choice.chance(0.15) else "float64"
    endings: list[str | None] = [".keras", "", ".onnx", ".tflite", ".xml"]
    ending = choice.of(endings[:3] if framed else endings) if choice.chance(0.25) else None
    if ending in (".tflite", ".xml"):
        precision = "float32"
    rows = X.iloc[N_TRAIN:] if framed else X[N_TRAIN:]
    first = X.iloc[:N_TRAIN] if framed else X[:N_TRAIN]
    return Drawn(seed, task, estimator, first, y[:N_TRAIN], rows, precision, ending)


# ---------------------------------------------------------------------------- data


def _table(choice: Draw) -> np.ndarray:
    """Return numbers: of any scale, in steps (so that rows are equal and lie on ties), or whole."""
    n_columns = int(choice.random.integers(3, 8))
    X = choice.random.normal(size=(N_TRAIN + N_HELD_OUT, n_columns))
    X *= 10.0 ** choice.random.integers(-1, 2, n_columns)
    kind = choice.of(["any", "steps", "whole", "float32"])
    if kind == "steps":
        X[:, ::2] = np.round(X[:, ::2], 1)
    if kind == "whole":
        X[:, 0] = np.round(X[:, 0] * 3)
    return X.astype(np.float32).astype(np.float64) if kind == "float32" else X


def _frame(choice: Draw, with_missing: bool) -> pd.DataFrame:
    """Return columns of numbers, strings, categories and truth values, some of them missing."""
    n_rows = N_TRAIN + N_HELD_OUT
    random = choice.random
    words = np.array(["S", "C", "Q", "", "é ü"], object)
    frame = pd.DataFrame(
        {
            "age": random.normal(30, 9, n_rows),
            "fare": random.lognormal(2, 1, n_rows),
            "port": random.choice(words, n_rows, p=[0.5, 0.2, 0.2, 0.05, 0.05]),
            "deck": pd.Categorical(random.choice(list("abcd"), n_rows)),
            "rank": random.integers(1, 4, n_rows),
            "alone": random.uniform(size=n_rows) < 0.5,
        }
    )
    if with_missing:
        frame.loc[random.uniform(size=n_rows) < 0.2, "age"] = np.nan
        frame.loc[random.uniform(size=n_rows) < 0.2, "port"] = None
    kept = ["age", "fare", "port", *(n for n in ("deck", "rank", "alone") if choice.chance(0.7))]
    if choice.chance(0.15):
        kept.remove("port")
    return frame[kept]


def _target(choice: Draw, task: str, X) -> np.ndarray:
    """Return a target that the columns tell something about."""
    numbers = X
    if isinstance(X, pd.DataFrame):
        ages = X["age"].fillna(25).to_numpy()
        third = X.iloc[:, 2] if X.shape[1] > 2 else X["fare"]
        numbers = np.column_stack([ages - 30, X["fare"], (third == "S") * 9.0])
    numbers = (numbers - numbers.mean(axis=0)) / np.maximum(numbers.std(axis=0), 1e-9)
    random = choice.random
    n_outputs = {"multiclass": 3, "multilabel": 3, "multioutput": 2}.get(task, 1)
    scores = np.sin(numbers @ random.normal(size=(numbers.shape[1], n_outputs)))
    scores += 0.3 * random.normal(size=scores.shape)
    if task == "regression":
        return 50 + 20 * scores[:, 0] if choice.chance(0.8) else np.exp(scores[:, 0])
    if task == "multioutput":
        return scores * [1.0, 30.0]
    if task == "multilabel":
        return (scores > 0).astype(int)
    classes = (scores[:, 0] > 0).astype(int) if task == "binary" else scores.argmax(axis=1)
    names = [np.array([10, 3, 7]), np.array(["yes", "no", "né"], object), np.arange(3)]
    if task == "binary":
        names.append(np.array([False, True]))
    return choice.of(names)[classes]


# ---------------------------------------------------------------------------- preprocessing


def _columns(choice: Draw, X: pd.DataFrame, with_missing: bool) -> Callable[[], Any]:
    """Return a function that makes numbers of a frame."""
    words = [n for n in X.columns if n in ("port", "deck", "rank", "alone")]
    numbers = [n for n in X.columns if n not in words]
    fill = SimpleImputer(strategy=choice.of(["mean", "median"]), add_indicator=choice.chance(0.5))

    def prepare():
        encoder = choice.of(
            [
                OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                OneHotEncoder(
                    min_frequency=5, handle_unknown="infrequent_if_exist", sparse_output=False
                ),
                OneHotEncoder(drop="if_binary", handle_unknown="ignore", sparse_output=False),
                OrdinalEncoder(
                    handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
                ),
            ]
        )
        scaler = choice.of([StandardScaler(), MinMaxScaler(), "passthrough", RobustScaler()])
        if with_missing:
            scaler = make_pipeline(clone(fill), scaler)
        parts = [("words", encoder, words), ("numbers", scaler, numbers)]
        if choice.chance(0.3):
            return ColumnTransformer(parts[:1], remainder=scaler, sparse_threshold=0)
        return ColumnTransformer(parts, sparse_threshold=0)

    return prepare


def _step(choice: Draw, task: str) -> Any:
    """Return a transformer of a table of numbers."""
    several = task in ("multilabel", "multioutput")
    return choice.of(
        [
            *(StandardScaler() for _ in range(4)),
            MinMaxScaler((-1, 2), clip=True),
            MaxAbsScaler(),
            RobustScaler(),
            PCA(2),
            PCA(0.9, whiten=True),
            TruncatedSVD(2, random_state=0),
            VarianceThreshold() if several else SelectKBest(k=2),
            VarianceThreshold(),
            FunctionTransformer(np.tanh),
            FeatureUnion([("pca", PCA(2)), ("scaled", StandardScaler())]),
            ColumnTransformer([("first", StandardScaler(), [0, 1])], remainder="passthrough"),
            ColumnTransformer([("first", PCA(1), slice(2)), ("last", "passthrough", [-1])]),
            Normalizer(),
            PolynomialFeatures(2),
            PowerTransformer(),
            QuantileTransformer(n_quantiles=20),
            SplineTransformer(4),
            KBinsDiscretizer(3, encode="onehot-dense", quantile_method="averaged_inverted_cdf"),
        ]
    )


# ---------------------------------------------------------------------------- stacks


def _network(choice: Draw, task: str) -> Any:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 32, "random_state": 0}
    if task in ("regression", "multioutput"):
        return sf.KerasRegressor(build_regressor, units=4, **settings)
    if task == "multilabel" or (task == "binary" and choice.chance(0.4)):
        return sf.KerasClassifier(build_sigmoid, logits=choice.chance(0.3), **settings)
    dropout = choice.of([0.0, 0.3])
    return sf.KerasClassifier(build_classifier, units=4, dropout=dropout, **settings)


def _plain(choice: Draw, task: str) -> Any:
    """Return an estimator of a table of numbers, seldom a network."""
    if choice.chance(0.12):
        return _network(choice, task)
    if task == "multilabel":
        return choice.of(MULTI_CLASSIFIERS)
    if task == "multioutput":
        return choice.of(MULTI_REGRESSORS)
    if task == "regression":
        return choice.of(
            [
                *(r for r in (*REGRESSORS, *FAMILY_REGRESSORS) if _is_small(r)),
                *_boosters(classifier=False),
                ensemble.VotingRegressor([("ridge", Ridge()), ("tree", MULTI_REGRESSORS[2])]),
                ensemble.BaggingRegressor(Ridge(), 4, max_samples=0.5, random_state=0),
                ensemble.AdaBoostRegressor(n_estimators=4, random_state=0),
                TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
                DummyRegressor(),
            ]
        )
    return choice.of(
        [
            *(c for c in (*CLASSIFIERS, *FAMILY_CLASSIFIERS) if _is_small(c)),
            *_boosters(classifier=True),
            ensemble.VotingClassifier(
                [("nb", GaussianNB()), ("lr", LogisticRegression())], voting="soft"
            ),
            ensemble.BaggingClassifier(max_features=0.7, n_estimators=4, random_state=0),
            ensemble.AdaBoostClassifier(n_estimators=4, random_state=0),
            CalibratedClassifierCV(GaussianNB(), cv=2, method=choice.of(["sigmoid", "isotonic"])),
            OneVsOneClassifier(LogisticRegression()),
            OneVsRestClassifier(DecisionTreeClassifier(max_depth=3, random_state=0)),
            GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2, 4]}, cv=2),
            DummyClassifier(),
        ]
    )


def _is_small(estimator) -> bool:
    """Leave out what asks for a number of columns, trains long, or leaves rows unpredicted."""
    said = repr(estimator)
    return "length_scale=[" not in said and not isinstance(
        estimator, sf.FusionClassifier | sf.FusionRegressor | RadiusNeighborsRegressor
    )


def _base(choice: Draw, task: str, prepare) -> Any:
    """Return a base for a stack's X: with the steps that make X what it takes."""
    plain = clone(_plain(choice, task))
    name = type(plain).__name__
    steps = [] if prepare is None else [prepare()]
    if name in OF_POSITIVE:
        steps.append(MinMaxScaler(clip=True))
    elif name in OF_SCALED:
        steps.append(StandardScaler())
    elif choice.chance(0.4):
        steps.append(clone(_step(choice, task)))
    return make_pipeline(*steps, plain) if steps else plain


def _final(choice: Draw, task: str) -> Any:
    """Return a meta-learner."""
    seed: dict[str, Any] = {"random_state": 0}
    if task in ("regression", "multioutput"):
        ours = [
            None,
            sf.ConvexRegressor(),
            sf.GreedyRegressor(n_rounds=5, **seed),
            sf.BestRegressor(),
            sf.FusionRegressor(
                choice.of(["dense", "average", "weighted", "attention"]), epochs=2, **seed
            ),
        ]
    else:
        ours = [
            None,
            sf.ConvexClassifier(link=choice.of(["identity", "logit"])),
            sf.ConvexClassifier(per_class=True),
            sf.GreedyClassifier(n_rounds=5, **seed),
            sf.BestClassifier(),
            sf.FusionClassifier(
                choice.of(["dense", "average", "weighted", "multiply", "geometric", "attention"]),
                epochs=2,
                **seed,
            ),
        ]
    if choice.chance(0.4):
        return choice.of(ours)
    plain = clone(_plain(choice, task))
    if type(plain).__name__ in OF_POSITIVE:
        return make_pipeline(MinMaxScaler(clip=True), plain)
    return make_pipeline(StandardScaler(), plain) if choice.chance(0.3) else plain


def _stack(choice: Draw, task: str, prepare, X: Any, depth: int = 0) -> Any:
    """Return a stack, ours or scikit-learn's, of some bases, which may be stacks."""
    classify = task not in ("regression", "multioutput")
    n_bases = int(choice.random.integers(1, 5))
    bases = [(f"base{k}", _base(choice, task, prepare)) for k in range(n_bases)]
    if depth == 0 and choice.chance(0.2):
        bases.append(("nested", _stack(choice, task, prepare, X, depth=1)))
    if choice.chance(0.15):
        bases.insert(0, ("gone", "drop"))
    settings: dict[str, Any] = {"cv": choice.of([2, 3])}
    if choice.chance(0.2) and isinstance(X, np.ndarray):
        settings["passthrough"] = True
    by_label = classify and choice.chance(0.1)
    if by_label:
        settings["stack_method"] = "predict"
    final = _plain(choice, task) if by_label else _final(choice, task)
    theirs = ensemble.StackingClassifier if classify else ensemble.StackingRegressor
    by_outer_folds = any(getattr(base, "cv", None) == "outer" for _, base in bases)
    if choice.chance(0.1) and task in TASKS[:3] and _is_theirs(final) and not by_outer_folds:
        return theirs(bases, final, **settings)
    by_label = by_label or not all(_has_scores(base) for _, base in bases)
    if choice.chance(0.2) and not by_label:  # labels cannot be averaged
        settings["refit"] = False
    if choice.chance(0.1) and not by_label:
        settings["cv"] = ShuffleSplit(3, test_size=0.4, random_state=0)
    elif depth and choice.chance(0.3):
        settings["cv"] = "outer"
    if by_outer_folds:
        settings["cv"] = 3  # a fold of the others has to be left
    if choice.chance(0.15):
        columns = ["age", "fare"] if hasattr(X, "columns") else [0, -1]
        ages = X["age"] if hasattr(X, "columns") else X[:, 0]
        if not np.isnan(ages).any():
            settings["passthrough"] = columns
    if choice.chance(0.1):
        settings["on_error"] = "drop"
        failing = SVC(C=-1.0) if classify else Ridge(alpha=-1.0)
        if task in ("multilabel", "multioutput"):
            failing = OneVsRestClassifier(failing) if classify else failing
        bases.append(("failing", failing))
    if _only_combines(final):
        settings["passthrough"] = False
        said = _has_probabilities if task == "multilabel" else _has_scores
        if not all(said(base) for _, base in bases):
            final = MULTI_CLASSIFIERS[0] if task == "multilabel" else None
    ours = sf.StackingClassifier if classify else sf.StackingRegressor
    return ours(bases, final, random_state=0, **settings)


def _is_theirs(final) -> bool:
    """Whether scikit-learn's stack takes a meta-learner: ours want to be told of columns."""
    return final is None or not type(final).__module__.startswith("stackfuse")


def _only_combines(final) -> bool:
    """Whether a meta-learner takes nothing but predictions."""
    if isinstance(final, sf.FusionClassifier | sf.FusionRegressor):
        return final.fusion != "attention"
    return not _is_theirs(final)


def _has_scores(base) -> bool:
    """Whether a base, which may be dropped, predicts more than labels."""
    regresses = base != "drop" and is_regressor(base)
    return regresses or _has_probabilities(base) or hasattr(base, "decision_function")


def _has_probabilities(base) -> bool:
    return base == "drop" or hasattr(base, "predict_proba")


def _around(choice: Draw, task: str, prepare, stack) -> Any:
    """Return a stack, or something that holds one."""
    if choice.chance(0.75):
        return stack
    classify = task not in ("regression", "multioutput")
    nests_by_outer_folds = stack.get_params().get("nested__cv") == "outer"
    options: list[Callable[[], Any]] = [
        lambda: GridSearchCV(stack, {"cv": [3 if nests_by_outer_folds else 2]}, cv=2),
    ]
    if prepare is None:
        options.append(lambda: make_pipeline(_step(choice, task), stack))
    if task in ("binary", "multiclass"):
        options.append(lambda: CalibratedClassifierCV(stack, cv=2, ensemble=choice.chance(0.5)))
        options.append(
            lambda: ensemble.VotingClassifier([("stack", stack), ("prior", DummyClassifier())])
        )
    if not classify:
        options.append(lambda: TransformedTargetRegressor(stack, transformer=StandardScaler()))
    return choice.of(options)()


# ---------------------------------------------------------------------------- what becomes of them


@dataclass(frozen=True)
class Outcome:
    """The outcome of a stack that was drawn.

    Attributes
    ----------
    kind : {"agrees", "agrees to 1e-5", "refused", "not fitted"}
    reason : str
        Why it is not just "agrees".
    difference : float
        The largest of probabilities, decisions or predictions on held-out rows.
    exact : bool
        Whether stack and graph both compute in float64.
    """

    kind: str
    reason: str = ""
    difference: float = 0.0
    exact: bool = False


def outcome_of(drawn: Drawn, folder: Path) -> Outcome:
    """Fit and export a stack, and compare it with its graph and its file.

    Raises
    ------
    AssertionError, ParityError, or any other but NotConvertible
        If the graph disagrees, or there is another error than a refusal.
    """
    # Where others use the cores too, the threads of trees wait for each other most of the time.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # of linear models that do not converge, and the like
        try:
            stack = clone(drawn.estimator).fit(drawn.X, drawn.y)
        except ValueError as error:
            return Outcome("not fitted", str(error))
        try:
            return _exported(stack, drawn, folder)
        except sf.NotConvertible as error:
            return Outcome("refused", str(error))


def _exported(stack, drawn: Drawn, folder: Path) -> Outcome:
    """Export a fitted stack, and compare it."""
    narrow = drawn.precision == "float32"
    rows = _round_to_float32(drawn.rows) if narrow else drawn.rows
    graph = _graph.build_graph(stack, rows, Build(drawn.precision))
    outputs = answers.run_in_batches(graph, graph.signature.feed(rows))
    exact = not narrow and not any(map(is_narrow, parts_of(stack)))
    # Before export sees it, which would refuse what disagrees.
    reason = why_not_exact(stack, rows, outputs) if exact else ""
    try:
        checked(stack, rows, graph, drawn.precision)
    except sf.ParityError as error:
        if exact and not reason:
            raise
        reason = reason or why_not_in_float32(stack, rows, outputs)
        return Outcome("refused", f"{reason}: {error}")
    path = folder / f"stack{drawn.ending}"
    if drawn.ending is not None:
        try:
            sf.export(stack, path, verify=rows, precision=drawn.precision)
        except sf.ParityError as error:
            if drawn.ending in (".keras", ""):  # TensorFlow again, in which the graph was right
                raise
            # onnxruntime sorts and takes logarithms in float32 whatever it is given.
            return Outcome("refused", f"{drawn.ending}: the runtime has too few digits: {error}")
    tolerance = 1e-3 if narrow else 1e-5  # what export promises
    difference = compare(stack, rows, outputs, tolerance)
    if not narrow:  # else what lies close to a threshold may fall to its other side
        compare_one_by_one(stack, spoilt(rows), graph, tolerance)
    if drawn.ending is not None:
        fed = graph.signature.feed(rows)
        compare(stack, rows, _inspect.outputs_of(path, fed), tolerance)
    return Outcome("agrees to 1e-5" if reason else "agrees", reason, difference, exact)


def checked(stack, rows, graph, precision: str) -> None:
    """Compare a graph with a stack as export does, on all kinds of made-up rows too."""
    by_default = RowsToCompare.of(stack, None, rows)
    made_up = None if by_default is None else by_default.rows
    comparison = Comparison.of(stack, RowsToCompare(rows, made_up), graph, precision)
    comparison.check(answers.run_in_batches(graph, comparison.inputs), what="The graph")


def why_not_exact(stack, rows, outputs: dict[str, np.ndarray]) -> str:
    """Return why the outputs of a graph in float64 are not exact; an empty string if they are.

    Raises
    ------
    AssertionError
        If they are much further off than the stack itself moves by last digits of its parts.
    """
    expected = answers.expected_outputs(stack, rows)
    for name in expected.keys() - {"label"}:
        wanted, got = expected[name], outputs[name]
        same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
        difference = np.where(same, 0.0, np.abs(got - wanted)).max()
        scale = 1.0 if name.startswith("probabilities") else np.nanmax(np.abs(wanted))
        if not difference <= EXACT * scale:
            moved = own_movement(stack, rows, name)
            assert difference <= 16 * moved, (
                f"{name!r} is off by {difference:.1e}, the stack moves only {moved:.1e}"
            )
            return (
                f"off by {difference:.1e}; last digits of its parts move the stack by {moved:.1e}"
            )
    if "label" in expected:
        assert_array_equal(outputs["label"], expected["label"])
    return ""


def why_not_in_float32(stack, rows, outputs: dict[str, np.ndarray]) -> str:
    """Return that it is float32 alone that is to blame for outputs that disagree.

    What computes in float32 answers as its own graph does, which has to be close to it; then stack
    and graph have nothing left to differ by, however much the meta-learner makes of a digit.

    Raises
    ------
    AssertionError, ParityError
        If it is not.
    """
    with answering_by_graphs(stack):
        wide = _graph.build_graph(stack, rows, Build("float64"))
        reason = why_not_exact(stack, rows, answers.run_in_batches(wide, wide.signature.feed(rows)))
        if not reason:
            checked(stack, rows, wide, "float64")
    for name, wanted in answers.expected_outputs(stack, rows).items():
        if name != "label" and not reason:  # what is wrong, not narrow, is so in most rows
            size = np.abs(outputs[name] - wanted).reshape(len(wanted), -1).max(axis=1)
            assert np.median(size) <= 0.05 * max(1.0, np.abs(wanted).max()), (name, size)
    return (
        f"float32 has too few digits, and float64, {reason}"
        if reason
        else ("float32 has too few digits")
    )


def compare(stack, rows, outputs: dict[str, np.ndarray], tolerance: float) -> float:
    """Compare a graph's outputs with a stack's own methods; return the largest difference.

    Probabilities may differ by the tolerance, decisions and regressions by as much of the largest,
    labels not at all.
    """
    largest = 0.0
    for name, method in (
        ("probabilities", "predict_proba"),
        ("decision", "decision_function"),
        ("prediction", "predict"),
    ):
        if name in outputs:
            wanted = np.asarray(getattr(stack, method)(rows))
            scale = 1.0 if name == "probabilities" else np.abs(wanted).max()
            assert_allclose(outputs[name], wanted, rtol=0, atol=tolerance * scale)
            largest = float(np.abs(outputs[name] - wanted).max() / scale)
    if "label" in outputs:
        predicted, label = np.asarray(stack.predict(rows)), outputs["label"]
        named = label if predicted.ndim == 2 else np.asarray(stack.classes_)[label]
        assert_array_equal(named, predicted)
    return largest


def spoilt(rows) -> Any:
    """Return some rows that lack a number each, and of a frame one with an unknown word."""
    if not hasattr(rows, "columns"):
        made = rows[:4].copy()
        made[np.arange(4), np.arange(4) % made.shape[1]] = np.nan
        return made
    made = rows[:4].copy()
    made.iloc[0, 0] = made.iloc[1, 1] = np.nan
    if "port" in made:
        made.iloc[2, made.columns.get_loc("port")] = "nowhere"
        made.iloc[3, made.columns.get_loc("port")] = None
    return made


def compare_one_by_one(stack, rows, graph, tolerance: float) -> None:
    """Compare row by row: where the stack raises, the graph must say NaN, and -1 for a label."""
    outputs = answers.run_in_batches(graph, graph.signature.feed(rows))
    name = "label" if "label" in outputs else "prediction"
    for k in range(len(rows)):
        got = outputs[name][k]
        try:
            wanted = np.asarray(stack.predict(rows[k : k + 1]))[0]
        except ValueError:
            for key, y in outputs.items():
                assert np.all(y[k] == -1 if key == "label" else np.isnan(y[k])), (key, k, y[k])
            continue
        if name == "label":
            wanted = wanted if np.ndim(got) else np.searchsorted(stack.classes_, wanted)
            assert_array_equal(got, wanted)
        else:
            assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())


def tally(n_stacks: int, first: int = 0, ending: str | None = None) -> tuple[int, str]:
    """Try many stacks.

    Parameters
    ----------
    n_stacks, first : int
        How many seeds, and the first of them.
    ending : str, default=None
        Of the file that every stack is exported to. By default some are, to a drawn format.

    Returns
    -------
    n_wrong : int
        Stacks that neither agree nor are refused.
    text : str
        What became of all, and why of those that were refused.
    """
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    wrong = []
    largest = 0.0
    started = time.perf_counter()
    for seed in range(first, first + n_stacks):
        drawn = draw(seed)
        if ending is not None:
            drawn = replace(drawn, ending=ending)
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcome = outcome_of(drawn, Path(folder))
            except Exception as error:  # whatever it is: it is the third outcome
                said = " ".join(f"{type(error).__name__}: {error}".split())
                outcome = Outcome("wrong")
                wrong.append(f"seed {seed} ({drawn.task}, {drawn.ending}): {said[:600]}")
        counts[outcome.kind] += 1
        largest = max(largest, outcome.difference if outcome.exact else 0.0)
        if outcome.reason:
            whose = f" (seed {seed})" if outcome.kind == "agrees to 1e-5" else ""
            reasons[f"{outcome.kind}{whose}: {' '.join(outcome.reason.split())[:140]}"] += 1
    seconds = time.perf_counter() - started
    told = [
        f"{n_stacks} stacks from seed {first} in {seconds:.0f} s: {dict(counts)}",
        f"largest difference where all is float64: {largest:.1e}",
        *(f"{count:4d} {reason}" for reason, count in reasons.most_common()),
        *wrong,
    ]
    return len(wrong), "\n".join(told)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Try random stacks.")
    parser.add_argument("n_stacks", type=int, nargs="?", default=500)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("--ending", help="export every stack to this format, for example .onnx")
    n_wrong, text = tally(**vars(parser.parse_args()))
    sys.stdout.write(f"{text}\n")
    sys.exit(min(n_wrong, 1))
