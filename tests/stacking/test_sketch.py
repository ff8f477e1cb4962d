"""Facts that a stack keeps about its rows, and the rows that are made up from them."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from numpy.testing import assert_array_equal
from sklearn.preprocessing import OneHotEncoder

import stackfuse as sf
from stackfuse._stacking import held_by, sketch_of
from stackfuse._stacking.sketch.held import Held

NOTHING = Held([], frozenset())

GENERATOR = np.random.default_rng(3)


def drawn(X, held=NOTHING, n_rows=50):
    """Return rows made up like an X, from a sketch that went through a pickle."""
    sketch = pickle.loads(pickle.dumps(sketch_of(X, held)))
    rows = sketch.rows(n_rows, np.random.default_rng(0))
    again = sketch.rows(n_rows, np.random.default_rng(0))
    assert pickle.dumps(rows) == pickle.dumps(again)
    return rows


@pytest.mark.parametrize(
    "column",
    [
        GENERATOR.normal(size=200),
        GENERATOR.normal(1e6, 1e-3, size=200),
        GENERATOR.lognormal(0, 5, size=200),
        GENERATOR.uniform(size=200).round(1) + 2.0,
        np.full(200, 3.14159),
        -GENERATOR.uniform(2, 3, size=200),
        GENERATOR.integers(1_500_000_000, 1_700_000_000, 200).astype(float),
        GENERATOR.integers(19500101, 20240101, 200).astype(float),
    ],
)
def test_no_number_is_kept(column):
    numbers = sketch_of(column[:, None], NOTHING).columns  # type: ignore[attr-defined]
    assert not {*numbers.low, *numbers.high} & {*column.tolist()}
    rows = drawn(column[:, None])
    width = np.ptp(column) or abs(column[0])
    assert rows.min() >= column.min() - 0.11 * width
    assert rows.max() <= column.max() + 0.11 * width
    assert not {*rows.ravel().tolist()} & {*column.tolist()}


def test_whole_numbers_stay_in_their_range():
    table = GENERATOR.integers(0, [2, 10, 200, 5000, 1], (300, 5))
    rows = drawn(table, n_rows=400)
    assert rows.dtype == table.dtype
    assert (rows >= table.min(axis=0)).all()
    assert (rows <= table.max(axis=0)).all()
    assert_array_equal(rows[:, :3].max(axis=0), table[:, :3].max(axis=0))
    assert len(np.unique(rows[:, 3])) > 100


def test_signs_missing_values_and_dtypes_stay():
    table = GENERATOR.uniform(0.01, 5, (100, 4)).astype(np.float32)
    table[::7, 1] = np.nan
    table[:, 2] *= -1
    table[:, 3] = np.nan
    rows = drawn(table)
    assert rows.dtype == np.float32
    assert (rows[:, 0] >= 0).all()
    assert 0 < np.isnan(rows[:, 1]).mean() < 0.5
    assert (rows[:, 2] <= 0).all()
    assert np.isnan(rows[:, 3]).all()
    assert drawn(table > 2).dtype == bool
    assert drawn(np.full((9, 2), 1e308)).dtype == np.float64


@pytest.mark.parametrize(
    "array",
    [
        GENERATOR.uniform(size=(20, 6, 2)),
        GENERATOR.integers(0, 256, (20, 8, 8, 3)).astype(np.uint8),
        GENERATOR.uniform(size=(20, 80, 80)),
        np.array([["a", "b"], ["c", "d"]] * 5),
        np.array([["a", "b"], ["c", "d"]] * 5, "S"),
        np.array([["a", 1], ["c", 2]] * 5, object),
        np.arange(9.0),
    ],
)
def test_arrays_keep_shape_and_dtype(array):
    rows = drawn(array, n_rows=5)
    assert rows.shape == (5, *array.shape[1:])
    assert rows.dtype.kind == array.dtype.kind
    if array.dtype.kind == "u":
        assert rows.dtype == np.uint8
    if array.dtype.kind == "O":
        assert isinstance(rows[0, 0], str)
        assert isinstance(rows[0, 1], int)


def test_frames_keep_names_and_dtypes():
    frame = pd.DataFrame(
        {
            "age": [30.5, np.nan, 41.25, 28.0] * 5,
            "rank": pd.array([1, None, 3, 2] * 5, "Int64"),
            "ratio": pd.array([0.25, None, 0.5, 0.125] * 5, "Float64"),
            "alone": [True, False] * 10,
            "sure": pd.array([True, None] * 10, "boolean"),
            "port": ["S", "C", None, "Q"] * 5,
            "deck": pd.Categorical(["a", "b", "c", None] * 5, ["c", "b", "a", "z"], ordered=True),
            "level": pd.Categorical([10, 20] * 10),
            "text": pd.array(["one two", "three"] * 10, "string"),
            "mixed": pd.Series([1, 2.5, None, True] * 5, dtype=object),
            3: np.arange(20, dtype=np.int8),
        }
    )
    held = Held([frozenset("abc"), frozenset([10, 20])], frozenset([*"SCabc", 10, 20, "two"]))
    rows = drawn(frame, held)
    assert [*rows.columns] == [*frame.columns]
    kept = rows.dtypes == frame.dtypes
    assert [*kept.index[~kept]] == ["deck"]  # no estimator holds the category "z"
    assert [*rows["deck"].cat.categories] == ["c", "b", "a"]
    assert rows["deck"].cat.ordered
    assert set(rows["level"]) == {10, 20}
    assert rows["port"].isna().any()
    assert {*rows["port"].dropna()} & {*"SC"}
    assert "Q" not in set(rows["port"])
    assert set(rows["rank"].dropna()) <= {1, 2, 3}
    assert any("two" in text for text in rows["text"])
    assert not any("three" in text for text in rows["text"])
    assert rows["mixed"].dropna().map(type).isin([float, int]).all()


def test_frames_of_other_libraries_keep_names_and_dtypes():
    frame = pl.DataFrame(
        {"n": [1, 2, None], "x": [0.5, 2.25, 1.0], "s": ["a", "b", "c"], "b": [True, False, True]}
    ).with_columns(pl.col("s").cast(pl.Categorical).alias("c"), pl.col("x").cast(pl.Float32))
    rows = drawn(frame, Held([frozenset("abc")], frozenset("abc")))
    assert isinstance(rows, pl.DataFrame)
    assert rows.schema == frame.schema
    assert set(rows["s"]) <= set("abc")
    assert rows["n"].null_count() > 0


def test_series_lists_and_several_inputs():
    texts = pd.Series(["Ada is ill", "Emmy is well"], name="note")
    rows = drawn(texts, Held([], frozenset(["ill", "well"])))
    assert rows.name == "note"
    assert not any("Ada" in text or "Emmy" in text for text in rows)
    assert any("ill" in text for text in rows)
    assert isinstance(drawn([[1.5, 2.0], [2.5, 3.0]]), list)
    assert all(isinstance(text, str) for text in drawn(["one", "two"]))
    several = drawn(sf.MultiInput(a=np.eye(3), b=pd.DataFrame({"c": [1.5, 2.5, 3.5]})))
    assert several["a"].shape == (50, 3)
    assert [*several["b"].columns] == ["c"]


@pytest.mark.parametrize("of", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
def test_sparse_rows(of):
    dense = GENERATOR.uniform(0.5, 2.0, (60, 40)) * (GENERATOR.uniform(size=(60, 40)) < 0.1)
    rows = drawn(of(dense.astype(np.float32)))
    assert type(rows) is of
    assert rows.shape == (50, 40)
    assert rows.dtype == np.float32
    assert 0.02 < rows.nnz / 2000 < 0.2
    assert rows.min() >= 0


def test_categories_of_encoders_are_known():
    frame = pd.DataFrame({"code": [1.5, 7.25, 9.0] * 9, "city": ["Turin", "Delft", "Bern"] * 9})
    encoder = OneHotEncoder().fit(frame)
    rows = drawn(frame, held_by(encoder))
    encoder.transform(rows)
    assert set(rows["code"]) == {1.5, 7.25, 9.0}
    assert set(rows["city"]) == {"Turin", "Delft", "Bern"}
