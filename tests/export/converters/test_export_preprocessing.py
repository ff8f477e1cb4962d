"""Preprocessing in the exported graph, against scikit-learn's own transform."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

import stackfuse as sf

TRANSFORMERS = [
    PCA(2),
    PCA(2, whiten=True),
    IncrementalPCA(2),
    TruncatedSVD(2),
    FastICA(2, random_state=0, whiten="unit-variance"),
    GaussianRandomProjection(3, random_state=0),
    SparseRandomProjection(3, random_state=0),
    SelectKBest(k=2),
    VarianceThreshold(),
    FeatureUnion([("p", PCA(2)), ("s", StandardScaler())], transformer_weights={"p": 0.1}),
    FunctionTransformer(np.tanh),
    ColumnTransformer([("a", StandardScaler(), [2, 0]), ("b", "drop", [1])]),
    ColumnTransformer([("a", PCA(1), slice(2))], remainder="passthrough"),
]


def loaded(estimator, path, X):
    """Export, read the file with nothing but Keras and return its model."""
    import keras

    sf.export(estimator, path, verify=X)
    return keras.models.load_model(path, safe_mode=True)


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_numbers(iris, transformer, tmp_path):
    X, y = iris
    transformer.fit(X[::2], y[::2])
    got = loaded(transformer, tmp_path / "t.keras", X)(X)["features"]
    assert_allclose(got, transformer.transform(X), rtol=1e-12, atol=1e-14)


@pytest.fixture
def people():
    random = np.random.default_rng(0)
    port = random.choice(np.array(["S", "", "é ü", "x\ny", None], object), 80)
    frame = pd.DataFrame(
        {
            "age": random.normal(30, 9, 80),
            "port": port,
            "deck": pd.Categorical(random.choice(list("abcd"), 80, p=[0.6, 0.3, 0.05, 0.05])),
            "rank": random.integers(1, 4, 80),
            "alone": random.uniform(size=80) < 0.5,
        }
    )
    return frame, ((frame["age"] > 30) ^ (frame["port"] == "S")).to_numpy().astype(int)


CATEGORIES = ["port", "deck", "rank", "alone"]


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(drop="first", handle_unknown="error"),
        OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
        OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist"),
        OneHotEncoder(max_categories=2, drop="first", handle_unknown="ignore"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        OrdinalEncoder(encoded_missing_value=-7),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Found unknown categories:UserWarning")
def test_encoders(people, encoder, tmp_path):
    import tensorflow as tf

    frame = people[0][CATEGORIES]
    encoder.fit(frame)
    model = loaded(encoder, tmp_path / "e.keras", frame)
    rows = frame[:4].copy()
    if encoder.handle_unknown != "error":
        rows["port"] = ["Q", "<0>", "S ", None]
        rows["deck"] = ["z", "a", "", "d"]
        rows["rank"] = [9, 1, 2, 3]
    wanted = encoder.transform(rows)
    wanted = wanted.toarray() if hasattr(wanted, "toarray") else wanted
    fed = {
        "port": tf.constant(rows[["port"]].fillna("<NA>").to_numpy(str)),
        "deck": tf.constant(rows[["deck"]].to_numpy(str)),
        "rank": tf.constant(rows[["rank"]].to_numpy(float)),
        "alone": tf.constant(rows[["alone"]].to_numpy(float)),
    }
    assert_allclose(model(fed)["features"], wanted, atol=0)
    assert_allclose(tf.function(model)(fed)["features"], wanted, atol=0)
    if encoder.handle_unknown == "error":  # scikit-learn raises: the graph says NaN
        got = model({**fed, "port": tf.constant([["Q"]] * 4)})["features"]
        assert np.isnan(got).any(axis=1).all()


@pytest.mark.parametrize("path", ["stack.keras", "stack"])
def test_stacks_on_frames_with_strings(people, path, tmp_path):
    X, y = people

    def columns():
        encoder = OneHotEncoder(handle_unknown="ignore")
        return ColumnTransformer([("c", encoder, CATEGORIES), ("n", StandardScaler(), ["age"])])

    bases = [
        ("rf", make_pipeline(columns(), RandomForestClassifier(5, random_state=0))),
        ("lr", make_pipeline(columns(), LogisticRegression())),
    ]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0).fit(X, y)
    report = sf.export(stack, tmp_path / path, verify=X)
    assert report.n_rows == 80
    assert (report.max_difference or 0) < 1e-13


def test_what_has_no_twin_is_refused(iris):
    X, _ = iris
    with pytest.raises(
        sf.NotConvertible, match="'sinc' of FunctionTransformer cannot be converted"
    ):
        sf.to_keras(FunctionTransformer(np.sinc).fit(X))
    words = OneHotEncoder().fit(np.array([["a"], ["b"]], object))
    with pytest.raises(sf.NotConvertible, match="Fit on a data frame"):
        sf.to_keras(words)
