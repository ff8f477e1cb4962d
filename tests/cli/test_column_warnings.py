"""Odd columns: those that number rows, and those that give the target away."""

import numpy as np
import pandas as pd
import pytest

from stackfuse._cli.column_warnings import identifiers, leaking

N_ROWS = 400


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": rng.permutation(N_ROWS) + 7,
            "name": [f"row{k}" for k in range(N_ROWS)],
            "day": pd.date_range("2024-01-01", periods=N_ROWS),
            "size": rng.normal(size=N_ROWS),
            "city": rng.choice(list("abc"), N_ROWS),
        }
    )


def test_columns_that_number_rows(frame):
    assert identifiers(frame) == ["id", "name"]  # a day is no number of a row
    assert identifiers(pd.concat([frame, frame[:9]])) == ["id", "name"]


def test_columns_that_give_classes_away(frame):
    y = pd.Series(np.where(frame["size"] > 0.3, "high", "low"))
    assert leaking(frame, y, True) == ["size"]
    codes = frame.assign(code=y.map({"high": 1, "low": 2}), noise=frame["size"] + 0.1)
    assert leaking(codes.drop(columns="size"), y, True) == ["code", "noise"]
    rare = pd.Series(np.where(np.arange(N_ROWS) == 5, "rare", "usual"))
    assert leaking(frame[["city", "size"]], rare, True) == []  # chance is right as often


def test_columns_that_give_numbers_away(frame):
    y = 3.0 * frame["size"] + 1.0
    with_holes = frame.assign(size=frame["size"].where(frame.index % 9 > 0))
    assert leaking(with_holes, y, False) == ["size"]
    assert leaking(frame, y + np.random.default_rng(1).normal(size=N_ROWS), False) == []
