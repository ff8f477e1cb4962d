"""X as people pass it: dicts, lists, tensors, datasets, rows of different lengths."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression

import stackfuse as sf

RNG = np.random.default_rng(0)
IMAGE, TABLE = RNG.normal(size=(30, 4, 4)), RNG.normal(size=(30, 3))
Y = (TABLE[:, 0] > 0).astype(int)
BOTH = {"image": IMAGE, "table": TABLE}
RAGGED = [[1.0] * (k % 3 + 1) for k in range(30)]
LAYERS = keras.layers


def of_both():
    image, table = keras.Input((4, 4), name="image"), keras.Input((3,), name="table")
    joined = LAYERS.Concatenate()([LAYERS.Flatten()(image), table])
    return keras.Model([image, table], LAYERS.Dense(1, "sigmoid")(joined))


def of_one(meta):
    body = [LAYERS.Flatten(), LAYERS.Dense(1, "sigmoid")]
    return keras.Sequential([keras.Input(meta["X_shape_"][1:]), *body])


def network(build=of_one):
    return sf.KerasClassifier(build, random_state=0)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, number):
        return TABLE, Y


@pytest.fixture(scope="module")
def fitted_on_both():
    return network(of_both).fit(sf.MultiInput(**BOTH), Y)


@pytest.fixture(scope="module")
def fitted_on_one():
    return network().fit(TABLE, Y)


def test_a_dict_is_a_multi_input(fitted_on_both):
    wanted = fitted_on_both.predict_proba(sf.MultiInput(**BOTH))
    tensors = {name: tf.constant(array) for name, array in BOTH.items()}
    for X in (BOTH, tensors):
        network_of_dict = network(of_both).fit(X, Y, sample_weight=np.ones(30))
        assert_array_equal(network_of_dict.predict_proba(X), wanted)
        assert network_of_dict.score(X, Y) == np.mean((wanted[:, 1] > 0.5) == Y)
    stacks = [sf.StackingClassifier([("net", network(of_both))], cv=2) for _ in range(2)]
    first, second = (s.fit(X, Y) for s, X in zip(stacks, (BOTH, sf.MultiInput(**BOTH))))
    assert_array_equal(first.predict_proba(BOTH), second.predict_proba(sf.MultiInput(**BOTH)))
    oof = sf.out_of_fold([("net", network(of_both))], BOTH, Y, cv=2)
    assert_array_equal(oof.predictions, first.oof_.predictions)


def test_tensors_are_arrays(fitted_on_one):
    X, y = tf.constant(TABLE), tf.constant(Y)
    again = network().fit(X, y, sample_weight=tf.ones(30))
    assert_array_equal(again.predict_proba(X), fitted_on_one.predict_proba(TABLE))
    assert again.score(X, y) == fitted_on_one.score(TABLE, Y)
    bases = [("net", network()), ("linear", LogisticRegression())]
    first, second = (
        sf.StackingClassifier(bases, cv=2).fit(rows, target).predict_proba(TABLE)
        for rows, target in ((X, y), (TABLE, Y))
    )
    assert_array_equal(first, second)


def _datasets():
    return tf.data.Dataset.from_tensor_slices((TABLE, Y)).batch(8)


def test_the_advice_about_datasets_works():
    X, y = map(np.concatenate, zip(*_datasets().as_numpy_iterator()))
    assert_array_equal(X, TABLE)
    assert_array_equal(y, Y)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([IMAGE, TABLE], r"list of 2 arrays\..* sf\.MultiInput\(input_0=X\[0\], input_1=X\[1\]\)"),
        ((TABLE, TABLE), r"tuple of 2 arrays\."),
        (_datasets(), r"X is a tf\.data\.Dataset.* X, y = map\(np\.concatenate"),
        (Batches(), "X is a Batches, which yields batches"),
        ((batch for batch in [TABLE]), "X is a generator"),
        (RAGGED, r"different lengths \(1 to 3\): pad them .*pad_sequences\(X"),
        (pd.Series(RAGGED), r"different lengths \(1 to 3\)"),
        (np.array([np.ones(k % 3 + 1) for k in range(30)], object), r"different lengths \(1 to 3"),
        (pd.Series([np.ones(3)] * 30), r"an array in each row. Stack them: np\.stack\(X\)"),
        (tf.ragged.constant(RAGGED), r"different lengths: pad .* X\.to_tensor\(\)\.numpy\(\)"),
        (tf.sparse.from_dense(TABLE), r"sparse tensor: pass .* tf\.sparse\.to_dense"),
        ({1: IMAGE, 2: TABLE}, r"a dict with the keys \[1, 2\]. Name each input after"),
        ({"image": RAGGED, "table": TABLE}, "image holds rows of different lengths"),
        ({"image": IMAGE[:5], "table": TABLE}, "image has 5 rows, table has 30"),
    ],
)
def test_what_cannot_be_trained_on(X, message):
    with pytest.raises(ValueError, match=message):
        network().fit(X, Y)
    with pytest.raises(ValueError, match=message):
        sf.StackingClassifier([("net", network())]).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        sf.out_of_fold([("net", network())], X, Y)


def test_arrays_in_the_cells_of_a_frame():
    with pytest.raises(ValueError, match=r"arrays in its cells\. .*np\.stack\(X\['column'\]\)"):
        network().fit(pd.DataFrame({"a": [np.ones(3)] * 30}), Y)


def test_datasets_that_hold_y():
    for fit in (network().fit, sf.StackingClassifier([("net", network())]).fit):
        with pytest.raises(ValueError, match="X, y = map"):
            fit(_datasets())
        with pytest.raises(ValueError, match="requires y to be passed"):
            fit(TABLE)


def test_ragged_targets():
    with pytest.raises(ValueError, match="y holds rows of different lengths"):
        network().fit(TABLE, RAGGED)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([IMAGE, TABLE], r"X = sf\.MultiInput\(image=X\[0\], table=X\[1\]\)"),
        (TABLE, r"fitted on the inputs \['image', 'table'\], but X is one ndarray\. Pass"),
        (_datasets(), r"X is a tf\.data\.Dataset"),
    ],
)
def test_prediction_from_several_inputs(fitted_on_both, X, message):
    for predict in (fitted_on_both.predict, lambda X: fitted_on_both.score(X, Y)):
        with pytest.raises(ValueError, match=message):
            predict(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([IMAGE, TABLE], r"list of arrays of different shapes: .*sf\.MultiInput"),
        (RAGGED, r"different lengths \(1 to 3\)"),
        (_datasets(), r"X is a tf\.data\.Dataset"),
    ],
)
def test_prediction_from_one_input(fitted_on_one, X, message):
    with pytest.raises(ValueError, match=message):
        fitted_on_one.predict(X)
