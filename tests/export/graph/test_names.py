"""Columns of any name: what they are called in the graph, in every format that carries strings."""

import keyword
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import stackfuse as sf
from stackfuse._cli import (
    inspect as _inspect,
)
from stackfuse._cli import (
    main as cli,
)
from stackfuse._export.graph.names import input_names
from stackfuse._export.graph.signature import Signature

ODD = [
    *("home dest", "é", "class", "a-b", "a/b", "a b", "", "x" * 300, "日本", "日", "_private", "0"),
    *("label", "probabilities", "decision", "self", "power", "embedding", "Age", "age", "x", "A_B"),
]


def stack_on(names):
    """Return a stack on columns of numbers and of strings in turn, its rows and their places."""
    random = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            name: random.normal(size=60) if k % 2 else random.choice(["u", "v", ""], 60)
            for k, name in enumerate(names)
        }
    )
    words, numbers = list(range(0, len(names), 2)), list(range(1, len(names), 2))

    def columns():
        encoder = OneHotEncoder(handle_unknown="ignore")
        return ColumnTransformer([("w", encoder, words), ("n", StandardScaler(), numbers)])

    bases = [
        ("lr", make_pipeline(columns(), LogisticRegression())),
        ("rf", make_pipeline(columns(), RandomForestClassifier(3, random_state=0))),
    ]
    stack = sf.StackingClassifier(bases, cv=2, random_state=0)
    return stack.fit(X, random.integers(0, 2, 60)), X


@pytest.fixture(scope="module")
def odd():
    return stack_on(ODD)


@pytest.mark.parametrize("ending", [".keras", "", ".onnx"])
def test_columns_of_any_name(odd, ending, tmp_path):
    stack, X = odd
    path = tmp_path / f"stack{ending}"
    sf.export(stack, path, verify=X)
    inputs = _inspect.read_manifest(path)["inputs"]
    assert [entry["column"] for entry in inputs.values()] == ODD
    rows = {name: X[[entry["column"]]].to_numpy() for name, entry in inputs.items()}
    by_column = {name: X[[name]].to_numpy() for name in ODD}
    for fed in (rows, by_column):
        got = _inspect.outputs_of(path, fed)
        assert_allclose(got["probabilities"], stack.predict_proba(X), atol=1e-13)
        assert_array_equal(got["label"], stack.predict(X))


def test_columns_that_are_numbered(tmp_path):
    stack, X = stack_on(range(4))
    sf.export(stack, tmp_path / "stack", verify=X)
    inputs = _inspect.read_manifest(tmp_path / "stack")["inputs"]
    assert {name: entry["column"] for name, entry in inputs.items()} == {
        f"column_{k}": k for k in range(4)
    }


def test_the_graph_takes_the_columns_in_their_order(odd):
    import tensorflow as tf

    stack, X = odd
    graph = sf.to_keras(stack)
    fed = {
        name: tf.constant(X.iloc[:, [k]].to_numpy(float if k % 2 else str))
        for k, name in enumerate(graph.input)
    }
    got = graph(fed)
    assert_allclose(got["probabilities"], stack.predict_proba(X), atol=1e-13)


@pytest.mark.parametrize(
    "columns",
    [ODD, ["a_2", "a b", "a-b", "a_b_2"], ["z" * 61, "z" * 62, "z" * 60], [0, 1, (0, "a")]],
    ids=str,
)
def test_names_are_safe_unique_and_stay(columns):
    names = input_names(columns)
    assert list(names) == columns
    assert len({name.lower() for name in names.values()}) == len(columns)
    assert names == input_names(columns)
    for name in names.values():
        assert name.isascii()
        assert name.isidentifier()
        assert name[0].isalpha()
        assert len(name) <= 61
        assert not keyword.iskeyword(name)
    backwards = input_names(columns[::-1])
    for column in ("x", "a_2", "a_b_2", "power"):  # a good name is nobody else's
        if column in names:
            assert names[column] == backwards[column] == column


def test_inspect_tells_which_column_an_input_takes(odd, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stack, X = odd
    sf.export(stack, tmp_path / "stack.keras", verify=X)
    assert cli.main(["inspect", str(tmp_path / "stack.keras")]) == 0
    shown = capsys.readouterr().out
    assert "home_dest: string (n, 1) takes 'home dest'" in shown
    assert "class_: string (n, 1) takes 'class'" in shown


def test_inputs_of_networks_of_any_name(tmp_path):
    import keras

    random = np.random.default_rng(0)
    arrays = {"my image": random.normal(size=(40, 3)), "class": random.normal(size=(40, 2))}
    X, y = sf.MultiInput(**arrays), random.integers(0, 2, 40)

    def build():
        inputs = {name: keras.Input(a.shape[1:], name=name) for name, a in arrays.items()}
        both = keras.layers.Concatenate()(list(inputs.values()))
        return keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(both))

    model = sf.KerasClassifier(build, random_state=0).fit(X, y)
    for ending in (".keras", ""):
        path = Path(tmp_path / f"model{ending}")
        sf.export(model, path, verify=X)
        inputs = _inspect.read_manifest(path)["inputs"]
        assert {n: e["column"] for n, e in inputs.items()} == {
            "my_image": "my image",
            "class_": "class",
        }
        got = _inspect.outputs_of(path, arrays)["probabilities"]
        assert_allclose(got, model.predict_proba(X), atol=1e-6)


def test_columns_of_one_name_are_refused():
    X = pd.DataFrame([["a", 1.0], ["b", 2.0]], columns=["c", "c"])
    with pytest.raises(sf.NotConvertible, match="several columns named 'c'"):
        Signature.of_rows(X, "float64")
