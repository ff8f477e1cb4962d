"""Tables that nobody prepared: separators, decimal signs, encodings, marks, missing values."""

import bz2
import gzip
import importlib.util
import lzma

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from stackfuse._cli.table_files import Dialect, read_table


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "Größe (m²)": rng.normal(70, 20, 60).round(2),
            "city": rng.choice(["Köln", "Ulm, old town", "Bonn"], 60),
            "rooms": rng.integers(1, 6, 60),
            "balcony": rng.uniform(size=60) < 0.5,
        }
    )
    table.loc[3:9, "Größe (m²)"] = np.nan
    table.loc[5:7, "city"] = None
    return table


@pytest.mark.parametrize(
    ("separator", "decimal"),
    [(separator, decimal) for separator in ",;\t|" for decimal in ".," if separator != decimal],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_dialects(frame, separator, decimal, encoding, tmp_path):
    path = tmp_path / "table.csv"
    frame.to_csv(path, sep=separator, decimal=decimal, encoding=encoding, index=False)
    assert_frame_equal(read_table(path), frame, check_dtype=False)


def test_a_dialect_is_told(tmp_path):
    (tmp_path / "t.csv").write_bytes("größe;preis\n1,5;3,25\n2,5;4,75\n".encode("cp1252"))
    told = "columns between semicolons, decimals after a comma, encoding cp1252"
    assert str(Dialect.of(tmp_path / "t.csv")) == told


@pytest.mark.parametrize("module", [gzip, bz2, lzma], ids=["gz", "bz2", "xz"])
def test_compressed(frame, module, tmp_path, request):
    path = tmp_path / f"table.csv.{request.node.callspec.id}"
    path.write_bytes(module.compress(frame.to_csv(index=False).encode()))
    assert_frame_equal(read_table(path), frame, check_dtype=False)


def test_parquet(frame, tmp_path):
    path = tmp_path / "table.parquet"
    if importlib.util.find_spec("pyarrow") is None:
        path.write_bytes(b"PAR1")
        with pytest.raises(ModuleNotFoundError, match="pip install pyarrow"):
            read_table(path)
    else:
        frame.to_parquet(path)
        assert_frame_equal(read_table(path), frame, check_dtype=False)


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")
def test_nullable_columns_of_parquet_have_nan(tmp_path):
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], "Int64"),
            "all": pd.array([1, 2, 3], "Int8"),
            "yes": pd.array([True, None, False], "boolean"),
            "word": pd.array(["a", None, "b"], "string"),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    expected = {
        "whole": [1, np.nan, 3],
        "all": np.array([1, 2, 3], "int8"),
        "yes": [1, np.nan, 0],
        "word": pd.Series(["a", None, "b"], dtype="str"),
    }
    assert_frame_equal(read_table(tmp_path / "t.parquet"), pd.DataFrame(expected))


def test_truth_values_with_holes_are_numbers_and_mixed_cells_words(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("yes,mixed,only\nTrue,1,3\n,b,4\nFalse,,5\n")
    table = read_table(path)
    np.testing.assert_array_equal(table["yes"], [1.0, np.nan, 0.0])
    assert table["mixed"].tolist()[:2] == ["1", "b"]
    assert table["only"].tolist() == [3, 4, 5]


def test_one_column(tmp_path):
    (tmp_path / "table.csv").write_text("number\n1.5\n2.5\n")
    assert read_table(tmp_path / "table.csv")["number"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no"),
        (b"", "is empty"),
        (b"a,a \n1,2\n", "two columns named 'a'"),
        (b"a,b\n1,2\n1,2,3,4\n", "cannot be read as a table: .*line 3"),
        (b"size,rent\n1,5,100\n2,5,200\n", "cannot be read as a table: Length of header"),
    ],
)
def test_what_is_no_table_is_refused(content, message, tmp_path):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_table(path)


def test_a_line_that_names_the_separator_and_letters_far_below(tmp_path):
    rows = "".join(f"{k},5;1\n" for k in range(20_000))
    path = tmp_path / "table.csv"
    path.write_bytes(f"sep=;\r\nsize;n\n{rows}2,5;Köln\n".encode("cp1252"))
    found = read_table(path)
    assert found["size"].tolist() == [*np.arange(0.5, 20_000), 2.5]
    assert found["n"].iloc[-1] == "Köln"
