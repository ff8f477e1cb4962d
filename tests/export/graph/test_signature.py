"""Rows of every kind become the inputs of a graph: mixed arrays, frames in another order."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf

WORDS = OneHotEncoder(handle_unknown="ignore")


@pytest.fixture(scope="module")
def passengers():
    rng = np.random.default_rng(0)
    age = np.where(rng.random(60) < 0.2, np.nan, rng.uniform(1, 80, 60).round())
    columns = {"age": age, "fare": rng.gamma(2, 10, 60), "port": rng.choice(["S", "C"], 60)}
    return pd.DataFrame(columns), (columns["fare"] > 15).astype(int)


def answers_of(path, rows: pd.DataFrame, names) -> np.ndarray:
    """Return a file's probabilities; each input is fed from its column."""
    session = onnxruntime.InferenceSession(path)
    fed = {
        entry.name: rows[[name]].to_numpy(object if name == "port" else float)
        for entry, name in zip(session.get_inputs(), names, strict=True)
    }
    return np.asarray(session.run(["probabilities"], fed)[0])


def test_an_array_of_words_and_numbers(passengers, tmp_path):
    frame, y = passengers
    X = frame.to_numpy()
    before = ColumnTransformer([("words", WORDS, [2])], remainder=SimpleImputer())
    bases = [("line", make_pipeline(before, LogisticRegression()))]
    stack = sf.StackingClassifier(bases, DecisionTreeClassifier(max_depth=2), cv=2).fit(X, y)
    rows = frame.head(4).copy()
    rows.loc[0, "port"], rows.loc[1, "age"] = "nowhere", np.nan
    for verify in (X, None):
        report = sf.export(stack, tmp_path / "stack.onnx", verify=verify)
        assert report.n_probes > 50
        found = answers_of(tmp_path / "stack.onnx", rows, ["age", "fare", "port"])
        assert_allclose(found, stack.predict_proba(rows.to_numpy()), rtol=1e-9)


def test_several_inputs_one_of_which_holds_words_and_numbers(passengers):
    frame, y = passengers
    X = sf.MultiInput(table=frame)
    steps = sf.Pick("table"), ColumnTransformer([("words", WORDS, ["port"])]), LogisticRegression()
    model = make_pipeline(*steps).fit(X, y)
    with pytest.raises(sf.NotConvertible, match=r"'table' holds words and numbers.* two inputs"):
        sf.to_keras(model, X=X)


@pytest.mark.parametrize("remainder", [WORDS, "drop"], ids=["words", "numbers"])
def test_columns_in_another_order_and_others_beside_them(passengers, remainder, tmp_path):
    """A ColumnTransformer finds its columns by name; the file has them in the order of fit."""
    frame, y = passengers
    X = frame if remainder is WORDS else frame[["age", "fare"]]
    steps = [("age", SimpleImputer(), ["age"]), ("fare", StandardScaler(), ["fare"])]
    model = make_pipeline(ColumnTransformer(steps, remainder=remainder), LogisticRegression())
    model.fit(X, y)
    rows = X[X.columns[::-1]].assign(y=y)
    report = sf.export(model, tmp_path / "model.onnx", verify=rows)
    assert report.n_rows == 60
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    if remainder is WORDS:
        found = answers_of(tmp_path / "model.onnx", frame, X.columns)
    else:
        found = session.run(["probabilities"], {"x": X.to_numpy()})[0]
    assert_allclose(found, model.predict_proba(rows), rtol=1e-9)


def test_columns_that_are_lacking(passengers):
    frame, y = passengers
    before = ColumnTransformer([("fare", StandardScaler(), ["fare"])])  # looks at no other
    model = make_pipeline(before, LogisticRegression()).fit(frame, y)
    with pytest.raises(sf.NotConvertible, match="The rows lack the columns 'age', 'port' of fit"):
        sf.to_keras(model, X=frame[["fare"]])
