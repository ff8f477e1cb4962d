"""The layout and the signature of TensorFlow Serving."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression, LogisticRegression
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import stackfuse as sf
from tests.export.serving import page, tensorflow_serving
from tests.export.serving.page import REVENUE, ask, outline

NAMES = {REVENUE: "Umsatz_Monat_"}


@pytest.fixture
def models(exported) -> Path:
    """Return the folder of models after the page's export."""
    return exported / "models"


def test_the_layout_is_that_of_tensorflow_serving(models):
    version = models / "churn" / "1"
    assert (version / "saved_model.pb").is_file()
    assert (version / "variables" / "variables.index").is_file()
    assert [path.name for path in models.iterdir()] == ["churn"]
    assert sorted(path.name for path in version.parent.iterdir()) == ["0", "1"]
    saved = SavedModel.FromString((version / "saved_model.pb").read_bytes())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    assert {name: tf.as_dtype(entry.dtype).name for name, entry in signature.inputs.items()} == {
        "age": "float64",
        "city": "string",
        "Umsatz_Monat_": "float64",
        "Zahlungsart": "string",
        "contracts": "float64",
    }
    shapes = [tuple(d.size for d in i.tensor_shape.dim) for i in signature.inputs.values()]
    assert set(shapes) == {(-1, 1)}
    about = json.loads((version / "assets.extra" / "stackfuse.json").read_text())
    assert about["classes"] == ["bleibt", "kündigt"]
    assert {i["column"]: name for name, i in about["inputs"].items()}[REVENUE] == NAMES[REVENUE]


def test_it_answers_over_http_as_the_stack_does(models, stack, rows, serve):
    command = f"python {tensorflow_serving.__file__} {models / 'churn'} --port 8501"
    address = f"{serve(command, models)}/v1/models/churn"
    assert ask(address)[1]["model_version_status"][0]["version"] == "1"
    for request, shown in page.requests("TensorFlow Serving"):
        code, answer = ask(f"{address}:predict", request)
        assert (code, outline(answer)) == (200, outline(shown))
    columns = {NAMES.get(name, name): rows[[name]] for name in rows}
    words = {"city", "Zahlungsart"}
    inputs = {
        name: column.fillna("<NA>" if name in words else np.nan).to_numpy().tolist()
        for name, column in columns.items()
    }
    expected, label = stack.predict_proba(rows), stack.predict(rows)
    _, by_columns = ask(f"{address}:predict", {"inputs": inputs})
    assert_allclose(by_columns["outputs"]["probabilities"], expected, atol=1e-12)
    assert_array_equal(stack.classes_[by_columns["outputs"]["label"]], label)
    instances = [dict(zip(inputs, row)) for row in zip(*inputs.values())]
    _, by_rows = ask(f"{address}:predict", {"instances": instances})
    assert_array_equal(
        [row["probabilities"] for row in by_rows["predictions"]],
        by_columns["outputs"]["probabilities"],
    )
    code, refused = ask(f"{address}:predict", {"instances": [{**instances[0], "age": [None]}]})
    assert (code, refused["error"]) == (400, "JSON value None is not of the expected type float64")
    code, refused = ask(f"{address}:predict", {"instances": [{**instances[0], "age": 31}]})
    assert code == 400
    assert "shape" in refused["error"]


def test_numbers_alone_are_one_input_of_rows(iris, tmp_path):
    X, y = iris
    model = LogisticRegression().fit(X, y)
    sf.export(model, tmp_path / "iris" / "7", verify=X)
    served = tensorflow_serving.Model(tmp_path / "iris")
    assert served.version == 7
    answer = served.predict({"instances": X[:5].tolist()})["predictions"]
    expected = model.predict_proba(X[:5])
    assert_allclose([row["probabilities"] for row in answer], expected, atol=1e-14)
    sf.export(LinearRegression().fit(X, y), tmp_path / "number" / "1", verify=X)
    number = tensorflow_serving.Model(tmp_path / "number").predict({"inputs": X[:5].tolist()})
    assert_allclose(number["outputs"], LinearRegression().fit(X, y).predict(X[:5]), atol=1e-14)
    with pytest.raises(tensorflow_serving.Refused, match="not of the expected type float64"):
        served.predict({"instances": [["1", 2, 3, 4]]})
