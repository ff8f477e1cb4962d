"""Networks that look indices up: their files refuse rows with unknown ones, answer all others."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers as L
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

import stackfuse as sf
from stackfuse._export.checking import probes as _probes
from stackfuse._keras.indices import limits_of
from tests.export.formats.test_formats import ENDINGS, LOADERS

RNG = np.random.default_rng(0)

#: Two columns of indices, of 6 and of 9, and two of other numbers.
X = np.column_stack([RNG.integers(0, 6, 48), RNG.integers(0, 9, 48), RNG.normal(size=(48, 2))])
Y = (X[:, 0] + X[:, 2] > 2.5).astype(int)

#: Sentences of at most five words, padded with 0.
WORDS = RNG.integers(1, 12, (48, 5)) * (np.arange(5) < RNG.integers(1, 6, 48)[:, None])


def by_column(meta=None):
    x = keras.Input((4,))
    one = L.Embedding(6, 2)(x[:, 0])
    two = L.Flatten()(L.Embedding(9, 3)(keras.ops.cast(x[:, 1:2], "int32")))
    y = L.Dense(1, "sigmoid")(L.Concatenate()([one, two, x[:, 2:]]))
    return keras.Model(x, y)


def of_ids(meta=None):
    body = [L.Embedding(9, 4), L.Flatten(), L.Dense(1, "sigmoid")]
    return keras.Sequential([keras.Input((2,)), *body])


def of_words(meta=None):
    body = [L.Embedding(12, 3, mask_zero=True), L.LSTM(2), L.Dense(1, "sigmoid")]
    return keras.Sequential([keras.Input((5,), dtype="int32"), *body])


def of_sentences(meta=None):
    encoder = keras.Sequential(
        [keras.Input((None,)), L.Embedding(12, 3, mask_zero=True), L.GlobalAveragePooling1D()]
    )
    first, second = keras.Input((5,), name="first"), keras.Input((5,), name="second")
    both = L.Concatenate()([encoder(first), encoder(second)])
    return keras.Model({"first": first, "second": second}, L.Dense(1, "sigmoid")(both))


def of_moved(meta=None):
    x = keras.Input((2,), dtype="uint8")
    y = L.Flatten()(L.Embedding(12, 3)(x + 2))
    return keras.Model(x, L.Dense(1, "sigmoid")(y))


def of_steps(meta=None):
    body = [L.Reshape((2, 1)), L.TimeDistributed(L.Embedding(9, 2)), L.Flatten()]
    return keras.Sequential([keras.Input((2,)), *body, L.Dense(1, "sigmoid")])


def counted(meta=None):
    x = keras.Input((2,))
    one = L.CategoryEncoding(9, output_mode="one_hot")(x[:, :1])
    both = L.Concatenate()([one, L.CategoryEncoding(9, output_mode="count")(x)])
    return keras.Model(x, L.Dense(1, "sigmoid")(both))


def of_vocabulary(meta=None):
    x = keras.Input((2,), dtype="int64")
    places = L.IntegerLookup(vocabulary=[*range(2, 9), 0, 1], num_oov_indices=0)(x)
    return keras.Model(x, L.Dense(1, "sigmoid")(L.Flatten()(L.Embedding(9, 2)(places))))


def plain(network, rows):
    """Return the second class's probability as Keras computes it."""
    return np.asarray(network.model_(rows), np.float64).ravel()


def loaded(estimator, rows, path):
    sf.export(estimator, path, verify=rows)
    return keras.models.load_model(path, safe_mode=True)


def assert_refused(outputs, expected, bad):
    """Compare outputs with those of the good rows alone."""
    proba, label = (np.asarray(outputs[name]) for name in ("probabilities", "label"))
    good = np.setdiff1d(np.arange(len(label)), bad)
    assert_allclose(proba[good], expected, atol=2e-6)
    assert_array_equal(label[good], np.argmax(expected, axis=1))
    assert np.isnan(proba[bad]).all()
    assert_array_equal(label[bad], -1)


@pytest.fixture(scope="module")
def stack():
    """Return a stack of an embedding network and a forest, fitted on a frame."""
    bases = [("net", sf.KerasClassifier(by_column)), ("forest", RandomForestClassifier(3))]
    frame = pd.DataFrame(X, columns=["city", "shop", "a", "b"]).astype({"city": int, "shop": int})
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=2, random_state=0)
    return stack.fit(frame, Y), frame  # both are read


def test_every_format_refuses_single_rows(stack, tmp_path):
    stack, frame = stack
    paths = [tmp_path / f"stack{ending}" for ending in ENDINGS.values()]
    reports = sf.export(stack, paths, verify=frame)
    rows = np.vstack([X[:3], X[:4]])
    rows[1, 1], rows[3, 0], rows[5, 1], rows[6, 2] = np.nan, 6, 1e12, np.inf
    bad = [1, 3, 5, 6]
    with_names = pd.DataFrame(rows, columns=frame.columns)
    for report in reports:
        assert report.max_difference is not None
        assert report.max_difference < 1e-6
        dtype = "float64" if report.format in ("keras", "saved_model", "onnx") else "float32"
        got = LOADERS[report.format](report.path, {"x": rows.astype(dtype)})
        assert_refused(got, stack.predict_proba(with_names.drop(index=bad)), bad)
    for k in bad:
        with pytest.raises(ValueError, match=r"KerasClassifier|takes the indices 0 to"):
            stack.predict_proba(with_names.iloc[[k]])


CASES = [
    (of_ids, X[:, :2], [np.nan, 9, -1, -10, 1e9]),
    (of_words, WORDS, [12, 0.5, np.nan, 3e9, -1, -13]),
    (of_moved, X[:, :2], [10, 256, -1, np.nan, 1.5]),
    (of_steps, X[:, :2], [9, -1, np.nan]),
    (counted, X[:, :2], [-1, np.nan, 2.0**31]),
    (of_vocabulary, X[:, :2], [9, -1, 0.5, np.nan]),
]


@pytest.mark.parametrize(("build", "rows", "wrong"), CASES, ids=[c[0].__name__ for c in CASES])
def test_networks_of_every_kind(build, rows, wrong, tmp_path):
    network = sf.KerasClassifier(build, random_state=0).fit(rows, Y)
    graph = loaded(network, rows, tmp_path / "net.keras")
    table = np.vstack([rows[:2], rows[: len(wrong)], rows[2:4]]).astype(float)
    bad = np.arange(len(wrong)) + 2
    table[bad, bad % 2] = wrong
    good = plain(network, np.vstack([rows[:2], rows[2:4]]).astype(int))
    assert_refused(graph(table), np.column_stack([1 - good, good]), bad)
    for k in bad:  # the network refuses the same rows
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            network.predict_proba(table[[k]])


def test_indices_that_keras_takes_are_taken(tmp_path):
    rows = X[:, :2].copy()
    rows[:4, 0] = [8, 0, 8.7, -0.5]  # cut to whole numbers
    network = sf.KerasClassifier(of_ids, random_state=0).fit(X[:, :2], Y)
    got = loaded(network, rows, tmp_path / "net.keras")(rows)["probabilities"]
    rows[:4, 0] = [8, 0, 8, 0]
    assert_allclose(np.asarray(got)[:, 1], plain(network, rows), atol=1e-7)
    rows[:4, 0] = [9, 99, -1, 0]  # too large for a one, beyond a count
    network = sf.KerasClassifier(counted, random_state=0).fit(X[:, :2], Y)
    got = loaded(network, rows[[0, 1, 3]], tmp_path / "net.keras")(rows)
    expected = plain(network, rows[[0, 1, 3]])
    assert_allclose(np.asarray(got["probabilities"])[[0, 1, 3], 1], expected, atol=1e-7)
    assert_array_equal(np.asarray(got["label"])[2], -1)


def of_shifted(meta=None):
    x = keras.Input((2,))
    return keras.Model(x, L.Dense(1, "sigmoid")(L.Flatten()(L.Embedding(10, 2)(x - 3))))


def test_a_model_that_counts_from_the_end_may_do_so(tmp_path):
    """Codes that a model computes are looked up as Keras does; negative codes in X are refused."""
    network = sf.KerasClassifier(of_shifted, random_state=0).fit(X[:, :2], Y)
    rows = X[:9, :2]
    assert (rows < 3).any()
    got = loaded(network, rows, tmp_path / "net.keras")(rows)["probabilities"]
    assert_allclose(np.asarray(got)[:, 1], plain(network, rows), atol=1e-7)
    assert_allclose(network.predict_proba(rows)[:, 1], plain(network, rows), atol=1e-7)


def test_several_inputs_and_nested_models(tmp_path):
    rows = sf.MultiInput(first=WORDS, second=WORDS[::-1])
    bases = [("net", sf.KerasClassifier(of_sentences))]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0).fit(rows, Y)
    graph = loaded(stack, rows, tmp_path / "stack.keras")
    fed = {name: array[:4].astype(float) for name, array in rows.arrays.items()}
    fed["first"][1, 2], fed["second"][2, 4] = np.nan, 12
    assert_refused(graph(fed), stack.predict_proba(rows[:4])[[0, 3]], [1, 2])
    with pytest.raises(ValueError, match=r"X\['second'\], column 4, holds 12"):
        stack.predict_proba(sf.MultiInput(**{n: np.nan_to_num(a) for n, a in fed.items()}))


def test_behind_an_encoder(tmp_path):
    codes = X[:, :2] * 10
    encoder = OrdinalEncoder(categories=[np.arange(9) * 10.0] * 2)
    pipeline = make_pipeline(encoder, sf.KerasClassifier(of_ids))
    stack = sf.StackingClassifier([("net", pipeline)], cv=2, random_state=0).fit(codes, Y)
    graph = loaded(stack, codes, tmp_path / "stack.keras")
    rows = codes[:3].copy()
    rows[1, 0] = 7  # no category
    assert_refused(graph(rows), stack.predict_proba(codes[[0, 2]]), [1])


@pytest.mark.parametrize("format", ["keras", "onnx"])
def test_bare_and_joined_models(format, tmp_path):
    models = [of_ids(), of_ids()]
    joined = sf.fuse(models, "average", kinds="probability")
    path = tmp_path / f"joined{ENDINGS[format]}"
    sf.export(joined, path, verify=X[:, :2])
    rows = X[:3, :2].copy()
    rows[1, 1] = 9
    got = np.asarray(LOADERS[format](path, {"x": rows})["prediction"])
    expected = np.mean([np.asarray(model(rows[[0, 2]])) for model in models], axis=0)
    assert_allclose(got[[0, 2]], expected, atol=1e-7)
    assert np.isnan(got[1]).all()


def test_features_of_embeddings(tmp_path):
    bases = [("net", sf.KerasClassifier(by_column))]
    stack = sf.StackingClassifier(bases, stack_method="features", cv=2, random_state=0).fit(X, Y)
    rows = X[:3].copy()
    rows[1, 0] = 6
    graph = loaded(stack, X, tmp_path / "stack.keras")
    assert_refused(graph(rows), stack.predict_proba(rows[[0, 2]]), [1])


def test_the_wrapper_names_column_layer_and_range():
    network = sf.KerasClassifier(by_column, random_state=0)
    wrong = X.copy()
    wrong[7, 1] = 9
    message = r"X, column 1, holds 9.0, but the layer 'embedding.*' of model .* 0 to 8"
    with pytest.raises(ValueError, match=message):
        network.fit(wrong, Y)
    with pytest.raises(ValueError, match=message):
        network.fit(X, Y).predict(wrong)
    limits = limits_of(network.model_)
    assert limits.complete
    (of_x,) = limits.inputs.values()
    assert_array_equal(of_x.below, [6, 9, np.inf, np.inf])
    assert not limits_of(of_moved()).complete


def test_a_compiled_call_leaves_wrong_indices_to_the_bases():
    bases = [("net", sf.KerasClassifier(by_column))]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0).fit(X, Y)
    first = stack.predict_proba(X[:4])
    for _ in range(110):
        again = stack.predict_proba(X[:4])
    assert_allclose(again, first, atol=1e-7)
    wrong = X[:4].copy()
    wrong[2, 0] = 6
    with pytest.raises(ValueError, match=r"column 0, holds 6\.0"):
        stack.predict_proba(wrong)


def test_made_up_rows_hold_indices_and_what_is_none():
    network = sf.KerasClassifier(of_words, random_state=0).fit(WORDS, Y)
    made = {p.kind: p for p in _probes.probes(network, WORDS, "float64", lambda rows: rows)}
    whole = made["of whole numbers"]
    assert not whole.refused
    assert_array_equal(whole.rows[0], WORDS.min(axis=0))
    assert_array_equal(whole.rows[1], WORDS.max(axis=0))
    assert_allclose(whole.expected["probabilities"], network.predict_proba(whole.rows))
    refused = {kind for kind, probe in made.items() if probe.refused}
    assert {"with a number that is not an index", "with a half", "with a missing value"} <= refused
