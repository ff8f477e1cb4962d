"""Networks of strings, and those with losses of one's own, as files that need no stackfuse."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers as L
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import stackfuse as sf

RNG = np.random.default_rng(0)
WORDS = np.array("good bad film plot actor boring great story".split())
TEXTS = np.array([" ".join(RNG.choice(WORDS, 4)) for _ in range(40)], object)
TABLE = RNG.normal(size=(40, 3))
Y = np.array([int("good" in text or "great" in text) for text in TEXTS])
FRAME = pd.DataFrame(TABLE, columns=list("abc")).assign(
    text=TEXTS, color=RNG.choice(["red", "blue"], 40)
)


def of_texts():
    layer = L.TextVectorization(output_sequence_length=4)
    layer.adapt(TEXTS)
    body = [L.Embedding(layer.vocabulary_size(), 4), L.Flatten(), L.Dense(1, "sigmoid")]
    return keras.Sequential([keras.Input((1,), dtype="string"), layer, *body])


def of_words():
    layer = L.StringLookup(vocabulary=["red", "blue"], output_mode="multi_hot")
    return keras.Sequential([keras.Input((2,), dtype="string"), layer, L.Dense(1, "sigmoid")])


def of_both():
    text, table = keras.Input((1,), dtype="string", name="text"), keras.Input((3,), name="table")
    hashed = L.CategoryEncoding(8, output_mode="one_hot")(L.Hashing(8)(text))
    return keras.Model([text, table], L.Dense(1, "sigmoid")(L.Concatenate()([hashed, table])))


def network(build):
    return sf.KerasClassifier(build, random_state=0)


def stack_of(bases, X):
    return sf.StackingClassifier(bases, cv=2, random_state=0).fit(X, Y)


def on_columns(build, *columns):
    return make_pipeline(ColumnTransformer([("c", "passthrough", [*columns])]), network(build))


@pytest.fixture(scope="module")
def of_arrays():
    return stack_of([("net", network(of_texts))], TEXTS)


@pytest.fixture(scope="module")
def of_frames():
    gone = FRAME.assign(text=FRAME["text"].where(np.arange(40) != 3, None))
    filled = SimpleImputer(strategy="constant", fill_value="")
    columns = [("color", "passthrough", ["color"]), ("text", filled, ["text"])]
    bases = [
        ("text", on_columns(of_texts, "text")),
        ("words", make_pipeline(ColumnTransformer(columns), network(of_words))),
        (
            "linear",
            make_pipeline(
                ColumnTransformer([("one", OneHotEncoder(), ["color"])]), LogisticRegression()
            ),
        ),
    ]
    return stack_of(bases[:1] + bases[2:], FRAME), stack_of(bases[1:], gone), gone


@pytest.mark.parametrize("ending", [".keras", ""])
def test_files_of_texts(of_arrays, tmp_path, ending):
    report = sf.export(of_arrays, tmp_path / f"file{ending}")
    assert report.n_rows == 64
    unknown = np.array(["never seen", "", "GOOD, film!", "ünknown good"], object)
    rows = tf.constant(np.concatenate([TEXTS, unknown]))
    if ending:
        found = keras.models.load_model(report.path)(rows)
    else:
        found = tf.saved_model.load(str(report.path)).signatures["serving_default"](x=rows)
    wanted = of_arrays.predict_proba(np.concatenate([TEXTS, unknown]))
    assert_allclose(np.asarray(found["probabilities"]), wanted, atol=1e-6)
    assert_array_equal(np.asarray(found["label"]), wanted.argmax(axis=1))


def test_a_row_without_a_text_has_no_answer(of_arrays):
    found = sf.to_keras(of_arrays)(tf.constant(["good film", "<NA>"]))
    assert np.isfinite(np.asarray(found["probabilities"])).all(axis=1).tolist() == [True, False]
    assert int(found["label"][1]) == -1


def test_frames(of_frames, tmp_path):
    plain, filled, gone = of_frames
    for k, (stack, frame) in enumerate([(plain, FRAME), (filled, gone)]):
        report = sf.export(stack, tmp_path / f"{k}.keras")
        assert report.n_probes > 50
        fed = {
            name: tf.constant(
                frame[[name]].fillna("<NA>").to_numpy(object)
                if name in ("text", "color")
                else frame[[name]].to_numpy()
            )
            for name in frame
        }
        found = keras.models.load_model(report.path)(fed)["probabilities"]
        assert_allclose(np.asarray(found), stack.predict_proba(frame), atol=1e-6)


def test_texts_beside_numbers(tmp_path):
    X = sf.MultiInput(text=TEXTS, table=TABLE)
    report = sf.export(stack_of([("net", network(of_both))], X), tmp_path / "both.keras")
    assert report.n_probes > 50
    assert list(keras.models.load_model(report.path).input) == ["text", "table"]


def test_formats_that_cannot(of_arrays, of_frames, tmp_path):
    for stack, column in ((of_arrays, "x"), (of_frames[0], "text")):
        for ending, title in ((".onnx", "ONNX"), (".tflite", "LiteRT"), (".xml", "OpenVINO")):
            with pytest.raises(
                sf.NotConvertible, match=rf"strings in '{column}'.* {title} .*Export to \.keras"
            ):
                sf.export(stack, tmp_path / f"file{ending}")
    assert not list(tmp_path.iterdir())


def test_a_model_of_texts(tmp_path):
    model = of_texts()
    report = sf.export(model, tmp_path / "model.keras", verify=TEXTS[:, None])
    found = keras.models.load_model(report.path)(tf.constant(TEXTS[:, None]))["prediction"]
    assert_array_equal(np.asarray(found), np.asarray(model(tf.constant(TEXTS[:, None]))))


def test_compiled_calls_take_no_arrays_of_strings(of_arrays):
    with pytest.raises(sf.NotConvertible, match="was fitted on an array of strings"):
        sf.compiled(of_arrays)


def likelihood(y, outputs):
    """Gaussian, of a mean and the logarithm of a variance."""
    mean, spread = outputs[:, 0], outputs[:, 1]
    return spread + (y - mean) ** 2 * ops.exp(-spread)


@pytest.mark.parametrize("output", [0, slice(None), lambda outputs: ops.exp(outputs[:, 1])])
def test_losses_of_ones_own(tmp_path, output):
    def build():
        return keras.Sequential([keras.Input((3,)), L.Dense(4, "relu"), L.Dense(2)])

    settings = {"loss": likelihood, "predict__output": output, "random_state": 0}
    bases = [("net", sf.KerasRegressor(build, **settings)), ("linear", Ridge())]
    stack = sf.StackingRegressor(bases, cv=2, random_state=0).fit(TABLE, TABLE[:, 0])
    report = sf.export(stack, tmp_path / "file.keras")
    found = keras.models.load_model(report.path)(TABLE)["prediction"]
    assert_allclose(np.asarray(found), stack.predict(TABLE), rtol=1e-6, atol=1e-6)
    alone = sf.to_keras(stack.named_estimators_["net"])(TABLE)["prediction"]
    wanted = stack.named_estimators_["net"].predict(TABLE)
    assert_allclose(np.asarray(alone), wanted, rtol=1e-6, atol=1e-6)
