"""Imputers and encoders in the graph, against scikit-learn: missing numbers, words, new words."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.compose import ColumnTransformer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, SplineTransformer, TargetEncoder
from sklearn.tree import DecisionTreeRegressor

import stackfuse as sf
from stackfuse._export.checking.answers import expected_outputs
from stackfuse._export.graph.build import Build
from stackfuse._export.graph.graph import build_graph
from tests.support.parity import assert_parity

pytestmark = pytest.mark.filterwarnings("ignore:Skipping features:UserWarning")

SIMPLE = [
    SimpleImputer(strategy=strategy, add_indicator=k % 2 == 1, keep_empty_features=k > 1)
    for strategy in ("mean", "median", "most_frequent", "constant")
    for k in range(4)
]

OTHERS = [
    MissingIndicator(),
    MissingIndicator(features="all", error_on_new=False),
    IterativeImputer(max_iter=2, tol=9.0),
    IterativeImputer(max_iter=2, tol=9.0, add_indicator=True, keep_empty_features=True),
    IterativeImputer(max_iter=1, tol=9.0, min_value=-0.5, max_value=0.5, n_nearest_features=2),
    IterativeImputer(DecisionTreeRegressor(max_depth=2), max_iter=1, tol=9.0, skip_complete=True),
    IterativeImputer(max_iter=0),
    KNNImputer(),
    KNNImputer(n_neighbors=2, add_indicator=True, keep_empty_features=True),
    KNNImputer(n_neighbors=500),
]


@pytest.fixture(scope="module")
def numbers(iris):
    """Rows with a fifth of the numbers missing in two columns, the third column as a whole."""
    random = np.random.default_rng(3)
    X = iris[0] + random.normal(0, 0.01, iris[0].shape)
    X[:, :2][random.uniform(size=(len(X), 2)) < 0.2] = np.nan
    X[:, 2] = np.nan
    return X


@pytest.mark.parametrize("imputers", [SIMPLE, OTHERS], ids=["simple", "others"])
def test_numbers(numbers, imputers, tmp_path):
    fitted = [imputer.fit(numbers[::2]) for imputer in imputers]
    rows = np.vstack([numbers, numbers * 1.01, [[np.nan] * 3 + [9.0]], [[0.0, 1.0, np.nan, 2.0]]])
    assert_parity(fitted, rows, tmp_path / "i.keras", 1e-13)


def test_neighbours_weighed_by_distance(numbers, tmp_path):
    """scikit-learn takes distances from an expansion of squares, which is less exact."""
    imputer = KNNImputer(weights="distance").fit(numbers[::2])
    assert_parity([imputer], numbers[1::2], tmp_path / "i.keras", 1e-7)


def test_infinity_is_not_missing(numbers, tmp_path):
    """A pipeline that answers from its flags alone refuses it all the same."""
    model = make_pipeline(MissingIndicator(error_on_new=False), LogisticRegression())
    model.fit(numbers, np.arange(len(numbers)) % 2)
    report = sf.export(model, tmp_path / "flags.keras", verify=numbers)
    assert report.max_difference < 1e-12
    rows = np.array([[0.0, 0.0, np.nan, 0.0], [0.0, np.inf, np.nan, 0.0]])
    got = sf.to_keras(model)(rows)
    assert_allclose(got["probabilities"][0], model.predict_proba(rows[:1])[0], rtol=1e-12)
    assert np.isnan(got["probabilities"][1]).all()
    with pytest.raises(ValueError, match="infinity"):
        model.predict_proba(rows)


def test_another_number_stands_for_missing(numbers, tmp_path):
    X = np.where(np.isnan(numbers), -1.0, np.round(numbers, 1))
    fitted = [
        SimpleImputer(missing_values=-1).fit(X),
        SimpleImputer(missing_values=-1, strategy="most_frequent").fit(X.astype(int)),
        MissingIndicator(missing_values=-1, features="all").fit(X),
    ]
    assert_parity(fitted, X, tmp_path / "i.keras", 0.0)


def test_refusals_of_numbers(numbers):
    flat = np.round(numbers, 1)
    with pytest.raises(sf.NotConvertible, match="neighbours at the same distance"):
        sf.to_keras(KNNImputer().fit(flat))
    drawn = IterativeImputer(max_iter=1, tol=9.0, sample_posterior=True, random_state=0)
    with pytest.raises(sf.NotConvertible, match="sample_posterior=False"):
        sf.to_keras(drawn.fit(numbers))
    indicator = MissingIndicator().fit(numbers)
    new = np.array([[0.0, 0.0, np.nan, 0.0], [0.0, 0.0, 0.0, np.nan]])
    got = sf.to_keras(indicator)(new)["features"]
    assert_allclose(got[0], indicator.transform(new[:1])[0])
    assert np.isnan(got[1]).all()
    with pytest.raises(ValueError, match="no missing values in fit"):
        indicator.transform(new)


WORDS = ["port", "deck"]


@pytest.fixture(scope="module")
def people():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.normal(30, 9, 100),
            "port": random.choice(np.array(["S", "", "é ü", "x", np.nan], object), 100),
            "deck": pd.Categorical(random.choice(list("abcd"), 100, p=[0.6, 0.3, 0.05, 0.05])),
            "rank": random.integers(1, 5, 100).astype(float),
        }
    )
    for name in ("age", "deck", "rank"):
        frame.loc[random.uniform(size=100) < 0.2, name] = np.nan
    return frame, random.integers(0, 3, 100)


def new_people(frame):
    """Return rows with words and numbers that were not seen."""
    rows = frame[:6].copy()
    rows["port"] = ["Q", "S", np.nan, "missing_value", "<0>", ""]
    rows["deck"] = ["a", "z", np.nan, "b", "", "c"]
    rows["rank"] = [1.5, 9.0, np.nan, 1.0, 2.0, 3.0]
    return rows


def assert_equal_on_frames(estimator, frame, rows):
    """Compare a fitted estimator with its graph, as it is and compiled."""
    import tensorflow as tf

    graph = build_graph(estimator, frame, Build())
    compiled = tf.function(graph.model)
    for X in (frame, rows):
        fed = graph.signature.feed(X)
        for name, wanted in expected_outputs(estimator, X).items():
            for model in (graph, compiled):
                assert_allclose(model(fed)[name], wanted, rtol=0, atol=1e-13)


ONE_HOT = OneHotEncoder(handle_unknown="ignore")
IMPUTED = SimpleImputer(strategy="most_frequent", add_indicator=True)


@pytest.mark.parametrize(
    ("transformer", "columns"),
    [
        (TargetEncoder(), ["port", "deck", "rank"]),
        (OrdinalEncoder(max_categories=3, encoded_missing_value=-2), ["deck", "rank"]),
        (
            OrdinalEncoder(
                min_frequency=0.1, handle_unknown="use_encoded_value", unknown_value=np.nan
            ),
            ["port", "deck", "rank"],
        ),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), ONE_HOT), WORDS),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), ONE_HOT), ["deck", "rank"]),
        (make_pipeline(SimpleImputer(strategy="constant"), ONE_HOT), WORDS),
        (make_pipeline(SimpleImputer(strategy="constant", fill_value="S"), ONE_HOT), WORDS),
        (
            make_pipeline(
                SimpleImputer(strategy="constant", fill_value="x"),
                SimpleImputer(missing_values="S", strategy="constant", fill_value="x"),
                TargetEncoder(),
            ),
            WORDS,
        ),
        (
            make_pipeline(
                IMPUTED, ColumnTransformer([("o", ONE_HOT, [0, 1])], remainder="passthrough")
            ),
            WORDS,
        ),
        (MissingIndicator(), ["port", "age"]),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value).replace("\n", "")[:60],
)
def test_words(people, transformer, columns):
    frame, y = people[0][columns], people[1]
    rows = new_people(people[0])[columns]
    if isinstance(transformer, OrdinalEncoder) and transformer.handle_unknown == "error":
        rows = frame[:3]
    assert_equal_on_frames(transformer.fit(frame, y), frame, rows)


def test_a_whole_pipeline_in_a_file(people, tmp_path):
    import keras
    import tensorflow as tf

    frame, y = people
    of_numbers = make_pipeline(SimpleImputer(add_indicator=True), SplineTransformer(4))
    encode = [("o", ONE_HOT, ["deck"]), ("t", TargetEncoder(), ["port"])]
    of_words = make_pipeline(
        SimpleImputer(strategy="most_frequent", add_indicator=True).set_output(transform="pandas"),
        ColumnTransformer(encode, remainder="passthrough"),
    )
    columns = ColumnTransformer([("n", of_numbers, ["age", "rank"]), ("w", of_words, WORDS)])
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(frame, y)
    rows = new_people(frame)
    assert_equal_on_frames(model, frame, rows)
    sf.export(model, tmp_path / "people.keras", verify=frame)
    loaded = keras.models.load_model(tmp_path / "people.keras", safe_mode=True)
    fed = {name: tf.constant(rows[[name]].to_numpy()) for name in ("age", "rank")}
    fed |= {name: tf.constant(rows[[name]].fillna("<NA>").to_numpy(str)) for name in WORDS}
    got = loaded(fed)
    assert_allclose(got["probabilities"], model.predict_proba(rows), rtol=0, atol=1e-13)


def test_refusals_of_words(people):
    frame, _ = people
    alone = SimpleImputer(strategy="most_frequent").fit(frame[WORDS])
    with pytest.raises(sf.NotConvertible, match="'port' holds strings"):
        sf.to_keras(alone, X=frame[WORDS])
    zero = SimpleImputer(strategy="constant", fill_value=0).fit(frame[WORDS])
    with pytest.raises(sf.NotConvertible, match="Use a word as fill_value"):
        sf.to_keras(zero, X=frame[WORDS])
    mixed = frame[["port", "rank"]]
    word = SimpleImputer(strategy="constant", fill_value="?").fit(mixed)
    with pytest.raises(sf.NotConvertible, match="the word '\\?' into a column of numbers"):
        sf.to_keras(word, X=mixed)
    with_none = pd.DataFrame({"port": [None, np.nan, "S", "x"] * 5}, dtype=object)
    filled = make_pipeline(SimpleImputer(strategy="constant", fill_value="S"), ONE_HOT)
    with pytest.raises(sf.NotConvertible, match="cannot tell None from NaN"):
        sf.to_keras(filled.fit(with_none), X=with_none)
