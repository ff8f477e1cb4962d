"""The example of FastAPI with ONNX Runtime, started by uvicorn and asked over HTTP."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression, LogisticRegression

import stackfuse as sf
from tests.export.serving import page
from tests.export.serving.page import EXAMPLES, ask, outline, records

#: Packages that the example does without.
ABSENT = ("keras", "pandas", "scipy", "sklearn", "stackfuse", "tensorflow", "onnx")


@pytest.fixture
def address(folder, serve, monkeypatch) -> str:
    """Return the address of the page's server, which can import no package that it names not."""
    pytest.importorskip("fastapi", reason="fastapi is not installed: pip install '.[serving]'")
    hidden = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))"
    (folder / "sitecustomize.py").write_text(hidden)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    (command,) = page.blocks("FastAPI", "sh")
    return serve(command, folder) + "/predict"


def test_it_answers_as_the_stack_does(address, stack, rows):
    ((request, shown),) = page.requests("FastAPI")
    code, answer = ask(address, request)
    assert (code, outline(answer)) == (200, outline(shown))
    _, answer = ask(address, records(rows))
    assert [row["label"] for row in answer] == stack.predict(rows).tolist()
    expected = stack.predict_proba(rows)
    found = [[row["probabilities"][name] for name in stack.classes_] for row in answer]
    assert_allclose(found, expected, atol=1e-7)


WRONG = {
    "a column that is missing": (lambda row: row.pop("city"), "missing", [0, "city"]),
    "another column": (lambda row: row.update(town="Köln"), "extra_forbidden", [0, "town"]),
    "a word for a number": (lambda row: row.update(age="31"), "float_type", [0, "age", "float"]),
    "a number for a word": (lambda row: row.update(city=4), "string_type", [0, "city"]),
}


def test_what_is_wrong_is_named(address, rows):
    for spoil, kind, place in WRONG.values():
        row = records(rows[:1])[0]
        spoil(row)
        code, answer = ask(address, [row])
        first = answer["detail"][0]
        assert (code, first["type"], first["loc"][1:]) == (422, kind, place)
    no_number = records(rows[:1])[0] | {"age": float("nan")}
    assert ask(address, [no_number])[0] == 200
    assert ask(address, [no_number | {"town": "Köln"}])[0] == 422
    assert ask(address, [])[0] == 422
    assert ask(address, {"age": 3})[0] == 422


@pytest.fixture
def exported_table(monkeypatch):
    """Return the module of the example."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return pytest.importorskip("exported_table")


def test_the_page_asks_without_a_server(exported_table, folder, stack, monkeypatch):
    monkeypatch.chdir(folder)
    (code,) = page.blocks("FastAPI", "python")
    namespace: dict = {}
    exec(code, namespace)
    request = pd.DataFrame(page.requests("FastAPI")[0][0])
    assert [row["label"] for row in namespace["answers"]] == stack.predict(request).tolist()


@pytest.mark.parametrize("of_frame", [True, False], ids=["frame", "array"])
def test_a_table_of_numbers_has_its_columns_too(exported_table, iris, tmp_path, of_frame):
    X = iris[0][:, :3]
    names = ["sepal length (cm)", "ß", "third"] if of_frame else ["x0", "x1", "x2"]
    given = pd.DataFrame(X, columns=names) if of_frame else X
    model = LogisticRegression().fit(given, iris[1] == 1)
    table = exported_table.ExportedTable(
        str(sf.export(model, tmp_path / "iris.onnx", verify=given, precision="float32").path)
    )
    assert table.columns == dict.fromkeys(names, "float32")
    answers = table.answers({**dict(zip(names, X.T)), "more": []})
    found = [[row["probabilities"]["False"], row["probabilities"]["True"]] for row in answers]
    assert_allclose(found, model.predict_proba(given), atol=1e-6)
    assert_array_equal([row["label"] for row in answers], model.predict(given))
    # scikit-learn refuses a row with a missing number.
    assert table.answers({name: [None] for name in names}) == [
        {"label": None, "probabilities": {"False": None, "True": None}}
    ]


def test_other_files_are_refused(exported_table, tmp_path):
    import keras
    import onnx

    images = keras.Sequential([keras.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(1)])
    path = sf.export(images, tmp_path / "images.onnx", verify=np.ones((3, 4, 4))).path
    with pytest.raises(ValueError, match=r"takes rows of the shapes \[\(4, 4\)\]: it serves no"):
        exported_table.ExportedTable(str(path))
    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "bare.onnx")
    with pytest.raises(ValueError, match="holds no description: write it with "):
        exported_table.ExportedTable(str(tmp_path / "bare.onnx"))


def test_numbers_are_predicted(exported_table, diabetes, tmp_path):
    X, y = diabetes
    model = LinearRegression().fit(X, np.column_stack([y, -y]))
    path = sf.export(model, tmp_path / "two.onnx", verify=X).path
    answers = exported_table.ExportedTable(str(path)).answers(
        {f"x{k}": column for k, column in enumerate(X.T)}
    )
    assert_allclose([row["prediction"] for row in answers], model.predict(X), atol=1e-9)
