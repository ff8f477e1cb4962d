"""Formats register themselves; what is incomplete or taken is refused in one sentence."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._export.formats import table

OUTSIDE = {"x": 1}


@pytest.fixture(autouse=True)
def formats(monkeypatch):
    """A table of its own for each test."""
    monkeypatch.setattr(table, "FORMATS", dict(table.FORMATS))


class Plain(sf.formats.Format):
    name, suffix, title = "plain", ".plain", "Plain"

    def write(self, graph, path):
        weights = graph.model.get_weights()
        path.write_bytes(b"".join(w.astype("float64").tobytes() for w in weights))

    @staticmethod
    def load(path):
        import numpy

        def run(rows):
            scores = rows["x"] @ numpy.zeros((4, 3))
            return {"probabilities": scores + 1 / 3, "label": numpy.zeros(len(scores), int)}

        return run


def changed(**attributes):
    return type("Changed", (Plain,), attributes)


def test_a_registered_format_is_known_by_name_and_ending(iris, tmp_path):
    assert sf.formats.register(Plain) is Plain
    sf.formats.register(Plain)  # a cell of a notebook that is run again
    assert sf.formats.named("plain").suffix == ".plain"
    model = LogisticRegression().fit(*iris)
    with pytest.raises(sf.ParityError, match="The file disagrees with the estimator: 'prob"):
        sf.export(model, tmp_path / "model.plain", verify=iris[0])
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"names no format. Use .keras, .onnx, .plain, .tflite"):
        sf.export(model, tmp_path / "model.h5", verify=False)


class Bound(Plain):
    def load(self, path):  # type: ignore[override]
        return None


class FromOutside(Plain):
    @staticmethod
    def load(path):
        return lambda rows: OUTSIDE


class Unfinished(sf.formats.Format):
    name, suffix, title = "unfinished", ".unfinished", "Unfinished"


@pytest.mark.parametrize(
    ("cls", "error", "message"),
    [
        (Bound, TypeError, r"Bound.load must be a @staticmethod with one parameter, load\(path\)"),
        (FromOutside, TypeError, "FromOutside.load uses 'OUTSIDE' from outside of the function"),
        (Unfinished, TypeError, "abstract methods"),
        (Plain(), TypeError, "register takes a subclass of Format, got"),
        (int, TypeError, "register takes a subclass of Format, got <class 'int'>"),
        (changed(title=None), TypeError, "Changed has no title: set it in the class to a string"),
        (changed(suffix="plain"), ValueError, "must be like '.foo', got 'plain'"),
        (changed(suffix=".a.b"), ValueError, "must be like '.foo', got '.a.b'"),
        (changed(companions=("bin",)), ValueError, "must be like '.foo', got 'bin'"),
        (changed(suffix=".onnx"), ValueError, "'.onnx', but ONNX already uses one"),
        (changed(name="keras"), ValueError, "'keras' and the ending '.plain', but Keras already"),
        (changed(runs_with=("scipy.sparse",)), ValueError, "Changed names scipy in runs_with"),
    ],
)
def test_what_is_no_format_is_refused(cls, error, message):
    before = dict(table.FORMATS)
    with pytest.raises(error, match=message):
        sf.formats.register(cls)
    assert before == table.FORMATS


def test_a_light_loader_has_no_tensorflow(tmp_path):
    class Heavy(Plain):
        @staticmethod
        def load(path):
            import tensorflow

            return tensorflow.identity

    (tmp_path / "x.plain").touch()
    with pytest.raises(
        sf.NotConvertible, match=r"cannot run the Plain file: ModuleNotFoundError: .*tensorf"
    ):
        Heavy().outputs_of(tmp_path / "x.plain", {"x": np.ones((1, 4))})


def test_missing_packages_of_a_format_are_named(iris, tmp_path):
    sf.formats.register(changed(runs_with=("no_such_runtime",)))
    model = LogisticRegression().fit(*iris)
    message = r"need no_such_runtime, which is not installed: pip install no_such_runtime\."
    with pytest.raises(ModuleNotFoundError, match=message):
        sf.export(model, tmp_path / "model.plain", verify=iris[0])


def test_every_file_of_the_folder_that_is_a_format_is_known():
    files = Path(table.__file__).parent.glob("*.py")
    deciding = {path.stem for path in files if "@register" in path.read_text()} - {"table"}
    assert deciding == {"keras", "litert", "onnx", "openvino", "saved_model"} <= {*table.FORMATS}
