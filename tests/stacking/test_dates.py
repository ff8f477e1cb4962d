"""Dates as numbers, beside pandas' own calendar, and in files of every format."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf

DAY = pd.Timedelta(days=1)


def dates(n_rows, zone=None, seed=0):
    """Return moments between 1940 and 2050, a tenth of them missing."""
    rng = np.random.default_rng(seed)
    minutes = rng.integers(-30 * 365 * 1440, 80 * 365 * 1440, n_rows)
    moments = pd.Series(pd.Timestamp(0) + pd.to_timedelta(minutes, unit="min"))
    moments[rng.uniform(size=n_rows) < 0.1] = pd.NaT
    return moments if zone is None else moments.dt.tz_localize("UTC").dt.tz_convert(zone)


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
@pytest.mark.parametrize("unit", ["ns", "us", "s"])
def test_parts_are_those_of_the_calendar(zone, unit):
    column = dates(500, zone).dt.as_unit(unit)
    X = pd.DataFrame({"sold": column})
    parts = sf.DateParts().set_output(transform="pandas").fit_transform(X)
    plain = column if zone is None else column.dt.tz_convert(None)
    assert_allclose(parts["sold_days"], (plain - pd.Timestamp(0)) / DAY, rtol=1e-15)
    since_midnight = (plain - plain.dt.normalize()) / DAY
    assert_allclose(parts["sold_day"], since_midnight, atol=1e-9)
    assert_allclose(parts["sold_week"], plain.dt.day_of_week + since_midnight, atol=1e-9)
    assert_allclose(parts["sold_year"], (parts["sold_days"] % 365.25), atol=1e-9)
    assert (abs(parts["sold_year"] + 1 - plain.dt.day_of_year - since_midnight) < 2)[
        plain.dt.day_of_year < 363
    ].all()


def test_cyclic_parts_are_on_circles():
    X = pd.DataFrame({"a": dates(200), "b": dates(200, seed=1)})
    linear = sf.DateParts().fit_transform(X)
    cyclic = sf.DateParts(cyclic=True).fit(X)
    names = list(cyclic.get_feature_names_out())
    assert names[:4] == ["a_days", "b_days", "a_year_sin", "b_year_sin"]
    found = pd.DataFrame(cyclic.transform(X), columns=names)
    angles = 2 * np.pi * linear[:, 2:] / np.repeat([365.25, 7, 1], 2)
    for k, name in enumerate(f"{c}_{cycle}" for cycle in ("year", "week", "day") for c in "ab"):
        assert_allclose(found[f"{name}_sin"], np.sin(angles[:, k]), atol=1e-12)
        assert_allclose(found[f"{name}_cos"], np.cos(angles[:, k]), atol=1e-12)


def test_arrays_and_numbers_of_days():
    column = dates(50)
    wanted = sf.DateParts().fit_transform(pd.DataFrame({0: column}))
    array = column.to_numpy()[:, None]
    assert_array_equal(sf.DateParts().fit_transform(array), wanted)
    assert_array_equal(sf.DateParts().fit_transform(wanted[:, :1]), wanted)
    assert_array_equal(sf.DateParts().fit_transform(pd.DataFrame(wanted[:, :1])), wanted)
    with pytest.raises(ValueError, match=r"the column 'a' holds .* values. Convert them"):
        sf.DateParts().fit(pd.DataFrame({"a": ["2024-01-01"]}))


@pytest.mark.parametrize(
    ("ending", "zone"),
    [(".keras", "Europe/Berlin"), (".keras", None), (".onnx", None), (".tflite", None)],
)
def test_files_take_days(ending, zone, tmp_path):
    X = pd.DataFrame({"when": dates(300, zone), "size": np.random.default_rng(0).normal(size=300)})
    days = X["when"].dt.tz_localize(None) if zone is None else X["when"].dt.tz_convert(None)
    days = (days - pd.Timestamp(0)) / DAY
    y = np.sin(2 * np.pi * days.fillna(0.0) / 7) + X["size"]
    parts = make_pipeline(sf.DateParts(cyclic=True), SimpleImputer(), StandardScaler())
    table = ColumnTransformer([("dates", parts, ["when"])], remainder="passthrough")
    bases = [("ridge", make_pipeline(table, Ridge())), ("same", make_pipeline(table, Ridge(9)))]
    stack = sf.StackingRegressor(bases, cv=3, random_state=0).fit(X, y)
    assert stack.score(X, y) > 0.9
    path = tmp_path / f"stack{ending}"
    assert sf.export(stack, path, verify=X).n_probes > 50
    assert sf.export(stack, path).n_rows == 64
    fed = np.column_stack([days, X["size"]])
    form = sf.formats.named({".tflite": "litert", ".onnx": "onnx", ".keras": "keras"}[ending])
    assert form.read_manifest(path)["dates"] == {"when": "days since 1970-01-01"}
    outputs = form.outputs_of(path, {"x": fed.astype("f4" if ending == ".tflite" else "f8")})
    tolerance = 0.05 if ending == ".tflite" else 1e-9  # float32 has minutes
    assert_allclose(np.ravel(outputs["prediction"]), stack.predict(X), atol=tolerance)
    if ending == ".keras":
        assert_array_equal(sf.compiled(stack).predict(X), stack.predict(X))
