"""The process that checks files, when its caller is interrupted."""

import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._export.formats.onnx import Onnx
from stackfuse._export.formats.table import FORMATS


@pytest.fixture
def slow(monkeypatch):
    """Register a format that is ONNX, and takes a minute to load beside a file named "wait"."""
    monkeypatch.setattr("stackfuse._export.formats.table.FORMATS", dict(FORMATS))
    monkeypatch.setattr("stackfuse._export.formats.base.Format.start", lambda form: None)

    class Slow(Onnx):
        name, suffix, title = "slow", ".slow", "Slow"

        @staticmethod
        def load(path):
            import os
            import time

            import onnxruntime

            if os.path.exists(os.path.join(os.path.dirname(path), "..", "wait")):
                open(os.path.join(os.path.dirname(path), "..", "begun"), "w").close()
                time.sleep(60)
            session = onnxruntime.InferenceSession(path)
            names = [output.name for output in session.get_outputs()]
            return lambda rows: dict(zip(names, session.run(names, rows)))

    return sf.formats.register(Slow)()


def interrupt_when(path: Path) -> None:
    """Send Ctrl-C to this process as soon as a file is there."""
    main = threading.main_thread()

    def send() -> None:
        while not path.exists():
            time.sleep(0.02)
        signal.pthread_kill(main.ident or 0, signal.SIGINT)

    threading.Thread(target=send, daemon=True).start()


def test_an_interrupted_export_leaves_no_answer_for_the_next(slow, iris, tmp_path):
    X, y = iris
    model = LogisticRegression().fit(X, y)
    (tmp_path / "wait").touch()
    interrupt_when(tmp_path / "begun")
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sf.export(model, tmp_path / "model.slow", verify=X)
    assert time.monotonic() - start < 30
    assert {path.name for path in tmp_path.iterdir()} == {"wait", "begun"}
    (tmp_path / "wait").unlink()
    for name in ("model.slow", "model.onnx"):
        report = sf.export(model, tmp_path / name, verify=X)
        assert report.max_difference < 1e-12


@pytest.mark.parametrize("how", ["interrupt", "time-out of the caller"])
def test_who_asks_after_an_interrupt_is_given_an_own_answer(how, slow, iris, tmp_path):
    X, y = iris
    model = LogisticRegression().fit(X, y)
    (tmp_path / "exports").mkdir()
    path = tmp_path / "exports" / "model.slow"
    sf.export(model, path, verify=X)
    expected = model.predict_proba(X)
    for _ in range(2):
        (tmp_path / "wait").touch()
        if how == "interrupt":
            interrupt_when(tmp_path / "begun")
            with pytest.raises(KeyboardInterrupt):
                slow.outputs_of(path, {"x": X[:5]})
        else:
            before = signal.signal(signal.SIGALRM, _raise_timeout)
            signal.setitimer(signal.ITIMER_REAL, 2)
            try:
                with pytest.raises(TimeoutError):
                    slow.outputs_of(path, {"x": X[:5]})
            finally:
                signal.signal(signal.SIGALRM, before)
        (tmp_path / "wait").unlink()
        (tmp_path / "begun").unlink()
        got = slow.outputs_of(path, {"x": X})
        assert_allclose(got["probabilities"], expected, atol=1e-14)
    assert np.shape(got["label"]) == (150,)


def _raise_timeout(*_) -> None:
    raise TimeoutError
