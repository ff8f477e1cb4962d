"""Files of strangers: each ends in a sentence, within limits of time and memory."""

import json
import os
import re
import shutil
import stat
import struct
import time
import zipfile
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import pytest
from sklearn.linear_model import LogisticRegression

import stackfuse as sf
from stackfuse._cli import main as cli
from stackfuse._core.fitting import memory_use
from stackfuse._export.formats.table import FORMATS

MANIFEST = "stackfuse.json"

#: Megabytes and seconds that a file may take.
MOST, LONGEST = 400, 30


@pytest.fixture(scope="module")
def made(iris, tmp_path_factory):
    """Return a folder with an export of each format, model.keras and so on, and model.h5."""
    folder = tmp_path_factory.mktemp("made")
    model = LogisticRegression(max_iter=1000).fit(*iris)
    X, _ = iris
    paths = [folder / f"model{form.suffix}" for form in FORMATS.values()]
    sf.export(model, paths, verify=X, golden=X[:8])
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    network.save(folder / "network.keras")
    network.save(folder / "network.h5")
    return folder


@pytest.fixture
def limits():
    """Fail a test that takes long or, where the system tells, much memory."""
    start, before = time.monotonic(), memory_from_now()
    yield
    assert time.monotonic() - start < LONGEST
    used = memory_use.used()
    if used is not None:
        assert used[1] - before < MOST * 2**20


def memory_from_now():
    """Return the bytes that this process takes; the peak that Linux tells begins here."""
    used = memory_use.used()
    if used is None:
        return 0
    Path("/proc/self/clear_refs").write_text("5")
    return used[0]


# ---------------------------------------------------------------------------- any file


def emptied(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("A file that is none of these.")


def halved(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    data = bytearray(path.read_bytes())
    for k in range(len(data) // 3, len(data) // 2, 7):
        data[k] ^= 0xFF
    path.write_bytes(data)


def beheaded(path):
    path.write_bytes(bytes(64) + path.read_bytes()[64:])


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def circle(path):
    path.unlink()
    path.symlink_to(path)


def folder(path):
    path.unlink()
    path.mkdir()


def foreign(path):
    """Another format's file, under this name."""
    other = "model.onnx" if path.suffix == ".keras" else "model.keras"
    shutil.copy(path.parent / other, path)


def holed(path):
    """Four billion bytes, of which the disk holds none."""
    with open(path, "wb") as file:
        file.truncate(1 << 32)


ANY = [emptied, text, halved, flipped, beheaded, pipe, device, circle, folder, foreign, holed]

# ---------------------------------------------------------------------------- archives


def with_member(name, data=b"x", mode=0):
    def change(path):
        with zipfile.ZipFile(path, "a") as archive:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, data)

    return change


def exploding(name, size=0xFFFFFFF0):
    """Add a member of four megabytes that unpacks to 4.3 gigabytes."""

    def change(path):
        press = zlib.compressobj(9, zlib.DEFLATED, -15)
        block = press.compress(bytes(1 << 24)) + press.flush(zlib.Z_FULL_FLUSH)
        packed = block * (size >> 24)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(zipfile.ZipInfo(name), packed)
            offset = archive.getinfo(name).header_offset
        data = bytearray(path.read_bytes())
        central = data.rindex(b"PK\x01\x02")
        struct.pack_into("<H", data, offset + 8, 8)
        struct.pack_into("<I", data, offset + 22, size)
        struct.pack_into("<H", data, central + 10, 8)
        struct.pack_into("<I", data, central + 24, size)
        path.write_bytes(data)

    return change


def without_manifest(path):
    """Rewrite an archive without its manifest."""
    with zipfile.ZipFile(path) as archive:
        parts = {n: archive.read(n) for n in archive.namelist() if n != MANIFEST}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def exploding_manifest(path):
    without_manifest(path)
    exploding(MANIFEST)(path)


def locked(path):
    """Say that all members are encrypted."""
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(signature), bytes(data)):
            data[found.start() + place] |= 1
    path.write_bytes(data)


def packed_strangely(path):
    """Name a way of packing that nobody knows."""
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        for found in re.finditer(re.escape(signature), bytes(data)):
            struct.pack_into("<H", data, found.start() + place, 77)
    path.write_bytes(data)


ARCHIVES = {
    "a member above": with_member("../../owned.txt"),
    "a member at the root": with_member("/tmp/owned.txt"),
    "a member on a drive": with_member("C:\\owned.txt"),
    "a member that is a link": with_member("config", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "a member that explodes": exploding("model.weights.extra"),
    "locked": locked,
    "packed strangely": packed_strangely,
}

# ---------------------------------------------------------------------------- manifests


def deep(levels):
    part = {"is": "A()", "parts": {}}
    for _ in range(levels):
        part = {"is": "A()", "parts": {"a": part}}
    return part


def spelled(value, path=("estimator",)):
    """Return the change of a manifest that puts a value at a place."""

    def change(manifest):
        place = manifest
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


MANIFESTS = {
    "inputs are a number": spelled(3, ("inputs",)),
    "inputs are a list": spelled([1, 2], ("inputs",)),
    "an input is a list": spelled([1], ("inputs", "x")),
    "a dtype of a gigabyte": spelled("U1000000000", ("inputs", "x", "dtype")),
    "a dtype that is none": spelled({}, ("inputs", "x", "dtype")),
    "a shape of words": spelled(["a", "b"], ("inputs", "x", "shape")),
    "no inputs": spelled({}, ("inputs",)),
    "outputs are null": spelled(None, ("outputs",)),
    "golden rows are a word": spelled("rows", ("golden",)),
    "golden rows without inputs": spelled({"expected": {}}, ("golden",)),
    "golden rows of words": spelled([["a"] * 4], ("golden", "inputs", "x")),
    "golden rows too large": spelled([[10**400] * 4], ("golden", "inputs", "x")),
    "golden rows are ragged": spelled([[1], [2, 3]], ("golden", "inputs", "x")),
    "golden rows are deep": spelled([[[[[[1]]]]]], ("golden", "inputs", "x")),
    "no golden row": spelled([], ("golden", "inputs", "x")),
    "expected are words": spelled(["a"], ("golden", "expected", "label")),
    "an estimator that is a word": spelled("Ridge()"),
    "an estimator without parts": spelled({"is": "Ridge()"}),
    "an estimator of 900 levels": spelled(deep(300)),
    "versions are a list": spelled([1], ("versions",)),
    "classes are a number": spelled(3, ("classes",)),
    "the version is a word": spelled("four", ("manifest_version",)),
    "the version is of the future": spelled(10**30, ("manifest_version",)),
    "an output of another name": spelled([[0.0]] * 8, ("golden", "expected", "nobody")),
    "digests are numbers": spelled({"model": 1}, ("sha256",)),
    "no digests": spelled({}, ("sha256",)),
}


def rewritten(path: Path, change) -> None:
    """Change the manifest of a SavedModel, which is a file of its own."""
    file = path / "assets.extra" / MANIFEST
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def inspected(path, capsys, *options) -> str:
    """Inspect a file; return what it says, which is one sentence or a table with a verdict."""
    status = cli.main(["inspect", str(path), *options])
    shown = capsys.readouterr()
    assert status in (1, 2)
    assert "Traceback" not in shown.out + shown.err
    if status == 2:
        assert len(shown.err.splitlines()) == 1
    assert not [c for c in shown.out + shown.err if ord(c) < 32 and c != "\n"]
    return shown.out + shown.err


@pytest.mark.parametrize("suffix", [".keras", ".onnx", ".tflite", ".xml", ".bin"])
@pytest.mark.parametrize("change", ANY, ids=lambda change: change.__name__)
def test_inspect_of_a_damaged_or_foreign_file(change, suffix, made, tmp_path, capsys, limits):
    for file in made.glob("model.*"):
        shutil.copy(file, tmp_path)
    change(tmp_path / f"model{suffix}")
    assert inspected(tmp_path / ("model.xml" if suffix == ".bin" else f"model{suffix}"), capsys)


@pytest.mark.parametrize("name", ARCHIVES)
def test_inspect_of_a_hostile_archive(name, made, tmp_path, capsys, limits):
    path = tmp_path / "model.keras"
    shutil.copy(made / path.name, path)
    ARCHIVES[name](path)
    assert inspected(path, capsys)
    assert os.listdir(tmp_path) == ["model.keras"]


@pytest.mark.parametrize("suffix", [".keras", ".tflite"])
def test_a_manifest_that_explodes(suffix, made, tmp_path, capsys, monkeypatch, limits):
    monkeypatch.setenv("COLUMNS", "300")
    path = tmp_path / f"model{suffix}"
    shutil.copy(made / path.name, path)
    if suffix == ".keras":
        exploding_manifest(path)
    else:
        path.write_bytes(b"TFL3" * 100)
        exploding(MANIFEST)(path)
    assert "MB unpack to 4,295 MB" in inspected(path, capsys)


@pytest.mark.parametrize("name", MANIFESTS)
def test_inspect_of_a_hostile_manifest(name, made, tmp_path, capsys, limits):
    shutil.copytree(made / "model", tmp_path / "model")
    rewritten(tmp_path / "model", MANIFESTS[name])
    # Only a runtime can tell.
    runs = name in ("golden rows are deep", "no golden row", "an output of another name")
    assert inspected(tmp_path / "model", capsys, *(["--run"] if runs else []))


@pytest.mark.parametrize("change", [emptied, text, halved, pipe, device, circle, folder, holed])
@pytest.mark.parametrize("file", ["saved_model.pb", f"assets.extra/{MANIFEST}", "variables"])
def test_inspect_of_a_hostile_saved_model(change, file, made, tmp_path, capsys, limits):
    shutil.copytree(made / "model", tmp_path / "model")
    path = tmp_path / "model" / file
    if path.is_dir():
        shutil.rmtree(path)
        path.touch()
    change(path)
    assert inspected(tmp_path / "model", capsys)


@pytest.mark.parametrize("target", ["../secret.bin", "/dev/zero", "secret.bin"])
def test_onnx_that_reads_another_file(target, made, tmp_path, capsys, limits):
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    (tmp_path / "in").mkdir()
    model = onnx.load(made / "model.onnx")
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value=target)
    path = tmp_path / "in" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert "is in another file" in " ".join(inspected(path, capsys).split())


def _signed(form, path, manifest):
    """Write digests that agree into the manifest of a file."""
    manifest["sha256"] = form.digests(path)
    form.attach(path, json.dumps(manifest))


def large_onnx(path):
    """Add a constant of 64 GB to the input."""
    form, model = FORMATS["onnx"], onnx.load(path)
    manifest, given = form.read_manifest(path), model.graph.input[0].name
    zero = onnx.numpy_helper.from_array(np.zeros(1))
    for node in model.graph.node:
        node.input[:] = ["with_zeros" if name == given else name for name in node.input]
    shape = onnx.numpy_helper.from_array(np.array([1 << 33]), "size")
    first = [
        onnx.helper.make_node("ConstantOfShape", ["size"], ["zeros"], value=zero),
        onnx.helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
        onnx.helper.make_node("Add", [given, "zero"], ["with_zeros"]),
    ]
    model.graph.initializer.append(shape)
    nodes = [*first, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    _signed(form, path, manifest)


def large_keras(path):
    """Name a layer of 2 ** 33 units in the configuration."""
    form = FORMATS["keras"]
    manifest = form.read_manifest(path)
    without_manifest(path)

    def config(known):
        text = json.dumps(known)
        return re.sub(r'"units": 3\b', f'"units": {1 << 33}', text)

    configured(config)(path)
    _signed(form, path, manifest)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux limits memory")
@pytest.mark.parametrize("change", [large_onnx, large_keras], ids=lambda change: change.__name__)
def test_a_file_that_asks_for_memory(change, made, tmp_path, capsys, monkeypatch, limits):
    monkeypatch.setenv("COLUMNS", "300")
    path = tmp_path / f"model.{change.__name__.removeprefix('large_')}"
    shutil.copy(made / path.name, path)
    assert cli.main(["inspect", str(path)]) == 0
    capsys.readouterr()
    change(path)
    shown = inspected(path, capsys)
    assert "more than 4.3 GB of memory, the limit for a file of this size" in shown


@pytest.mark.parametrize("how", ["grows", "reads"])
def test_openvino_with_entities(how, made, tmp_path, capsys, limits):
    for file in made.glob("model.*"):
        shutil.copy(file, tmp_path)
    path = tmp_path / "model.xml"
    grows = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10}">' for k in range(1, 10))
    entities = {"grows": f'<!ENTITY e0 "ha">{grows}', "reads": '<!ENTITY e9 SYSTEM "/etc/passwd">'}
    doctype = f"<?xml version='1.0'?><!DOCTYPE net [{entities[how]}]>"
    body = path.read_text().partition("?>")[2].replace('value="{', 'value="&e9;{', 1)
    path.write_text(doctype + body)
    assert inspected(path, capsys)


def test_names_are_no_commands_to_a_terminal(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    evil = "a\x1b]0;owned\x07\x1b[31m\x9b2J\u202eb"
    shutil.copytree(made / "model", tmp_path / "model")

    def change(manifest):
        manifest["feature_names"] = [evil] * 4
        manifest["classes"] = [evil, evil, evil]
        manifest["estimator"] = {"is": evil, "parts": {evil: {"is": evil, "parts": {}}}}
        manifest["versions"][evil] = evil

    rewritten(tmp_path / "model", change)
    picture = tmp_path / "picture.svg"
    assert cli.main(["inspect", str(tmp_path / "model"), "--picture", str(picture)]) == 0
    assert cli.main(["inspect", str(tmp_path / f"{evil}.keras")]) == 2
    shutil.rmtree(tmp_path / "model" / "variables")
    (tmp_path / "model" / evil).write_text("")
    assert cli.main(["inspect", str(tmp_path / "model")]) == 1
    shown = capsys.readouterr()
    written = shown.out + shown.err + picture.read_text()
    assert r"\x1b]0;owned\x07" in written
    assert not [c for c in written if (ord(c) < 32 and c not in "\n\t") or c in "\x7f\x9b\u202e"]


# ---------------------------------------------------------------------------- models


def hdf5(change):
    def changed(path):
        path.unlink()
        shutil.copy(path.parent / "network.h5", path)
        with h5py.File(path, "r+") as file:
            change(file)

    return changed


def _first_weights(file):
    found = []
    file.visititems(
        lambda name, part: found.append(name) if isinstance(part, h5py.Dataset) else None
    )
    return found[0], file[found[0]].shape


def leads_out(file):
    name, _ = _first_weights(file)
    del file[name]
    file[name] = h5py.ExternalLink("/etc/passwd", "/")


def stored_outside(file):
    name, shape = _first_weights(file)
    del file[name]
    file.create_dataset(name, shape, "f4", external=[("/etc/passwd", 0, 4 * int(np.prod(shape)))])


def virtual(file):
    name, shape = _first_weights(file)
    del file[name]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "secret", shape)
    file.create_virtual_dataset(name, layout)


def huge(file):
    name, _ = _first_weights(file)
    del file[name]
    file.create_dataset(name, (1 << 17, 1 << 17), "f4", chunks=(1024, 1024), compression="gzip")


def no_configuration(file):
    del file.attrs["model_config"]


def bad_configuration(file):
    file.attrs["model_config"] = "{" * 5000


def configured(config):
    """Replace the configuration in a Keras archive."""

    def change(path):
        with zipfile.ZipFile(path) as archive:
            parts = {n: archive.read(n) for n in archive.namelist()}
        parts["config.json"] = config(json.loads(parts["config.json"])).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in parts.items():
                archive.writestr(name, data)

    return change


def _with_layer(layer):
    def config(known):
        known["config"]["layers"].append(layer)
        return json.dumps(known)

    return config


MODELS = {
    **{f"{change.__name__} {s}": (s, change) for change in ANY for s in (".keras", ".h5")},
    **{name: (".keras", change) for name, change in ARCHIVES.items()},
    **{f.__name__: (".h5", hdf5(f)) for f in (leads_out, stored_outside, virtual, huge)},
    "no configuration": (".h5", hdf5(no_configuration)),
    "a bad configuration": (".h5", hdf5(bad_configuration)),
    "weights that explode": (".keras", exploding("model.weights.h5.more")),
    "a lambda": (
        ".keras",
        configured(
            _with_layer(
                {
                    "module": "keras.layers",
                    "class_name": "Lambda",
                    "config": {
                        "name": "evil",
                        "function": {"class_name": "__lambda__", "config": {"code": "4wAA"}},
                    },
                    "registered_name": None,
                }
            )
        ),
    ),
    "a module of Python": (
        ".keras",
        configured(
            _with_layer(
                {
                    "module": "os",
                    "class_name": "system",
                    "config": {"command": "touch owned"},
                    "registered_name": "system",
                }
            )
        ),
    ),
    "no JSON": (".keras", configured(lambda _: "{{{{")),
    "JSON of a hundred thousand levels": (".keras", configured(lambda _: "[" * 100_000)),
    "a list": (".keras", configured(lambda _: "[1, 2]")),
    "a number": (".keras", configured(lambda _: "7")),
}


@pytest.fixture
def hostile(request, made, tmp_path):
    suffix, change = MODELS[request.param]
    for name in ("model.keras", "model.onnx", "network.h5"):
        shutil.copy(made / name, tmp_path)
    path = tmp_path / f"net{suffix}"
    shutil.copy(made / f"network{suffix}", path)
    change(path)
    return path


@pytest.mark.parametrize("hostile", MODELS, indirect=True)
def test_a_hostile_model_is_not_joined(hostile, made, limits, monkeypatch):
    monkeypatch.chdir(hostile.parent)
    with pytest.raises((sf.NotConvertible, ValueError, OSError), match=re.escape(hostile.name)):
        sf.fuse([hostile, made / "network.keras"], "average")
    assert not Path("owned").exists()


@pytest.mark.parametrize("hostile", MODELS, indirect=True)
def test_a_hostile_model_is_no_estimator(hostile, iris, limits, monkeypatch):
    monkeypatch.chdir(hostile.parent)
    with pytest.raises((TypeError, ValueError, OSError)) as caught:
        sf.KerasClassifier(hostile, epochs=0).fit(*iris)
    assert len(str(caught.value).splitlines()) == 1
    assert not Path("owned").exists()
