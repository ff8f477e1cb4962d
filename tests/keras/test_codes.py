"""Columns of codes: how many there are, and which are refused."""

import keras
import numpy as np
import pytest
from keras import layers as L
from numpy.testing import assert_allclose
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

import stackfuse as sf
from stackfuse._keras.indices import cardinalities_of

RNG = np.random.default_rng(0)
X = np.column_stack([np.arange(60) % 5, RNG.normal(size=60)])
Y = X[:, 0] * X[:, 1]


def by_cardinality(meta):
    rows = keras.Input((2,))
    codes = L.Embedding(meta["cardinalities_"][0], 2)(rows[:, 0])
    return keras.Model(rows, L.Dense(1)(L.Concatenate()([codes, rows[:, 1:]])))


def unknown_is_first(meta):
    """Count codes from -1 on, which stands for a category that is not known."""
    rows = keras.Input((2,))
    codes = L.Embedding(meta["cardinalities_"][0] + 1, 2)(rows[:, 0] + 1)
    return keras.Model(rows, L.Dense(1)(L.Concatenate()([codes, rows[:, 1:]])))


class OwnModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.table, self.last = L.Embedding(5, 2, name="table"), L.Dense(1)

    def call(self, rows):
        return self.last(self.table(keras.ops.cast(rows[:, 0], "int32")))


def own(meta):
    return OwnModel()


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.array([[0, 7], [3, 1]]), [4, 8]),
        (np.array([[-1, 0.5], [3.0, 1.0]]), [4, None]),
        (np.array([[-2, 0], [3, 0]]), [None, 1]),
        (np.array([[2.0**31, np.inf], [0, 1]]), [None, None]),
        (np.array([[True, False]]), [2, 1]),
        (np.array([2, 0]), [3]),
        (np.zeros((2, 3, 4)), None),
        (np.array([["a"]], object), None),
        (sf.MultiInput(a=np.array([[1.0], [4.0]]), b=np.zeros((2, 3, 4))), {"a": [5], "b": None}),
    ],
)
def test_codes_are_counted(X, expected):
    with np.errstate(all="raise"):
        assert cardinalities_of(X, None) == expected


def test_a_builder_is_told_the_codes_of_its_training_rows():
    seen = []

    def build(meta):
        seen.append(meta["cardinalities_"])
        return by_cardinality(meta)

    late = X.copy()
    late[-1, 0] = 9  # is in the training rows of the first fold and of the refit
    cv = [(np.arange(20, 60), np.arange(20)), (np.arange(40), np.arange(40, 59))]
    stack = sf.StackingRegressor([("net", sf.KerasRegressor(build))], cv=cv).fit(late, Y)
    assert seen[:1] + seen[-2:] == [[10, None], [5, None], [10, None]]
    tables = [layer for layer in stack.estimators_[0].model_.layers if "embed" in layer.name]
    assert [table.input_dim for table in tables] == [10]


@pytest.mark.parametrize("code", [5, -1, -5])
def test_codes_that_a_layer_does_not_have_are_refused_with_their_column(code):
    network = sf.KerasRegressor(by_cardinality).fit(X, Y)
    rows = X[:3].copy()
    rows[1, 0] = code
    message = rf"X, column 0, holds {code}.0, but the layer .* takes the indices 0 to 4\. Make"
    with pytest.raises(ValueError, match=message):
        network.predict(rows)


@pytest.mark.parametrize("build", [own, unknown_is_first])
@pytest.mark.parametrize("engine", ["fused", "sequential", "predict"])
def test_indices_that_a_model_computes_are_told_where_they_fail(build, engine):
    """On every path; TensorFlow's own error names neither the layer nor what to do."""
    network, wrong = sf.KerasRegressor(build, random_state=0), X.copy()
    wrong[::7, 0] = 77
    layer = "'table'" if build is own else r"'embedding(_\d+)?'"
    message = rf"layer {layer} of model .* got the index 7[78], but takes the indices 0 to"
    if engine == "predict":
        network.fit(X, Y)
        with pytest.raises(ValueError, match=message):
            network.predict(wrong)
        return
    if build is unknown_is_first:
        network.set_params(model=_of_five)
    with pytest.raises(ValueError, match=message):
        sf.out_of_fold([("net", network)], wrong, Y, cv=2, engine=engine, random_state=0)


def _of_five(meta):
    return unknown_is_first({"cardinalities_": [5, None]})


def test_a_category_that_a_fold_has_not_seen_is_unknown_to_it():
    words = np.array(["Ulm", "Bonn", "Kiel", "Jena", "Rom"], object)[X[:, 0].astype(int)]
    words[0] = "Oslo"
    table = np.column_stack([words, X[:, 1]])
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    first = ColumnTransformer([("word", encoder, [0])], remainder="passthrough")
    columns = make_pipeline(first, sf.KerasRegressor(unknown_is_first, epochs=2))
    stack = sf.StackingRegressor([("net", columns)], cv=3, random_state=0).fit(table, Y)
    assert np.isfinite(stack.oof_.predictions).all()
    rows = table[:3].copy()
    rows[1, 0], rows[2, 0] = "Paris", "Lyon"
    rows[2, 1] = rows[1, 1]
    one, other = stack.predict(rows)[1:]
    assert_allclose(one, other)


def test_codes_are_counted_in_any_dtype():
    for dtype in ("float16", "float32", "int8", "uint8", "bool"):
        X = np.array([[0, 1], [1, 0]], dtype)
        assert cardinalities_of(X, None) == [2, 2]
    assert cardinalities_of(np.array([[0.5], [np.nan]], "float16"), None) == [None]
