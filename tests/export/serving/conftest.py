"""The stack that is served in all tests here: customers who leave or stay."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import stackfuse as sf
from tests.export.serving import page
from tests.export.serving.page import EXAMPLES, REVENUE

NUMBERS, WORDS = ["age", REVENUE, "contracts"], ["city", "Zahlungsart"]

#: Seconds after which a server that does not start is given up.
PATIENCE = 120.0


def customers(n_rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return customers, some of whose values are missing, and whether they leave."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "age": rng.normal(45, 15, n_rows).round(1),
            "city": rng.choice(["Köln", "München", "Würzburg", "Zürich"], n_rows),
            REVENUE: rng.gamma(2, 30, n_rows).round(2),
            "Zahlungsart": rng.choice(["Kreditkarte", "Lastschrift", "Überweisung"], n_rows),
            "contracts": rng.integers(1, 5, n_rows),
        }
    )
    leaves = X[REVENUE] + 20 * (X["city"] == "Köln") + rng.normal(0, 20, n_rows) > 60
    for column in ("age", REVENUE, "city"):
        X.loc[rng.uniform(size=n_rows) < 0.15, column] = None
    return X, np.where(leaves, "kündigt", "bleibt")


def network(meta):
    """Return a small network."""
    inputs = keras.Input((meta["n_features_in_"],))
    hidden = keras.layers.Dense(8, "relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(hidden))


def encoded():
    """Return a step that encodes words and fills and scales numbers."""
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    return ColumnTransformer([("words", words, WORDS), ("numbers", numbers, NUMBERS)])


@pytest.fixture(scope="session")
def stack():
    """Return a stack of a network, a forest and histogram boosting."""
    unknown = {"handle_unknown": "use_encoded_value", "unknown_value": np.nan}
    categories = ColumnTransformer(
        [("words", OrdinalEncoder(**unknown), WORDS), ("numbers", "passthrough", NUMBERS)]
    )
    boosting = HistGradientBoostingClassifier(max_iter=3, categorical_features=[0, 1])
    forest = RandomForestClassifier(5, max_depth=4, random_state=0)
    net = sf.KerasClassifier(network, epochs=3, random_state=0)
    bases = [
        ("net", make_pipeline(encoded(), net)),
        ("forest", make_pipeline(encoded(), forest)),
        ("boosting", make_pipeline(categories, boosting)),
    ]
    made = sf.StackingClassifier(bases, LogisticRegression(), cv=3, random_state=0)
    return made.fit(*customers(200))


@pytest.fixture(scope="session")
def rows():
    """Return customers to ask about: some values are missing, some categories unknown."""
    X, _ = customers(240)
    X = X[200:].reset_index(drop=True)
    X.loc[::4, "city"] = "Łódź"
    X.loc[1::5, "Zahlungsart"] = "Bitcoin"
    X.loc[2::6, "Zahlungsart"] = None
    return X


@pytest.fixture(scope="session")
def exported(stack, tmp_path_factory) -> Path:
    """Return a folder after the page's export, beside an older version of the model."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "models" / "churn" / "0").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (code,) = page.blocks("# Serving", "python")
        exec(code, {"sf": sf, "stack": stack})
    return folder


@pytest.fixture
def folder(exported, tmp_path) -> Path:
    """Return a folder with the file and the examples, where the page's code runs."""
    unpacked = shutil.ignore_patterns("node_modules", "__pycache__")
    shutil.copytree(EXAMPLES, tmp_path / "served", ignore=unpacked)
    shutil.copy(exported / "churn.onnx", tmp_path / "served")
    return tmp_path / "served"


@pytest.fixture
def environment(monkeypatch) -> None:
    """Have the page's commands find this environment's programs."""
    programs = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([programs, os.environ["PATH"]]))


@pytest.fixture
def serve(environment, tmp_path) -> Iterator[Callable[[str, Path], str]]:
    """Return a function that starts a server by a command, and returns its address.

    The command ends with ``--port NUMBER``; the port is replaced by a free one. The server ends
    with the test.
    """
    servers: list[subprocess.Popen] = []

    def start(command: str, folder: Path) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path / "server.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                re.sub(r"--port \d+", f"--port {port}", command),
                shell=True,
                cwd=folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        servers.append(server)
        end = time.monotonic() + PATIENCE
        while not answers_at(port):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        return f"http://127.0.0.1:{port}"

    yield start
    for server in servers:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def answers_at(port: int) -> bool:
    """Return whether something listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
