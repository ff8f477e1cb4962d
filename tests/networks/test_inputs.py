from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split

import stackfuse as sf
from tests.support.networks import build_classifier


@pytest.fixture
def mixed():
    rng = np.random.default_rng(0)
    image, table = rng.normal(size=(60, 4, 4)), rng.normal(size=(60, 3))
    y = ((image.mean(axis=(1, 2)) + table[:, 0]) > 0).astype(int)
    return sf.MultiInput(image=image, table=table), y


def build(meta, as_dict=False, units=4):
    import keras

    image = keras.Input((4, 4), name="image")
    table = keras.Input((3,), name="table")
    both = keras.layers.Concatenate()([keras.layers.Flatten()(image), table])
    hidden = keras.layers.Dense(units, activation="relu")(both)
    outputs = keras.layers.Dense(meta["n_classes_"], activation="softmax")(hidden)
    inputs = {"image": image, "table": table} if as_dict else [image, table]
    return keras.Model(inputs, outputs)


def test_it_indexes_splits_and_counts_like_an_array(mixed):
    X, y = mixed
    assert len(X) == 60
    assert X.shape == (60, 2)
    assert_array_equal(X[[3, 1]]["table"], X["table"][[3, 1]])
    assert_array_equal(X[y == 1]["image"], X["image"][y == 1])
    first, second, _, y_second = train_test_split(X, y, test_size=0.25, random_state=0)
    rows, _ = train_test_split(np.arange(60), test_size=0.25, random_state=0)
    assert_array_equal(first["table"], X["table"][rows])
    assert len(second) == len(y_second) == 15
    assert repr(X) == "MultiInput(image=(60, 4, 4), table=(60, 3))"


def test_a_dict_of_arrays():
    image, table = np.zeros((5, 4, 4)), np.arange(15).reshape(5, 3)
    X = sf.MultiInput({"image": image}, table=table)
    assert X.shape == (5, 2)
    assert_array_equal(X["table"], table)
    with pytest.raises(TypeError, match=r"arrays by name, got \[1, 2\]: type MultiInput\(image="):
        sf.MultiInput(cast("Any", [1, 2]))


def test_frames_as_inputs():
    X = sf.MultiInput(a=pd.DataFrame({"x": [1, 2, 3]}), b=[[1], [2], [3]])
    assert_array_equal(X[1:]["a"]["x"], [2, 3])
    assert_array_equal(X[1:]["b"], [[2], [3]])


@pytest.mark.parametrize("as_dict", [False, True])
def test_training_equals_plain_keras(mixed, as_dict):
    import keras

    X, y = mixed
    network = sf.KerasClassifier(build, as_dict=as_dict, epochs=3, shuffle=False, random_state=0)
    keras.utils.set_random_seed(0)
    model = build({"n_classes_": 2}, as_dict)
    model.compile("adam", "sparse_categorical_crossentropy")
    inputs = {"image": X["image"].astype("float32"), "table": X["table"].astype("float32")}
    inputs = inputs if as_dict else list(inputs.values())
    model.fit(inputs, y, epochs=3, shuffle=False, verbose=0)
    wanted = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(network.fit(X, y).predict_proba(X), wanted, atol=1e-6)


def test_cross_validation_and_search(mixed):
    X, y = mixed
    network = sf.KerasClassifier(build, epochs=5, random_state=0)
    assert cross_val_predict(network, X, y, cv=3, method="predict_proba").shape == (60, 2)
    search = GridSearchCV(network, {"units": [2, 16]}, cv=2).fit(X, y)
    assert search.predict(X).shape == (60,)
    stack = sf.StackingClassifier([("net", network)], cv=2, random_state=0).fit(X, y)
    assert stack.predict_proba(X).shape == (60, 2)


def test_wrong_inputs(mixed):
    X, y = mixed
    with pytest.raises(ValueError, match="a has 3 rows, b has 2"):
        sf.MultiInput(a=[1, 2, 3], b=[1, 2])
    with pytest.raises(ValueError, match="at least one array"):
        sf.MultiInput()
    with pytest.raises(KeyError, match="'text' is not one of the inputs 'image' and 'table'"):
        X["text"]
    with pytest.raises(ValueError, match=r"has 2 inputs, but X is one array.*MultiInput\(image="):
        sf.KerasClassifier(build).fit(X["table"], y)
    renamed = sf.MultiInput(picture=X["image"], table=X["table"])
    with pytest.raises(ValueError, match=r"\['image', 'table'\], but X has \['picture', 'table'\]"):
        sf.KerasClassifier(build).fit(renamed, y)
    broken = sf.MultiInput(image=X["image"], table=X["table"] * np.nan)
    with pytest.raises(ValueError, match=r"Input X\['table'\] contains NaN"):
        sf.KerasClassifier(build).fit(broken, y)
    network = sf.KerasClassifier(build).fit(X, y)
    with pytest.raises(ValueError, match="X has rows of shape"):
        network.predict(sf.MultiInput(image=X["image"][:, :2], table=X["table"]))


def test_columns_of_frames_are_checked(mixed):
    X, y = mixed
    frame = pd.DataFrame(X["table"], columns=list("abc"))
    network = sf.KerasClassifier(build).fit(sf.MultiInput(image=X["image"], table=frame), y)
    with pytest.raises(ValueError, match=r"X\['table'\] has the columns \['b', 'a', 'c'\], but"):
        network.predict(sf.MultiInput(image=X["image"], table=frame[list("bac")]))


def test_where_several_inputs_cannot_go(mixed):
    X, y = mixed
    with pytest.raises(ValueError, match=r"X is a MultiInput\. Use passthrough=False"):
        sf.StackingClassifier([("net", sf.KerasClassifier(build))], passthrough=True).fit(X, y)
    with pytest.raises(ValueError, match="a table with two axes, but X is MultiInput"):
        sf.FusionClassifier().fit(X, y)
    texts = sf.MultiInput(image=X["image"], table=np.full((60, 3), "x"))
    with pytest.raises(ValueError, match=r"X\['table'\]: .*numeric"):
        sf.KerasClassifier(build).fit(texts, y)


def subclassed(dtype="float32"):
    """Return a subclassed model of words (by number) and a table, without keras.Input."""
    import keras

    class Net(keras.Model):
        def __init__(self):
            super().__init__(dtype=dtype)
            self.embed = keras.layers.Embedding(3000, 2, dtype=dtype)
            self.out = keras.layers.Dense(2, activation="softmax", dtype=dtype)

        def call(self, x):
            words = keras.ops.mean(self.embed(x["words"]), axis=1)
            return self.out(keras.ops.concatenate([words, x["table"]], axis=-1))

    return Net()


def test_a_subclassed_model_is_given_the_inputs_by_name(mixed):
    import keras

    X, y = mixed
    words = np.random.default_rng(1).integers(3000, size=(60, 5))
    table = np.asarray(X["table"], "float32")
    X = sf.MultiInput(words=words, table=table)
    loss = "sparse_categorical_crossentropy"
    network = sf.KerasClassifier(
        subclassed, loss=loss, epochs=2, shuffle=False, validation_split=0.2, random_state=0
    ).fit(X, y)
    rows, _ = network._fit_settings().hold_out(60, 0, y)
    keras.utils.set_random_seed(0)
    model = subclassed()
    model.compile("adam", loss)
    part = {"words": words[rows], "table": table[rows]}
    model.fit(part, y[rows], epochs=2, shuffle=False, verbose=0)
    wanted = model.predict({"words": words, "table": table}, verbose=0)
    np.testing.assert_allclose(network.predict_proba(X), wanted, atol=1e-6)


def test_numbers_of_words_are_not_rounded(mixed):
    X, y = mixed
    X = sf.MultiInput(words=np.full((60, 1), 2049), table=X["table"] * 0)  # float16 makes it 2048
    network = sf.KerasClassifier(
        subclassed, model__dtype="float16", loss="sparse_categorical_crossentropy", random_state=0
    ).fit(X, y)
    before = network.predict_proba(X)
    table = network.model_.embed.embeddings
    changed = table.numpy()
    changed[2049] = [9, -9]
    table.assign(changed)
    assert np.abs(network.predict_proba(X) - before).max() > 0.1


@pytest.mark.parametrize("key", [slice(1, 5), slice(None, None, 2), [3, 1], np.arange(10) % 3 == 0])
def test_rows_of_polars_frames(key):
    polars = pytest.importorskip("polars", reason="polars is optional, and not installed")
    table = np.arange(20).reshape(10, 2)
    X = sf.MultiInput(frame=polars.DataFrame(table, schema=["a", "b"]), table=table)
    for form in (key, np.asarray(key) if isinstance(key, list) else key):
        part: Any = X[form]
        assert part.columns == {"frame": ["a", "b"]}
        assert_array_equal(np.asarray(part["frame"]), table[key])
        assert_array_equal(part["table"], table[key])


def test_a_mapped_file_is_read_batch_by_batch(tmp_path):
    """The arrays made meanwhile stay far below the size of the file, 20 MB."""
    import tracemalloc

    import keras

    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "float64", (20000, 125))
    X[:] = rng.normal(size=X.shape)
    y = (X[:, 0] > 0).astype(int)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")

    def build():
        layers = [keras.Input((125,)), keras.layers.Dense(1, activation="sigmoid")]
        return keras.Sequential(layers)

    network = sf.KerasClassifier(build, validation_split=0.5, random_state=0)
    network.set_params(batch_size=500, validation_batch_size=500, predict__batch_size=500)
    wanted = network.fit(np.array(X), y).predict_proba(np.array(X))  # compiles as well
    tracemalloc.start()
    try:
        proba = network.fit(mapped, y).predict_proba(mapped)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert_array_equal(proba, wanted)
    assert peak < 5e6, f"{peak / 1e6:.0f} MB"


def test_missing_numbers_are_told_with_their_place(iris):
    X, y = iris
    X = X.copy()
    X[[3, 7], 1] = np.nan
    network = sf.KerasClassifier(build_classifier)
    where = r"Input X contains NaN\. KerasClassifier .* 2 of 150 rows of X .*rows 3, 7; columns "
    with pytest.raises(ValueError, match=where + "1"):
        network.fit(X, y)
    with pytest.raises(ValueError, match=where + "b"):
        network.fit(pd.DataFrame(X, columns=list("abcd")), y)
    X[0, 0] = np.inf
    with pytest.raises(ValueError, match=r"3 of 150 rows of X .*columns 0, 1"):
        network.fit(X, y)
