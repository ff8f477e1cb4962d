"""The page's models of MLflow: logged, loaded, and served over HTTP."""

import json
import subprocess
import sys

import pytest
from numpy.testing import assert_allclose

from tests.export.serving import page
from tests.export.serving.page import REVENUE, ask, records

pytest.importorskip("mlflow", reason="mlflow is not installed: pip install '.[serving]'")

#: Has the page's models answer about rows of the test, and saves what they answer.
ASK = f"""
X = pd.read_json("rows.json").astype({{"contracts": float}})
X = X.where(X.notna(), None).astype({{"age": float, "{REVENUE}": float}})
arrays = loaded.predict(as_inputs(X))
answer = {{
    "inferred": model.metadata.signature.inputs.to_dict(),
    "frame": model.predict(X).to_dict("list"),
    "arrays": {{name: array.tolist() for name, array in arrays.items()}},
    "uri": logged.model_uri,
}}
with open("answer.json", "w") as file:
    json.dump(answer, file)
"""


@pytest.fixture
def logged(folder, rows, monkeypatch) -> dict:
    """Return what the page's code logs, and what it answers, in a store of the test's own.

    It runs in a process of its own: MLflow warns of its own code.
    """
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database takes 10 s to set up
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (folder / "store").as_uri())
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    (folder / "rows.json").write_text(json.dumps(records(rows)))
    code = "\n".join([*page.blocks("MLflow", "python"), ASK])
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return json.loads((folder / "answer.json").read_text())


def test_it_answers_as_the_stack_does(logged, folder, stack, rows, serve, monkeypatch):
    expected = stack.predict_proba(rows)
    types = {column["name"]: column["type"] for column in logged["inferred"]}
    assert types == {
        name: "string" if name in ("city", "Zahlungsart") else "double" for name in rows
    }
    by_class = [logged["frame"][f"probabilities.{name}"] for name in stack.classes_]
    assert_allclose(by_class, expected.T, atol=1e-7)
    assert logged["frame"]["label"] == stack.predict(rows).tolist()
    assert_allclose(logged["arrays"]["probabilities"], expected, atol=1e-7)
    assert list(stack.classes_[logged["arrays"]["label"]]) == stack.predict(rows).tolist()

    (command,) = page.blocks("MLflow", "sh")
    monkeypatch.setenv("URI", logged["uri"])
    address = serve(command, folder) + "/invocations"
    code, answer = ask(address, {"dataframe_records": records(rows)})
    assert code == 200
    assert [row["label"] for row in answer["predictions"]] == logged["frame"]["label"]
    served = [
        [row[f"probabilities.{name}"] for row in answer["predictions"]] for name in stack.classes_
    ]
    assert_allclose(served, by_class, atol=1e-15)
    code, answer = ask(address, {"dataframe_records": [{"age": 31}]})
    assert code == 400
    assert "missing" in answer["message"]
