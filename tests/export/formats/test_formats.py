import importlib.util
import json
import os
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import erfinv
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import stackfuse as sf
from stackfuse._cli import inspect as _inspect
from stackfuse._export.checking import answers, comparison
from stackfuse._export.checking import (
    process as _verify,
)
from stackfuse._export.checking import (
    runtimes as _runtimes,
)
from stackfuse._export.checking.comparison import _round_to_float32
from stackfuse._export.formats import table as _formats
from tests.support.networks import build_classifier

BASES = [
    ("net", sf.KerasClassifier(build_classifier, dropout=0.3, epochs=3)),
    ("trees", ExtraTreesClassifier(3, max_depth=4)),
]

ONNX = _formats.named("onnx")

ENDINGS = {
    "keras": ".keras",
    "saved_model": "",
    "onnx": ".onnx",
    "litert": ".tflite",
    "openvino": ".xml",
}


@pytest.fixture(scope="module")
def stack(iris):
    return sf.StackingClassifier(BASES, LogisticRegression(), cv=2, random_state=0).fit(*iris)


def by_keras(path, rows):
    import keras

    model = keras.models.load_model(path, safe_mode=True)
    return model(rows if isinstance(model.input, dict) else rows["x"])


def by_tensorflow(path, rows):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return loaded.signatures["serving_default"](**{k: tf.constant(v) for k, v in rows.items()})


def by_onnxruntime(path, rows):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    assert {entry.name for entry in session.get_inputs()} == set(rows)
    return dict(zip([y.name for y in session.get_outputs()], session.run(None, rows)))


def by_litert(path, rows):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner()(**rows)


def by_openvino(path, rows):
    import openvino

    core = openvino.Core()
    model = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {name: y for key, y in model(rows).items() for name in key.get_names()}


LOADERS = {
    "keras": by_keras,
    "saved_model": by_tensorflow,
    "onnx": by_onnxruntime,
    "litert": by_litert,
    "openvino": by_openvino,
}


@pytest.fixture(scope="module")
def reports(iris, stack, tmp_path_factory):
    """Return reports by format of one export in every format, each in a folder of its own."""
    paths = [tmp_path_factory.mktemp(name) / f"stack{end}" for name, end in ENDINGS.items()]
    return dict(zip(ENDINGS, sf.export(stack, paths, verify=iris[0])))


@pytest.mark.parametrize("format", ENDINGS)
def test_a_stack_in_every_format(iris, stack, format, reports):
    X, _ = iris
    report = reports[format]
    path = report.path
    assert (report.format, report.n_rows) == (format, 150)
    assert report.n_probes > 100
    dtype = "float64" if format in ("keras", "saved_model", "onnx") else "float32"
    got = LOADERS[format](path, {"x": X.astype(dtype)})
    assert np.asarray(got["probabilities"]).dtype == dtype
    assert_allclose(got["probabilities"], stack.predict_proba(X), atol=1e-6)
    assert_array_equal(got["label"], stack.predict(X))
    manifest = _inspect.read_manifest(path)
    assert manifest["classes"] == [0, 1, 2]
    assert manifest["inputs"]["x"] == {"shape": [None, 4], "dtype": dtype, "column": None}
    assert {p.suffix for p in path.parent.iterdir()} - {".bin"} == {ENDINGS[format]}


def test_networks_of_float64_become_float32(iris, tmp_path):
    X, y = iris
    head = sf.FusionClassifier(epochs=1, random_state=0).fit(X, y)
    sf.export(head, tmp_path / "head.tflite", verify=X)
    got = by_litert(tmp_path / "head.tflite", {"x": X.astype(np.float32)})
    assert_allclose(got["probabilities"], head.predict_proba(X), atol=1e-6)


def test_several_inputs_in_every_format(iris, tmp_path):
    import keras

    X, y = iris
    rows = sf.MultiInput(second=X[:, :1], first=X[:, 1:])

    def build():
        second, first = keras.Input((1,), name="second"), keras.Input((3,), name="first")
        joined = keras.layers.Concatenate()([second, first])
        return keras.Model([second, first], keras.layers.Dense(3, "softmax")(joined))

    network = sf.KerasClassifier(build, random_state=0).fit(rows, y)
    paths = [tmp_path / f"net{ending}" for ending in ENDINGS.values()]
    sf.export(network, paths, verify=rows, golden=rows[:8])
    for format, path in zip(ENDINGS, paths):
        dtype = "float64" if format in ("keras", "saved_model", "onnx") else "float32"
        got = LOADERS[format](path, {name: a.astype(dtype) for name, a in rows.arrays.items()})
        assert_allclose(got["probabilities"], network.predict_proba(rows), atol=1e-6)
        golden = _inspect.read_manifest(path)["golden"]["inputs"]
        assert_allclose(golden["first"], X[:8, 1:], rtol=1e-6)


class Lengths(RegressorMixin, BaseEstimator):
    """Looks words up; a converter for it is registered below."""

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        known = {"red": 1.0, "green": 2.0}
        return np.array([known.get(word, 0.0) for word in X["word"]]) + X["size"].to_numpy()


@sf.converter_for(Lengths, frames=True)
def _lengths(estimator, x, method):
    import keras
    from keras import ops

    number = keras.layers.StringLookup(vocabulary=["red", "green"])(x.columns["word"])
    return ops.reshape(ops.cast(number, x.columns["size"].dtype) + x.columns["size"], (-1,))


FRAME = pd.DataFrame({"word": ["red", "green", "blue"] * 3, "size": np.arange(9.0)})


@pytest.mark.parametrize("format", ["keras", "saved_model"])
def test_strings(format, tmp_path):
    model = Lengths().fit(FRAME, None)
    path = tmp_path / f"words{ENDINGS[format]}"
    sf.export(model, path, verify=FRAME, golden=FRAME[:8])
    golden = _inspect.read_manifest(path)["golden"]
    assert golden["inputs"]["word"] == [[word] for word in FRAME["word"][:8]]
    rows = {"word": FRAME[["word"]].to_numpy(object), "size": FRAME[["size"]].to_numpy()}
    assert_array_equal(_inspect.outputs_of(path, rows)["prediction"], model.predict(FRAME))


@pytest.mark.parametrize("ending", [".tflite", ".xml"])
def test_strings_are_refused_where_no_file_can_carry_them(ending, tmp_path):
    with pytest.raises(sf.NotConvertible, match="The Lengths takes strings in 'word', and"):
        sf.export(Lengths().fit(FRAME, None), tmp_path / f"words{ending}", verify=FRAME)
    words = FRAME.assign(other=FRAME["word"])[["word", "other"]]
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(words, FRAME["size"] > 3)
    with pytest.raises(sf.NotConvertible, match="takes strings in 'word' and 'other', and"):
        sf.export(model, tmp_path / f"words{ending}", verify=words)
    assert not list(tmp_path.iterdir())


def test_what_a_format_has_no_kernel_for_is_named(diabetes, tmp_path, capfd):
    class Inverse(Ridge):
        def predict(self, X):
            return erfinv(np.tanh(X[:, 0]))

    @sf.converter_for(Inverse)
    def _inverse(estimator, x, method):
        from keras import ops

        return ops.erfinv(ops.tanh(x[:, 0]))

    model = Inverse().fit(*diabetes)
    for title, ending in (("LiteRT", ".tflite"), ("OpenVINO", ".xml")):
        message = f"^{title} cannot run Erfinv, which this graph needs. Export to .keras.$"
        with pytest.raises(sf.NotConvertible, match=message):
            sf.export(model, tmp_path / f"model{ending}", verify=diabetes[0])
    assert "Erfinv" not in capfd.readouterr().err  # the converter's own pages


def test_nothing_is_reported_to_the_makers_of_openvino(iris, tmp_path, monkeypatch):
    """Their converter sends some 70 reports of its use, each from a fork of this process."""
    telemetry = pytest.importorskip("openvino_telemetry").Telemetry
    sent = []
    monkeypatch.setattr(telemetry, "send_event", lambda self, *event, **_: sent.append(event))
    X, y = iris
    sf.export(LogisticRegression().fit(X, y), tmp_path / "model.xml", verify=X)
    assert {event[0] for event in sent} <= {"ov"}  # OpenVINO is imported, which it tells itself


def test_trees_keep_their_rounding_to_float32_in_onnx(tmp_path):
    """A converter that takes a cast and its reverse for nothing would move rows across splits."""
    generator = np.random.default_rng(0)
    X = generator.uniform(size=(300, 2)).round(2)
    model = ExtraTreesClassifier(2, max_depth=3, random_state=0).fit(X, X.sum(axis=1) > 1)
    path = tmp_path / "trees.onnx"
    sf.export(model, path, verify=X)
    t = model.estimators_[0].tree_.threshold[0]
    rows = np.full((3, 2), 0.5)
    rows[:, model.estimators_[0].tree_.feature[0]] = [t, np.float32(t), np.nextafter(t, 1)]
    assert_array_equal(
        by_onnxruntime(path, {"x": rows})["probabilities"], model.predict_proba(rows)
    )


def test_small_probabilities_are_right_in_onnx(iris, tmp_path):
    """onnxruntime's own sigmoid of -50 is 0; here they are divided by their sum."""
    X, y = iris
    one_each = OneVsRestClassifier(LinearDiscriminantAnalysis(priors=[1 - 1e-9, 1e-9])).fit(X, y)
    sf.export(one_each, tmp_path / "one_each.onnx", verify=X)
    proba = by_onnxruntime(tmp_path / "one_each.onnx", {"x": X})["probabilities"]
    assert_allclose(proba, one_each.predict_proba(X), rtol=1e-9)


def test_report_and_manifest(iris, stack, tmp_path):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    labels = np.array(["setosa", "versicolor", "virginica"])[y]
    stack = clone(stack).fit(frame, labels)
    path = tmp_path / "deep" / "stack.keras"
    report = sf.export(stack, path, verify=frame, golden=frame[:8])
    assert report.path == path
    assert report.n_rows == 150
    assert 0 <= (report.max_difference or 0) < 1e-5
    assert report.n_bytes == path.stat().st_size
    assert report.outputs == {"probabilities": (None, 3), "label": (None,)}
    assert f"over 150 rows, {report.n_probes} made-up rows agree" in str(report)
    manifest = json.loads(zipfile.ZipFile(path).read("stackfuse.json"))
    assert manifest["classes"] == ["setosa", "versicolor", "virginica"]
    assert manifest["feature_names"] == list("abcd")
    assert manifest["versions"]["stackfuse"] == sf.__version__
    assert manifest["golden"]["inputs"]["x"] == frame[:8].to_numpy().tolist()
    # On some processors the last digit of a float32 product depends on the place in a batch.
    np.testing.assert_allclose(
        manifest["golden"]["expected"]["probabilities"], stack.predict_proba(frame[:8]), rtol=1e-6
    )
    assert manifest["golden"]["expected"]["label"] == y[:8].tolist()
    assert set(manifest["sha256"]) == {"config.json", "model.weights.h5"}
    parts = manifest["estimator"]["parts"]
    assert list(parts) == ["net", "trees", "final_estimator"]
    assert parts["trees"]["is"].startswith("ExtraTreesClassifier(max_depth=4, n_estimators=3")
    assert list(path.parent.iterdir()) == [path]


def test_rows_to_verify_on_are_made_up_for_a_stack(stack, tmp_path):
    assert sf.export(stack, tmp_path / "stack.keras").n_rows == 64
    with pytest.raises(ValueError, match="verify=X_sample"):
        sf.export(stack.estimators_[1], tmp_path / "trees.keras")
    report = sf.export(stack.estimators_[1], tmp_path / "trees.keras", verify=False)
    assert "not verified" in str(report)
    assert (report.n_rows, report.n_probes) == (0, 0)


def test_golden_rows_hold_missing_values_as_words(iris, tmp_path):
    X, y = iris
    X = np.where(np.arange(150)[:, None] % 2 == 0, np.nan, X)
    model = HistGradientBoostingClassifier(max_iter=3).fit(X, y)
    sf.export(model, tmp_path / "model.keras", verify=X, golden=X[:8])
    golden = _inspect.read_manifest(tmp_path / "model.keras")["golden"]
    assert golden["inputs"]["x"][:2] == [["NaN"] * 4, X[1].tolist()]


def test_disagreement_is_told_and_nothing_is_written(iris, stack, tmp_path, monkeypatch):
    X, _ = iris
    path = tmp_path / "stack.keras"
    sf.export(stack, path)
    before = path.read_bytes()
    expected = answers.expected_outputs(stack, X)
    expected["probabilities"][7, 1] += 0.25
    compute = answers.expected_outputs
    monkeypatch.setattr(
        comparison,
        "expected_outputs",
        lambda stack, rows: expected if len(rows) == 150 else compute(stack, rows),
    )
    with pytest.raises(
        sf.ParityError, match=r"'probabilities' differs in 1 of 150 rows, by up to 0.25 .*row 7"
    ):
        sf.export(stack, path, verify=X)
    expected["probabilities"][7, 1] -= 0.25
    expected["label"][3] += 1
    with pytest.raises(sf.ParityError, match=r"'label' differs in 1 of 150 rows.*first in row 3"):
        sf.export(stack, path, verify=X)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("format", ["keras", "onnx", "openvino"])
def test_a_file_that_is_not_the_graph_is_told(iris, format, tmp_path, monkeypatch):
    X, y = iris
    model = LogisticRegression().fit(X, y)
    path = tmp_path / f"model{ENDINGS[format]}"
    sf.export(model, path, verify=X)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    form = _formats.FORMATS[format]

    write = form.write

    def bent(graph, path):
        graph.model.set_weights([weight * 1.5 for weight in graph.model.get_weights()])
        write(graph, path)

    monkeypatch.setattr(form, "write", bent)
    with pytest.raises(sf.ParityError, match="The file disagrees"):
        sf.export(model, path, verify=X)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_what_is_no_export_is_never_replaced(iris, stack, tmp_path):
    precious = tmp_path / "results" / "precious.csv"
    precious.parent.mkdir()
    precious.write_text("1")
    with pytest.raises(FileExistsError, match="is not an earlier export"):
        sf.export(stack, precious.parent)
    with pytest.raises(FileExistsError, match="is not an earlier export"):
        sf.export(stack, precious, format="saved_model")
    (tmp_path / "stack.bin").write_text("1")
    with pytest.raises(FileExistsError, match=r"stack\.bin exists and is not an earlier"):
        sf.export(stack, tmp_path / "stack.xml")
    with pytest.raises(ValueError, match="names no file"):
        sf.export(stack, ".")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(IsADirectoryError, match="is a directory"):
        sf.export(stack, tmp_path / "folder.keras")
    assert precious.read_text() == (tmp_path / "stack.bin").read_text() == "1"


@pytest.mark.parametrize("format", ["saved_model", "openvino"])
def test_an_earlier_export_is_replaced(iris, format, tmp_path):
    X, y = iris
    path = tmp_path / f"model{ENDINGS[format]}"
    for strength in (0.01, 1.0):
        model = LogisticRegression(C=strength).fit(X, y)
        sf.export(model, path, verify=X)
    rows = X.astype("float64" if format == "saved_model" else "float32")
    got = LOADERS[format](path, {"x": rows})
    assert_allclose(got["probabilities"], model.predict_proba(X), atol=1e-6)
    assert len(list(tmp_path.iterdir())) == (2 if format == "openvino" else 1)


@pytest.mark.parametrize(
    ("path", "settings", "message"),
    [
        ("stack.h5", {}, "names no format. Use .keras, .onnx, .tflite, .xml, or a path without"),
        ("stack.keras", {"format": "hdf5"}, "format must be 'keras', 'litert', 'onnx'"),
        ("stack.tflite", {"format": "tflite"}, "got 'tflite'. Did you mean 'litert'"),
        ("stack", {"format": "SavedModel"}, "Did you mean 'saved_model'"),
        ("stack", {"format": "keras"}, "must end in '.keras'"),
        ("stack.tflite", {"precision": "float64"}, "'float64' does not work with LiteRT"),
        ("stack.keras", {"precision": "float16"}, "precision must be 'float64' or 'float32'"),
    ],
)
def test_wrong_formats(stack, tmp_path, path, settings, message):
    with pytest.raises(ValueError, match=message):
        sf.export(stack, tmp_path / path, **settings)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named_with_the_line_that_installs_them(stack, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    gone = ("tf2onnx", "onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n in gone else find(n))
    message = r"need onnx and tf2onnx, which are not installed: pip install 'stackfuse\[onnx\]'"
    with pytest.raises(ModuleNotFoundError, match=message):
        sf.export(stack, tmp_path / "stack.onnx")


def test_rows_of_every_kind_are_rounded_to_float32(iris):
    X, _ = iris
    narrow = X.astype(np.float32).astype(np.float64)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(word="red", whole=np.arange(150))
    rounded = _round_to_float32(frame)
    assert_array_equal(rounded[list("abcd")].to_numpy(), narrow)
    assert (rounded.dtypes == frame.dtypes).all()
    several = _round_to_float32(sf.MultiInput(a=X, ids=np.arange(150)))
    assert_array_equal(several["a"], narrow)
    assert several["ids"].dtype.kind == "i"


# ---------------------------------------------------------------------------- the other process


@pytest.fixture(scope="module")
def line(iris, tmp_path_factory):
    """Return an exported file, rows, and what it must return for them."""
    X, y = iris
    model = LogisticRegression().fit(X, y)
    path = tmp_path_factory.mktemp("line") / "model.onnx"
    sf.export(model, path, verify=X)
    return path, {"x": X}, model.predict_proba(X)


@pytest.fixture
def runtime():
    runtime = _verify.Runtime()
    yield runtime
    runtime.stop()


def test_the_process_stays_and_one_that_died_is_replaced(line, runtime, monkeypatch):
    path, rows, expected = line
    pids = []
    monkeypatch.setattr(_verify, "LOADS", 2)
    for turn in range(4):
        got = runtime.outputs_of(ONNX.loader, path, rows)
        assert_allclose(got["probabilities"], expected, atol=1e-14)
        pids.append(runtime._child.process.pid)
        if turn == 2:
            runtime._child.process.kill()
            runtime._child.process.wait()
    assert pids[0] == pids[1] != pids[2] != pids[3]


def test_a_process_that_hangs_or_dies_is_an_error(line, runtime, tmp_path, monkeypatch):
    path, rows, expected = line
    stuck = tmp_path / "stuck.onnx"
    os.mkfifo(stuck)  # reading it waits for ever
    runtime.start(ONNX.loader)
    killer = threading.Timer(0.3, runtime._child.process.kill)
    killer.start()
    with pytest.raises(sf.ParityError, match="to check it died, so nothing was written"):
        runtime.outputs_of(ONNX.loader, stuck, rows)
    monkeypatch.setattr(_verify, "TIMEOUT", 0.3)
    with pytest.raises(sf.ParityError, match=r"took longer than 0.3 seconds"):
        runtime.outputs_of(ONNX.loader, stuck, rows)
    monkeypatch.undo()
    got = runtime.outputs_of(ONNX.loader, path, rows)
    assert_allclose(got["probabilities"], expected, atol=1e-14)


def test_what_a_runtime_says_of_a_file_is_told(runtime, tmp_path):
    (tmp_path / "model.onnx").write_text("none")
    with pytest.raises(sf.NotConvertible, match=r"onnxruntime cannot run .*InvalidProto"):
        runtime.outputs_of(ONNX.loader, tmp_path / "model.onnx", {"x": np.zeros((1, 4))})


def test_the_process_cannot_import_stackfuse():
    refused = list(_verify.REFUSED)
    code = (
        "import io, runpy, sys; sys.path += sys.argv[2:]; script = runpy.run_path(sys.argv[1]); "
        f"sys.stdin = io.StringIO(); script['serve']({refused}, ['onnxruntime']); "
        "import stackfuse"
    )
    folder = os.path.dirname(os.path.dirname(sf.__file__))
    command = [sys.executable, "-I", "-c", code, _runtimes.__file__, folder]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError: import of stackfuse halted" in process.stderr


@pytest.mark.slow
def test_a_script_that_exports_is_run_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('started')\n"
        "import stackfuse as sf\n"
        "from sklearn.datasets import load_iris\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "X, y = load_iris(return_X_y=True)\n"
        "model = LogisticRegression(max_iter=500).fit(X, y)\n"
        "print(sf.export(model, 'model.keras', verify=X).n_rows)\n"
    )
    folder = os.path.dirname(os.path.dirname(sf.__file__))
    process = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": folder},
    )
    assert process.stdout.split() == ["started", "150"]
