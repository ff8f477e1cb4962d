"""Exports are checked on unknown, empty and missing words, whatever words the rows hold."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

import stackfuse as sf
from stackfuse._export.checking.word_probes import word_probes
from stackfuse._export.converters.preprocessing import encoding

RANDOM = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "port": RANDOM.choice(["S", "C", "Q"], 60),
        "deck": RANDOM.choice(["x", "y"], 60),
        "age": RANDOM.normal(size=60),
    }
)
Y = X["age"] + 2 * (X["port"] == "S") - 3 * (X["deck"] == "x")
IGNORING = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
WITH_VALUE = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
STRICT = OneHotEncoder(sparse_output=False)


def fitted(encoder, rows=X):
    columns = ["port", "deck"] if hasattr(rows, "columns") else [0, 1]
    steps = ColumnTransformer([("words", encoder, columns)], remainder="passthrough")
    return make_pipeline(steps, LinearRegression()).fit(rows, Y)


@pytest.mark.parametrize("encoder", [IGNORING, WITH_VALUE, TargetEncoder()])
def test_a_graph_that_takes_unknown_words_for_the_first_one_is_refused(
    encoder, tmp_path, monkeypatch
):
    model = fitted(encoder)
    right = encoding._code

    def wrong(*args):
        return encoding.ops.maximum(right(*args), 1)

    assert sf.export(model, tmp_path / "right.onnx", verify=X).n_probes > 20
    monkeypatch.setattr(encoding, "_code", wrong)
    graph = sf.to_keras(model, X=X)
    fed = {name: X[[name]].to_numpy(str if name != "age" else float) for name in X}
    assert_allclose(graph(fed)["prediction"], model.predict(X), atol=1e-12)
    with pytest.raises(sf.ParityError, match=r"unknown, .*\['a word of no column'"):
        sf.export(model, tmp_path / "wrong.keras", verify=X)


def test_a_graph_that_answers_what_an_encoder_refuses_is_not_written(tmp_path, monkeypatch):
    model = fitted(STRICT)
    kinds = {probe.kind: probe for probe in word_probes(model, X, "float64")}
    assert list(kinds) == ["with an unknown word", "with an empty word", "with a missing word"]
    assert all(probe.refused and len(probe.rows) == 2 for probe in kinds.values())
    assert kinds["with a missing word"].rows[["port", "deck"]].isna().sum().tolist() == [1, 1]
    monkeypatch.setattr(encoding, "refuse_rows", lambda where: None)
    with pytest.raises(sf.ParityError, match="raises an error, with an unknown word"):
        sf.export(model, tmp_path / "wrong.keras", verify=X)


@pytest.mark.parametrize("dtype", ["str", "object", "category", "string"])
def test_rows_are_what_the_estimator_was_asked_for(dtype):
    rows = X.astype(dict.fromkeys(["port", "deck"], dtype))
    model = fitted(IGNORING, rows)
    (probe,) = word_probes(model, rows, "float64")
    assert_array_equal(probe.expected["prediction"], model.predict(probe.rows))
    words = probe.rows[["port", "deck"]]
    assert (words == "a word of no column").sum().tolist() == [1, 1]
    assert words.isna().sum().tolist() == (words == "").sum().tolist() == [1, 1]
    if dtype != "string":
        assert_array_equal(probe.rows.dtypes.astype(str), rows.dtypes.astype(str))


def test_arrays_of_words_and_several_inputs():
    words = X[["port", "deck"]].to_numpy(str)
    encoder = make_pipeline(IGNORING, LinearRegression())
    (probe,) = word_probes(encoder.fit(words, Y), words, "float64")
    assert probe.rows.dtype.kind == "U"
    assert_array_equal((probe.rows == "").sum(axis=0), [1, 1])
    several = sf.MultiInput(words=words, age=X[["age"]].to_numpy())
    picked = make_pipeline(sf.Pick("words"), IGNORING, LinearRegression()).fit(several, Y)
    (probe,) = word_probes(picked, several, "float64")
    assert_array_equal(probe.rows.arrays["words"][:2, 0], ["a word of no column", words[1, 0]])
    assert probe.rows.arrays["age"].shape == (5, 1)
    assert word_probes(picked, X[["age"]], "float64") == []


@pytest.mark.parametrize("kind", ["array", "polars"])
def test_a_category_None_is_exported(kind, tmp_path):
    """pandas would make NaN of it, and Polars numbers of a row with nothing else."""
    table = X.astype(object).to_numpy()
    table[::7, 0] = None
    rows = table
    if kind == "polars":
        polars = pytest.importorskip("polars")
        rows = polars.DataFrame({name: table[:, k].tolist() for k, name in enumerate(X)})
    model = fitted(IGNORING, rows)
    assert model[0].transformers_[0][1].categories_[0].tolist() == ["C", "Q", "S", None]
    assert (sf.export(model, tmp_path / "a.keras", verify=rows).max_difference or 0) < 1e-12
