"""Text that is read as numbers, and the cells that keep a column from being read so."""

import numpy as np
import pandas as pd
import pytest

from stackfuse._cli.amounts import with_amounts, words_among_numbers
from stackfuse._cli.asked import Wanted, prepare


@pytest.mark.parametrize(
    ("cells", "decimal", "numbers"),
    [
        (["1.234,50 €", "564,00 €", None], ",", [1234.5, 564, np.nan]),
        (["1.234", "564"], ",", [1234, 564]),
        (["$1,200,000.25", "-$9"], ".", [1200000.25, -9]),
        (["7.34%", "10 %"], ".", [7.34, 10]),
        (["\u22120.381", "0.2"], ".", [-0.381, 0.2]),
        (["1 234 km²", "1\u00a0000 km²"], ".", [1234, 1000]),
        (["1,5", "2,5"], ".", None),  # a decimal comma, where points were found
        (["1.5", "2"], ",", None),
        (["12 kg", "13 g"], ".", None),
        (["€5", "5"], ".", None),
        (["007", "008"], ".", None),
        (["A-1", "B-2"], ".", None),
        ([None, None], ".", None),
    ],
)
def test_with_amounts(cells, decimal, numbers):
    frame = pd.DataFrame({"a": pd.Series(cells, dtype="str"), "b": 1.0})
    found, said = with_amounts(frame, decimal)
    if numbers is None:
        pd.testing.assert_frame_equal(found, frame)
        assert said == []
    else:
        assert found["a"].dtype == float
        np.testing.assert_array_equal(found["a"], numbers)
        assert said == [f"Text that is read as numbers: a ({cells[0]!r} is {numbers[0]:.10g})."]
    assert with_amounts(frame, decimal, ["a"])[1] == []


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["1", "2", "?", "?"], "'?' in 2 rows"),
        (["1.5 mg", "2 mg", "3 g", "4 mg"], "'3 g' in 1 row"),
        (["1", "2"], None),
        (["a", "b", "3"], None),
        ([None], None),
    ],
)
def test_words_among_numbers(cells, told):
    assert words_among_numbers(pd.Series(cells, dtype="str"), ".") == told


@pytest.fixture
def asked(tmp_path):
    """Return a function that prepares 60 rents, and a column beside them, for a fit."""

    def prepared(rents, others, **settings):
        frame = pd.DataFrame({"rent": rents, "other": others, "x": np.tile([1.5, 2.0], 30)})
        frame.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",", encoding="utf-16")
        return prepare(Wanted(tmp_path / "t.csv", "rent", tmp_path, **settings))

    return prepared


RENTS = [f"{k % 50 + 1}.{k % 50 + 100},50 €" for k in range(60)]


def test_a_target_of_amounts_is_a_target_of_numbers(asked):
    found = asked(RENTS, ["5", "?", "7"] * 20)
    np.testing.assert_array_equal(
        found.y, [(k + 1) * 1000 + k + 100.5 for k in [*range(50), *range(10)]]
    )
    assert found.said == [
        "Text that is read as numbers: rent ('1.100,50 €' is 1100.5).",
        "'other' is read as words, because it holds numbers, but also other cells: '?' in 20 rows. "
        "Empty these to have numbers.",
    ]


@pytest.mark.parametrize(
    ("rents", "settings", "message"),
    [
        (["EUR", *RENTS[1:]], {}, "The target 'rent' holds numbers, but also other cells: 'EUR'"),
        ([f"flat {k}" for k in range(60)], {}, "'rent' holds 60 different words in 60 rows, most"),
        (RENTS, {"drop": ("nothing",)}, "no column 'nothing'. Its columns: 'rent', 'other', 'x'"),
        (RENTS, {"groups": "other", "time_column": "x"}, "ask for different folds"),
    ],
)
def test_what_would_be_guessed_is_refused(asked, rents, settings, message):
    with pytest.raises(ValueError, match=message):
        asked(rents, ["a", "b", "c"] * 20, **settings)
