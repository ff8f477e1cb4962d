"""Exports of stacks whose bases flatten X or pick one of its inputs."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import stackfuse as sf
from stackfuse._export.checking.thresholds import edges_of

ENDINGS = [".keras", "", ".onnx", ".tflite", ".xml"]


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    image, table = rng.normal(size=(80, 6, 6)), rng.normal(size=(80, 5))
    y = (image.mean(axis=(1, 2)) * 6 + table[:, 0] > 0).astype(int)
    return sf.MultiInput(image=image, table=table), y


def convolutions(meta):
    import keras

    return keras.Sequential(
        [
            keras.Input((6, 6)),
            keras.layers.Reshape((6, 6, 1)),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, "softmax"),
        ]
    )


def two_inputs(meta):
    import keras

    image, table = keras.Input((6, 6), name="image"), keras.Input((5,), name="table")
    both = keras.layers.Concatenate()([keras.layers.Flatten()(image), table])
    return keras.Model([image, table], keras.layers.Dense(2, "softmax")(both))


@pytest.fixture(scope="module")
def of_images(inputs):
    X, y = inputs
    on_pixels = make_pipeline(sf.Flatten(), PCA(6), LogisticRegression())
    bases = [("net", sf.KerasClassifier(convolutions, epochs=2)), ("pixels", on_pixels)]
    return sf.StackingClassifier(bases, cv=2, random_state=0).fit(X["image"], y)


@pytest.fixture(scope="module")
def of_several(inputs):
    X, y = inputs
    on_table = make_pipeline(sf.Pick("table"), RandomForestClassifier(5, random_state=0))
    on_image = make_pipeline(sf.Pick(["image"]), sf.Flatten(), PCA(6), LogisticRegression())
    bases = [("net", sf.KerasClassifier(two_inputs, epochs=2))]
    bases += [("table", on_table), ("image", on_image)]
    return sf.StackingClassifier(bases, cv=2, random_state=0).fit(X, y)


def test_a_network_of_images_beside_a_pipeline_on_pixels(inputs, of_images, tmp_path):
    paths = [tmp_path / f"stack{ending}" for ending in ENDINGS]
    for report in sf.export(of_images, paths, verify=inputs[0]["image"]):
        assert report.max_difference is not None
        assert report.max_difference < 1e-5
        assert report.n_probes > 50


def test_a_network_of_two_inputs_beside_a_forest_on_one(of_several, tmp_path):
    paths = [tmp_path / f"stack{ending}" for ending in ENDINGS]
    for report in sf.export(of_several, paths):  # on rows made up by the stack
        assert report.max_difference is not None
        assert report.max_difference < 1e-5
        assert report.n_probes > 50


def test_the_graph_computes_what_scikit_learn_does(inputs):
    X, y = inputs
    model = make_pipeline(sf.Pick("image"), sf.Flatten(), StandardScaler(), Ridge()).fit(X, y)
    graph = sf.to_keras(model)
    found = graph({"image": X["image"], "table": X["table"]})["prediction"]
    assert_allclose(np.asarray(found), model.predict(X), rtol=0, atol=1e-13)
    flat = make_pipeline(sf.Flatten(), Ridge()).fit(X, y)
    found = sf.to_keras(flat)({"image": X["image"], "table": X["table"]})["prediction"]
    assert_allclose(np.asarray(found), flat.predict(X), rtol=0, atol=1e-13)


def test_an_input_of_words(inputs, tmp_path):
    X, y = inputs
    words = pd.DataFrame({"a": np.where(y, "yes", "no"), "b": [f"w{k % 7}" for k in range(80)]})
    X = sf.MultiInput(words=words, table=X["table"])
    of_words = make_pipeline(sf.Pick("words"), OneHotEncoder(), LogisticRegression())
    of_table = make_pipeline(sf.Pick("table"), LogisticRegression())
    stack = sf.StackingClassifier([("words", of_words), ("table", of_table)], cv=2, random_state=0)
    stack.fit(X, y)
    for report in sf.export(stack, [tmp_path / "words.keras", tmp_path / "words.onnx"], verify=X):
        assert report.max_difference is not None
        assert report.max_difference < 1e-12
    everything = make_pipeline(sf.Flatten(), OneHotEncoder(), LogisticRegression()).fit(X, y)
    with pytest.raises(sf.NotConvertible, match="joins strings and numbers"):
        sf.to_keras(everything, X=X)


def test_rows_are_put_on_the_thresholds_of_trees_behind_a_step(of_several):
    forest = of_several.named_estimators_["table"][-1]
    edges = edges_of(of_several, (36, 5))
    thresholds = np.concatenate([tree.tree_.threshold for tree in forest.estimators_])
    assert set(edges[:, 0]) <= set(range(36, 41))
    assert set(edges[:, 1]) == set(thresholds[thresholds != -2])


def test_stacks_over_several_inputs_are_not_compiled(of_several):
    with pytest.raises(sf.NotConvertible, match="was fitted on a MultiInput"):
        sf.compiled(of_several)


def test_networks_of_images_are_compiled_beside_pixels(inputs, of_images):
    images = inputs[0]["image"]
    fast = sf.compiled(of_images)
    assert_allclose(fast.predict_proba(images), of_images.predict_proba(images), rtol=0, atol=1e-6)
