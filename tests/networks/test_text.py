"""Networks of strings: trained as by Keras, from arrays, series, frames and beside numbers."""

import pickle

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers as L
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

import stackfuse as sf

RNG = np.random.default_rng(0)
WORDS = np.array("good bad film plot actor boring great story".split())
TEXTS = np.array([" ".join(RNG.choice(WORDS, 4)) for _ in range(40)], object)
COLORS = RNG.choice(["red", "green", "blue"], 40).astype(object)
PLACES = RNG.integers(0, 5, 40)[:, None]
TABLE = RNG.normal(size=(40, 3))
Y = np.array([int("good" in text or "great" in text) for text in TEXTS])
BOTH = sf.MultiInput(text=TEXTS, table=TABLE)


def _ended(x, h):
    return keras.Model(x, L.Dense(1, "sigmoid")(h))


def _vectorized(x):
    layer = L.TextVectorization(output_sequence_length=4)
    layer.adapt(TEXTS)
    return L.GlobalAveragePooling1D()(L.Embedding(layer.vocabulary_size(), 4)(layer(x)))


def of_texts(shape=(1,)):
    x = keras.Input(shape, dtype="string")
    return _ended(x, _vectorized(x))


def of_counts():
    x, layer = keras.Input((), dtype="string"), L.TextVectorization(output_mode="tf_idf")
    layer.adapt(TEXTS)
    return _ended(x, layer(x))


def without_input():
    layer = L.TextVectorization(output_sequence_length=4)
    layer.adapt(TEXTS)
    body = [L.Embedding(layer.vocabulary_size(), 4), L.Flatten(), L.Dense(1, "sigmoid")]
    return keras.Sequential([layer, *body])


def of_words():
    x = keras.Input((1,), dtype="string")
    given = L.StringLookup(vocabulary=["red", "green"])(x)
    return _ended(x, L.Flatten()(L.Embedding(3, 2)(given)))


def of_adapted_words():
    x, layer = keras.Input((1,), dtype="string"), L.StringLookup(output_mode="one_hot")
    layer.adapt(COLORS)
    return _ended(x, layer(x))


def of_hashes():
    x = keras.Input((1,), dtype="string")
    return _ended(x, L.CategoryEncoding(6, output_mode="one_hot")(L.Hashing(6)(x)))


def of_places():
    x, layer = keras.Input((1,), dtype="int64"), L.IntegerLookup()
    layer.adapt(PLACES)
    return _ended(x, L.CategoryEncoding(6, output_mode="multi_hot")(layer(x)))


def of_hashed_places():
    x = keras.Input((1,), dtype="int64")
    return _ended(x, L.Flatten()(L.Embedding(6, 2)(L.Hashing(6, salt=3)(x))))


def of_both(as_dict=False):
    text, table = keras.Input((1,), dtype="string", name="text"), keras.Input((3,), name="table")
    inputs = {"text": text, "table": table} if as_dict else [text, table]
    return _ended(inputs, L.Concatenate()([_vectorized(text), table]))


def of_numbers(meta):
    return keras.Sequential([keras.Input((meta["n_features_in_"],)), L.Dense(1, "sigmoid")])


def network(build, **settings):
    return sf.KerasClassifier(build, epochs=2, shuffle=False, random_state=0, **settings)


def plain(build, X, **settings):
    """Return what Keras itself predicts."""
    keras.utils.set_random_seed(0)
    model = build(**settings)
    model.compile("adam", "binary_crossentropy")
    arrays = X.arrays if isinstance(X, sf.MultiInput) else {"X": X}
    dtypes = {"f": "float32", "i": "int64", "O": "string"}
    tensors = [tf.constant(a, dtypes[a.dtype.kind]) for a in arrays.values()]
    if settings.get("as_dict"):
        fed = dict(zip(arrays, tensors))
    else:
        fed = tensors if len(tensors) > 1 else tensors[0]
    model.fit(fed, Y.astype("float32")[:, None], epochs=2, shuffle=False, verbose=0)
    return np.asarray(model(fed, training=False))[:, 0]


@pytest.mark.parametrize(
    ("build", "X"),
    [
        (of_texts, TEXTS[:, None]),
        (of_counts, TEXTS),
        (without_input, TEXTS[:, None]),
        (of_words, COLORS[:, None]),
        (of_adapted_words, COLORS[:, None]),
        (of_hashes, COLORS[:, None]),
        (of_places, PLACES),
        (of_hashed_places, PLACES),
        (of_both, BOTH),
    ],
)
def test_training_equals_plain_keras(build, X):
    fitted = network(build).fit(X, Y)
    found = fitted.predict_proba(X)[:, 1]
    assert_allclose(found, plain(build, X), rtol=1e-6)
    assert fitted.score(X, Y) == np.mean((found > 0.5) == Y)
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X)[:, 1], found)
    assert_array_equal(clone(fitted).fit(X, Y).predict_proba(X)[:, 1], found)


@pytest.mark.parametrize(
    "as_people_pass_it",
    [
        lambda texts: texts.astype(str),
        lambda texts: np.char.encode(texts.astype(str)),
        list,
        lambda texts: [[text] for text in texts],
        pd.Series,
        lambda texts: pd.Series(texts, dtype="string"),
        lambda texts: pd.Series(texts, dtype="category"),
        lambda texts: pd.DataFrame({"text": texts}),
    ],
)
def test_all_kinds_of_texts(as_people_pass_it):
    wanted = network(of_texts).fit(TEXTS, Y).predict_proba(TEXTS)
    X = as_people_pass_it(TEXTS)
    fitted = network(of_texts).fit(X, Y)
    assert_array_equal(fitted.predict_proba(X), wanted)
    assert fitted.n_features_in_ == 1


def test_a_dict_of_texts_and_numbers():
    X = {"text": list(TEXTS), "table": pd.DataFrame(TABLE)}
    fitted = network(of_both, as_dict=True).fit(X, Y)
    assert_allclose(fitted.predict_proba(X)[:, 1], plain(of_both, BOTH, as_dict=True), rtol=1e-6)


def test_a_keras_model_and_further_training():
    model = of_texts()
    fitted = network(model).fit(TEXTS, Y)
    before = fitted.predict_proba(TEXTS)
    assert (fitted.partial_fit(TEXTS, Y).predict_proba(TEXTS) != before).any()
    folds = [(np.arange(20), np.arange(20, 40)), (np.arange(20, 40), np.arange(20))]
    found = cross_val_predict(network(model), TEXTS, Y, cv=folds, method="predict_proba")
    alone = network(model).fit(TEXTS[:20], Y[:20])
    assert_array_equal(found[20:], alone.predict_proba(TEXTS[20:]))


@pytest.mark.parametrize(("build", "X"), [(of_texts, TEXTS), (of_both, BOTH)])
def test_side_by_side_equals_the_loop(build, X):
    bases = [("net", network(build))]
    loop, fused = (
        sf.out_of_fold(bases, X, Y, cv=2, engine=engine) for engine in ("sequential", "fused")
    )
    assert_allclose(fused.predictions, loop.predictions, atol=5e-5)


def test_stacks_of_texts_and_numbers():
    frame = pd.DataFrame(TABLE, columns=list("abc")).assign(text=TEXTS)

    def on(columns, what, how="passthrough"):
        return make_pipeline(ColumnTransformer([("chosen", how, columns)]), what)

    bases = [
        ("text", on(["text"], network(of_texts))),
        ("numbers", on(list("abc"), network(of_numbers))),
        ("words", on("text", LogisticRegression(), TfidfVectorizer())),
    ]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0).fit(frame, Y)
    for fold in stack.oof_.folds:
        alone = network(of_texts).fit(TEXTS[fold.train], Y[fold.train])
        wanted = alone.predict_proba(TEXTS[fold.test])[:, 1]
        assert_allclose(stack.oof_.predictions[fold.test, 0], wanted, atol=5e-5)
    assert stack.predict_proba(frame).shape == (40, 2)
    assert str(stack.report())


def test_regressors_of_texts():
    def build():
        x = keras.Input((1,), dtype="string")
        return keras.Model(x, L.Dense(1)(_vectorized(x)))

    y = np.array([len(text) for text in TEXTS], float)
    stack = sf.StackingRegressor([("net", sf.KerasRegressor(build, random_state=0))], cv=2)
    assert stack.fit(TEXTS, y).predict(TEXTS).shape == (40,)


GONE = np.array([None if k == 3 else text for k, text in enumerate(TEXTS)], object)


@pytest.mark.parametrize(
    ("build", "X", "message"),
    [
        (of_texts, GONE, r"NaN or None among its strings, in 1 of 40 rows \(rows 3\): fill them"),
        (of_texts, pd.Series(GONE), r"in 1 of 40 rows \(rows 3\)"),
        (of_texts, TABLE[:, :1], "takes strings, but X holds .* in row 0: pass numbers as a"),
        (of_words, pd.DataFrame({"n": PLACES[:, 0]}), r"takes strings, .* in column 'n'"),
        (of_both, sf.MultiInput(text=GONE, table=TABLE), r"Input X\['text'\] contains NaN or None"),
        (of_both, sf.MultiInput(text=TABLE[:, 0], table=TABLE), r"strings, but X\['text'\] holds"),
        (of_numbers, TEXTS[:, None], r"takes numbers, but X holds strings: .*dtype='string'\)"),
        (of_numbers, pd.DataFrame({"a": TEXTS, "b": Y}), "takes numbers, but X holds strings"),
    ],
)
def test_what_is_wrong_is_said(build, X, message):
    with pytest.raises(ValueError, match=message):
        network(build).fit(X, Y)


def test_what_is_wrong_in_prediction():
    fitted = network(of_texts).fit(TEXTS, Y)
    with pytest.raises(ValueError, match=r"NaN or None among its strings"):
        fitted.predict(GONE)
    with pytest.raises(ValueError, match="takes strings, but X holds"):
        fitted.predict(TABLE[:, 0])
    with pytest.raises(ValueError, match=r"rows of shape \(1,\), but .* of shape \(\)"):
        fitted.predict(TEXTS[:, None])


def test_strings_of_digits():
    digits = PLACES.astype(str).astype(object)
    by_number = network(of_numbers).fit(digits, Y)  # as scikit-learn reads them
    assert_array_equal(
        by_number.predict_proba(digits),
        network(of_numbers).fit(PLACES.astype(float), Y).predict_proba(PLACES.astype(float)),
    )

    def build():
        x = keras.Input((1,), dtype="string")
        return _ended(x, L.StringLookup(vocabulary=list("01234"), output_mode="one_hot")(x))

    ours = network(build).fit(digits, Y).predict_proba(digits)[:, 1]
    assert_allclose(ours, plain(build, digits), rtol=1e-6)  # float32
