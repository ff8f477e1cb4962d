"""Rows that scikit-learn refuses: the graph says NaN and -1, whatever lies behind the refusal."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import NuSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import stackfuse as sf
from stackfuse._cli import inspect as _inspect
from stackfuse._export.graph.build import (
    Build,
    building,
    current_build,
)
from stackfuse._export.graph.convert import convert
from stackfuse._export.graph.graph import build_graph
from tests.support.cases import (
    CLASSIFIERS,
    FAMILY_CLASSIFIERS,
    FAMILY_REGRESSORS,
    REGRESSORS,
    name,
)
from tests.support.networks import build_classifier

ENDINGS = [".keras", "", ".onnx", ".tflite", ".xml"]

TREE = DecisionTreeClassifier(max_depth=3, random_state=0)
HIST = HistGradientBoostingClassifier(max_iter=3)  # takes any number

#: The first float64 that becomes infinite in float32.
FIRST_TOO_LARGE = float(np.finfo(np.float32).max) + 2.0**103

#: Rows with infinite numbers, and with numbers on both sides of what float32 holds.
EXTREMES = np.random.default_rng(1).uniform(0.1, 3, (10, 5))
EXTREMES[[0, 1, 2, 3], [0, 4, 2, 0]] = [np.inf, -np.inf, np.inf, np.inf]
EXTREMES[[2, 3], [1, 1]] = [np.nan, -np.inf]
EXTREMES[[4, 5, 6], [1, 2, 3]] = [1e39, -1e39, FIRST_TOO_LARGE]
EXTREMES[7, 3] = np.nextafter(FIRST_TOO_LARGE, 0)

#: Estimators that take missing values, but not infinite ones.
TRANSFORMERS = [
    StandardScaler(),
    RobustScaler(),
    MinMaxScaler(clip=True),
    MaxAbsScaler(),
    QuantileTransformer(n_quantiles=9),
    PowerTransformer(),
    SimpleImputer(),
    KNNImputer(),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    FunctionTransformer(np.log1p),
    FunctionTransformer(validate=True),
    KBinsDiscretizer(3, encode="ordinal"),
    SimpleImputer(missing_values=-1),
    MissingIndicator(missing_values=-1, features="all"),
]

#: A step that may see a missing value, and behind it one that may not.
COMPOSED = [
    make_pipeline(PCA(3), TREE),
    make_pipeline(StandardScaler(), TREE),
    make_pipeline(SelectKBest(k=4), TREE),
    make_pipeline(FeatureUnion([("pca", PCA(1)), ("all", "passthrough")]), TREE),
    make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(FunctionTransformer(np.tanh), TREE),
    make_pipeline(ColumnTransformer([("pca", PCA(1), [0, 1])], remainder="passthrough"), TREE),
    VotingClassifier([("tree", TREE), ("nb", GaussianNB())]),
    VotingClassifier([("tree", TREE), ("hist", HistGradientBoostingClassifier(max_iter=3))]),
    AdaBoostClassifier(TREE, n_estimators=3, random_state=0),
    BaggingClassifier(TREE, 3, random_state=0),
    BaggingClassifier(GaussianNB(), 3, random_state=0),
    BaggingClassifier(GaussianNB(), 2, max_features=1, random_state=0),  # looks at two columns
    BaggingClassifier(TREE, 2, max_features=1, random_state=0),
    CalibratedClassifierCV(TREE, cv=2),
    OneVsRestClassifier(TREE),
    OneVsOneClassifier(TREE),
    OutputCodeClassifier(TREE, random_state=0),
    SelfTrainingClassifier(TREE),
    sf.StackingClassifier([("tree", TREE)], TREE, cv=2, random_state=0),
    sf.StackingClassifier([("tree", TREE)], TREE, cv=2, passthrough=True, random_state=0),
    sf.StackingClassifier([("tree", TREE), ("nb", GaussianNB())], TREE, cv=2, random_state=0),
    sf.KerasClassifier(build_classifier, random_state=0),
]


def assert_refused_alike(estimator, rows):
    """Compare each row alone: the same numbers, or an error here and NaN and -1 there.

    The numbers for a row far beyond all others are accidents of rounding: there are some.
    """
    got = {key: np.asarray(y) for key, y in sf.to_keras(estimator)(rows).items()}
    n_refused = 0
    for k in range(len(rows)):
        row = rows[k : k + 1]
        try:
            wanted = estimator.predict(row)
        except ValueError:
            n_refused += 1
            for key, y in got.items():
                assert np.all(y[k] == -1 if key == "label" else np.isnan(y[k])), (key, k)
            continue
        if np.any(np.isfinite(row) & (np.abs(row) > 1e38)):
            assert "label" not in got or np.all(got["label"][k] >= 0), k
            continue
        if "label" in got:
            label = got["label"][k]
            wanted_label = wanted[0] if label.ndim else np.searchsorted(estimator.classes_, wanted)
            assert_array_equal(label, np.squeeze(wanted_label))
        else:
            assert_allclose(got["prediction"][k], wanted[0], rtol=1e-9, atol=1e-9)
    return n_refused


@pytest.fixture(scope="module")
def data():
    """Return X and three classes, and rows: five with one NaN each, one of NaN, five without."""
    random = np.random.default_rng(0)
    X = random.uniform(0.1, 3, (90, 5))
    y = np.argmax(X[:, :3] + random.normal(size=(90, 3)) / 2, axis=1)
    rows = random.uniform(0.1, 3, (11, 5))
    rows[np.arange(5), np.arange(5)] = np.nan
    rows[5] = np.nan
    return X, y, rows


@pytest.mark.filterwarnings("ignore")  # of models that do not converge
@pytest.mark.parametrize("classifier", [*CLASSIFIERS, *FAMILY_CLASSIFIERS, *COMPOSED], ids=name)
def test_missing_infinite_and_large_values(data, classifier):
    X, y, rows = data
    assert_refused_alike(clone(classifier).fit(X, y), np.vstack([rows, EXTREMES]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "regressor",
    [r for r in (*REGRESSORS, *FAMILY_REGRESSORS) if "length_scale=[" not in str(r)],
    ids=name,
)
def test_regressors(data, regressor):
    X, y, rows = data
    assert_refused_alike(clone(regressor).fit(X, y + X[:, 0]), np.vstack([rows, EXTREMES]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=name)
def test_transformers_before_what_takes_any_number(data, transformer):
    X, y, rows = data
    model = make_pipeline(clone(transformer), DummyClassifier()).fit(X, y)
    n_refused = assert_refused_alike(model, np.vstack([rows, EXTREMES]))
    takes_any = isinstance(transformer, FunctionTransformer) and not transformer.validate
    takes_none = isinstance(transformer, KBinsDiscretizer) or (
        isinstance(transformer, FunctionTransformer) and transformer.validate
    )
    takes_none |= getattr(transformer, "missing_values", None) == -1
    assert n_refused == (0 if takes_any else 10 if takes_none else 4)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
def test_trees_refuse_what_float32_does_not_hold(data):
    X, y, _ = data
    tree = clone(TREE).fit(X, y)
    assert assert_refused_alike(tree, EXTREMES) == 7
    label = np.asarray(sf.to_keras(tree)(EXTREMES)["label"])
    assert_array_equal(label[:7], -1)
    assert_array_equal(label[7:], tree.predict(EXTREMES[7:]))


def test_several_labels(data):
    X, y, rows = data
    Y = np.column_stack([y == 0, y == 1, X[:, 0] > 1]).astype(int)
    for model in (MultiOutputClassifier(GaussianNB()), ClassifierChain(GaussianNB()), TREE):
        n_refused = assert_refused_alike(clone(model).fit(X, Y), rows)
        assert n_refused == (0 if model is TREE else 6)


def test_what_takes_a_number_pays_nothing_for_it(data):
    X, y, _ = data
    infinite, large, missing = {"infinite"}, {"infinite", "too large"}, {"missing", "infinite"}
    for model, wanted in (
        (HIST, []),
        (TREE, [large]),
        (make_pipeline(StandardScaler(), TREE), [infinite, large]),
        (LogisticRegression(), [missing]),
    ):
        with building(Build()):
            convert(model.fit(X, y), keras_input(X), "predict_proba")
            assert [refusal.numbers for refusal in with_masks()] == wanted


def test_what_was_asked_once_is_not_asked_again(data):
    X, y, _ = data
    bases = [(f"nb{k}", GaussianNB()) for k in range(5)]
    stack = sf.StackingClassifier(bases, TREE, cv=2, random_state=0).fit(X, y)
    with building(Build()):
        convert(stack, keras_input(X), "predict_proba")
        of_bases, of_tree = with_masks()
        assert of_bases.numbers == {"missing", "infinite"}
        assert of_tree.numbers == {"too large", "infinite"}
    bagged = BaggingClassifier(LogisticRegression(), 3, random_state=0).fit(X, y)
    with building(Build()):
        convert(bagged, keras_input(X), "predict_proba")
        assert len(with_masks()) == 1


def with_masks():
    return [refusal for refusal in current_build().refused if refusal.mask is not None]


def keras_input(X):
    import keras

    return keras.Input(X.shape[1:], dtype="float64")


PEOPLE = pd.DataFrame(
    {
        "port": ["S", "C", "Q", "S", "C", "Q"] * 5,
        "rank": [1, 2, 3, 3, 2, 1] * 5,
        "age": np.linspace(20, 60, 30),
    }
)
SURVIVED = np.tile([0, 1, 1, 0, 1], 6)


@pytest.mark.parametrize("ending", [".keras", "", ".onnx"])
@pytest.mark.parametrize("encoder", [OneHotEncoder(drop="first"), OrdinalEncoder()], ids=name)
def test_unknown_categories_before_trees(encoder, ending, tmp_path):
    """A tree takes NaN as well as any number: without the mask it would answer."""

    def columns():
        parts = [("words", clone(encoder), ["port", "rank"])]
        return ColumnTransformer(parts, remainder="passthrough", sparse_threshold=0)

    bases = [
        ("trees", make_pipeline(columns(), RandomForestClassifier(5, random_state=0))),
        ("hist", make_pipeline(columns(), HistGradientBoostingClassifier(max_iter=3))),
    ]
    stack = sf.StackingClassifier(bases, TREE, cv=2, random_state=0).fit(PEOPLE, SURVIVED)
    path = tmp_path / f"stack{ending}"
    sf.export(stack, path, verify=PEOPLE)
    rows = PEOPLE[:6].copy()
    rows["port"] = ["S", "X", "", "Q", "C", None]
    rows["rank"] = [1, 2, 2, 9, 3, 1]
    fed = {name: rows[[name]].fillna("<NA>").to_numpy() for name in rows}
    got = _inspect.outputs_of(path, fed)
    assert_array_equal(got["label"][[0, 4]], stack.predict(rows.iloc[[0, 4]]))
    assert_allclose(got["probabilities"][[0, 4]], stack.predict_proba(rows.iloc[[0, 4]]))
    assert_array_equal(got["label"][[1, 2, 3, 5]], -1)
    assert np.isnan(got["probabilities"][[1, 2, 3, 5]]).all()
    for k in (1, 2, 3, 5):
        with pytest.raises(ValueError, match="unknown categor"):
            stack.predict(rows.iloc[[k]])


def test_missing_words_before_an_imputer_of_another_word():
    """An unknown category would do as well as any: without the mask a tree would answer."""
    impute = SimpleImputer(missing_values="Q", strategy="most_frequent")
    words = make_pipeline(impute, OneHotEncoder(handle_unknown="ignore"))
    columns = ColumnTransformer([("words", words, ["port"]), ("age", "passthrough", ["age"])])
    model = make_pipeline(columns, HIST).fit(PEOPLE, SURVIVED)
    rows = PEOPLE.head(4).assign(port=["Q", np.nan, "nowhere", "S"])
    graph = build_graph(model, rows, Build())
    found = np.asarray(graph(graph.signature.feed(rows))["probabilities"])
    assert_allclose(found[[0, 2, 3]], model.predict_proba(rows.iloc[[0, 2, 3]]), rtol=1e-12)
    assert np.isnan(found[1]).all()
    with pytest.raises(ValueError, match="NaN"):
        model.predict_proba(rows.iloc[[1]])


def test_a_category_that_is_dropped_must_be_known_too():
    frame = pd.DataFrame({"one": ["a"] * 4, "two": ["u", "v"] * 2})
    model = make_pipeline(OneHotEncoder(drop="first", sparse_output=False), TREE)
    graph = sf.to_keras(model.fit(frame, [0, 1, 0, 1]), X=frame)
    import tensorflow as tf

    fed = {"one": tf.constant([["a"], ["b"]]), "two": tf.constant([["v"], ["v"]])}
    assert_array_equal(graph(fed)["label"], [1, -1])


def test_categories_of_bayes():
    X = np.array([[0, 1], [1, 0], [2, 1], [0, 0]] * 3, float)
    model = make_pipeline(CategoricalNB()).fit(X, [0, 1, 1, 0] * 3)
    rows = np.array([[0, 1], [3, 0], [-1, 0], [np.nan, 0]])
    got = sf.to_keras(model)(rows)
    assert_array_equal(got["label"], [model.predict(rows[:1])[0], -1, -1, -1])
    assert_array_equal(np.isnan(got["probabilities"]).all(axis=1), [False, True, True, True])


def test_regressions_and_features():
    frame = PEOPLE[["port", "age"]]
    columns = ColumnTransformer([("w", OrdinalEncoder(), ["port"])], remainder="passthrough")
    model = make_pipeline(columns, DecisionTreeRegressor(random_state=0)).fit(frame, SURVIVED)
    import tensorflow as tf

    fed = {"port": tf.constant([["S"], ["X"]]), "age": tf.constant([[20.0], [20.0]], "float64")}
    got = np.asarray(sf.to_keras(model, X=frame)(fed)["prediction"])
    assert got[0] == model.predict(frame[:1])[0]
    assert np.isnan(got[1])
    features = np.asarray(sf.to_keras(columns.fit(frame), X=frame)(fed)["features"])
    assert_array_equal(features[0], [2.0, 20.0])
    assert np.isnan(features[1]).all()


def test_columns_that_are_not_selected_are_refused_too():
    import tensorflow as tf

    numbers = make_pipeline(SelectKBest(k=1), DummyClassifier())
    columns = ColumnTransformer(
        [("one", SelectKBest(k=1), ["rank", "age"]), ("port", OrdinalEncoder(), ["port"])]
    )
    model = make_pipeline(columns, DummyClassifier()).fit(PEOPLE, SURVIVED)
    rows = PEOPLE[:5].astype({"rank": float})
    rows.loc[0, "rank"], rows.loc[1, "age"], rows.loc[2, "rank"] = np.nan, np.inf, -np.inf
    fed = {name: tf.constant(rows[[name]].to_numpy()) for name in rows}
    label = np.asarray(sf.to_keras(model, X=PEOPLE)(fed)["label"])
    assert_array_equal(label < 0, [True, True, True, False, False])
    for k in range(3):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            model.predict(rows.iloc[[k]])
    table = PEOPLE[["rank", "age"]].to_numpy(float)
    assert assert_refused_alike(numbers.fit(table, SURVIVED), rows[["rank", "age"]].to_numpy()) == 3


def test_every_format_says_nan(data, tmp_path):
    X, y, rows = data
    stack = sf.StackingClassifier(
        [("tree", make_pipeline(PCA(3), TREE)), ("nb", GaussianNB())], cv=2
    )
    stack.fit(X, y)
    paths = [tmp_path / f"stack{ending}" for ending in ENDINGS]
    sf.export(stack, paths, verify=X)
    for path in paths:
        got = _inspect.outputs_of(path, {"x": rows})
        assert_array_equal(got["label"][:6], -1)
        assert_array_equal(got["label"][6:], stack.predict(rows[6:]))
        assert np.isnan(got["probabilities"][:6]).all()
        assert_allclose(got["probabilities"][6:], stack.predict_proba(rows[6:]), atol=1e-5)


def test_every_format_tells_numbers_that_are_too_large(data, tmp_path):
    X, y, _ = data
    bases = [("tree", make_pipeline(StandardScaler(), TREE)), ("forest", RandomForestClassifier(3))]
    stack = sf.StackingClassifier(bases, TREE, cv=2, random_state=0).fit(X, y)
    paths = [tmp_path / f"stack{ending}" for ending in ENDINGS]
    sf.export(stack, paths, verify=X)
    rows = X[:8].copy()
    rows[[0, 2, 3, 5], [0, 1, 4, 2]] = [np.inf, -np.inf, 1e39, -1e39]
    rows[6, 0] = np.nan
    taken = [1, 4, 6, 7]
    for path in paths:
        with np.errstate(over="ignore"):  # in formats that take float32
            got = _inspect.outputs_of(path, {"x": rows})
        assert_array_equal(got["label"][[0, 2, 3, 5]], -1)
        assert np.isnan(got["probabilities"][[0, 2, 3, 5]]).all()
        assert_array_equal(got["label"][taken], stack.predict(rows[taken]))
        assert_allclose(got["probabilities"][taken], stack.predict_proba(rows[taken]), atol=1e-6)


def test_several_inputs(data):
    X, y, _ = data
    rows = sf.MultiInput(left=X[:, :2], right=X[:, 2:])
    model = sf.KerasClassifier(build_pair, random_state=0).fit(rows, y)
    left, right = X[:6, :2].copy(), X[:6, 2:].copy()
    left[0, 0], right[1, 1], left[2, 1], right[3, 0] = np.nan, -np.inf, 1e39, -1e39
    label = np.asarray(sf.to_keras(model)({"left": left, "right": right})["label"])
    assert_array_equal(label, [-1] * 4 + list(model.predict(rows[4:6])))
    for k in range(4):
        with pytest.raises(ValueError, match="X\\["):
            model.predict(sf.MultiInput(left=left[k : k + 1], right=right[k : k + 1]))


def build_pair(meta):
    import keras

    left, right = keras.Input((2,), name="left"), keras.Input((3,), name="right")
    hidden = keras.layers.Concatenate()([left, right])
    return keras.Model([left, right], keras.layers.Dense(3, "softmax")(hidden))


@pytest.mark.parametrize("name", ["litert", "openvino"])
@pytest.mark.parametrize(
    "model", [GaussianNB(), NuSVC(kernel="poly"), make_pipeline(Normalizer(), LogisticRegression())]
)
def test_numbers_too_large_for_float32_in_between(model, name, iris, tmp_path):
    """A square of 1e20 is infinite in float32: the file has the stack's answer or none."""
    X, y = iris
    model = clone(model).fit(X, y)
    form = sf.formats.named(name)
    path = tmp_path / f"model{form.suffix}"
    sf.export(model, path, verify=False)
    far = np.repeat(X[::50], 2, axis=0).astype(np.float32)
    far[:, 1] = [1e30, -1e30, 1e20, -1e15, 0.1, 3.0]
    got = {key: np.asarray(value) for key, value in form.load(str(path))({"x": far}).items()}
    refused = got["label"] == -1
    assert_array_equal(got["label"][~refused], model.predict(far.astype(np.float64))[~refused])
    assert not refused[4:].any()
    scores = got["probabilities"] if "probabilities" in got else got["decision"]
    assert_array_equal(np.isnan(scores).all(axis=1), refused)
    assert np.isfinite(scores[~refused]).all()
    assert refused[:2].all() == (not hasattr(model, "steps"))


def test_a_tree_takes_no_number_that_float32_lost(iris):
    """NaN of a base was a missing value for the meta-learner, and came out as a number."""
    X, y = iris
    stack = sf.StackingClassifier(
        [("bayes", GaussianNB())], HistGradientBoostingClassifier(max_iter=2), cv=2
    ).fit(X, y)
    graph = sf.to_keras(stack, precision="float32")
    rows = X[[0, 1]].astype(np.float32)
    rows[1, 0] = 1e30
    got = {key: np.asarray(value) for key, value in graph(rows).items()}
    assert got["label"].tolist() == [*stack.predict(X[:1]), -1]
    assert np.isnan(got["probabilities"][1]).all()


def test_sigmoids_far_out_in_litert(iris, tmp_path):
    """LiteRT's own is NaN for 1e26."""
    X, y = iris
    model = LogisticRegression().fit(X, y == 1)
    sf.export(model, tmp_path / "model.tflite", verify=False)
    rows = np.repeat(X[:1], 2, axis=0).astype(np.float32)
    rows[:, 0] = [1e30, -1e30]
    got = sf.formats.named("litert").load(str(tmp_path / "model.tflite"))({"x": rows})
    assert_array_equal(got["probabilities"], model.predict_proba(rows))


def test_the_nearest_center_far_out_in_float32(iris):
    """The difference of two squares of 1e9 has no digit left in float32; the products do."""
    X, y = iris
    model = NearestCentroid().fit(X, y)
    rows = np.repeat(X[::50], 2, axis=0)
    rows[:, 2] = [1e4, -1e4, 3e6, -3e6, 1e9, -1e9]
    got = sf.to_keras(model, precision="float32")(rows.astype(np.float32))
    assert_array_equal(np.asarray(got["label"]), model.predict(rows))
    assert_allclose(np.asarray(got["probabilities"]), model.predict_proba(rows), atol=1e-6)


@pytest.mark.parametrize("ending", [".keras", "", ".onnx", ".tflite"])
def test_finite_rows_whose_sum_is_infinite_have_an_answer(ending, tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 3))
    model = LogisticRegression().fit(X, X[:, 0] > 0)
    model.coef_[:] = [[1e-307, -1e-307, 0.0]] if ending != ".tflite" else [[1e-37, -1e-37, 0.0]]
    model.intercept_[:] = 0.5
    sf.export(model, tmp_path / f"m{ending}", verify=False)
    large = 1e308 if ending != ".tflite" else 3e38
    rows = np.array([[large, large, large], [-large, -large, 0.0], [large, -large, 1.0]])
    with np.errstate(over="ignore"):
        hard = np.array([[large, np.inf, 0.0], [-np.inf, np.inf, 0.0], [large, large, np.nan]])
    dtype = np.float32 if ending == ".tflite" else np.float64
    got = _inspect.outputs_of(tmp_path / f"m{ending}", {"x": np.vstack([rows, hard]).astype(dtype)})
    assert_allclose(got["probabilities"][:3], model.predict_proba(rows), atol=1e-6)
    assert np.isnan(got["probabilities"][3:]).all()
    assert_array_equal(got["label"], [*model.predict(rows), -1, -1, -1])
