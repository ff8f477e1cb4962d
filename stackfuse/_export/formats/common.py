"""How each format is written, and where in its files a manifest lies.

Of every format there are four functions: one writes a graph; one attaches a text to what was
written; one reads that text, or raises KeyError; and one yields what computes, without the text.
"""

import logging
import re
import warnings
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stackfuse._core.targets import NotConvertible
from stackfuse._export.graph.graph import Graph

#: The file inside an export that says what it is.
MANIFEST = "stackfuse.json"

#: The directory that TensorFlow keeps for others' files in a SavedModel.
EXTRA = "assets.extra"

#: ONNX operators of this version are known to every runtime of the last years.
_OPSET = 18


# ---------------------------------------------------------------------------- Keras


def write_keras(graph: Graph, path: Path) -> None:
    graph.model.save(path)


def attach_member(path: Path, manifest: str) -> None:
    """Append to a zip archive; to any other file, a zip archive.

    Keras ignores members that it does not know. Files of LiteRT carry whatever is associated with
    them in an archive after the end of the model.
    """
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, (1980, 1, 1, 0, 0, 0)), manifest)


def read_member(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        raise KeyError(MANIFEST)
    with zipfile.ZipFile(path) as archive:
        return archive.read(MANIFEST).decode()


def zip_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        # metadata.json holds the date.
        for name in sorted(set(archive.namelist()) - {MANIFEST, "metadata.json"}):
            yield name, archive.read(name)


# ---------------------------------------------------------------------------- SavedModel


def write_saved_model(graph: Graph, path: Path) -> None:
    graph.model.export(path, format="tf_saved_model", verbose=False)


def attach_file(path: Path, manifest: str) -> None:
    extra = path / EXTRA
    extra.mkdir()
    (extra / MANIFEST).write_text(manifest)


def read_file(path: Path) -> str:
    file = path / EXTRA / MANIFEST
    if not file.is_file():
        raise KeyError(MANIFEST)
    return file.read_text()


def folder_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and not name.startswith(EXTRA) and name != "fingerprint.pb":
            yield name, file.read_bytes()


# ---------------------------------------------------------------------------- ONNX


def write_onnx(graph: Graph, path: Path) -> None:
    import onnx
    import tf2onnx
    from tf2onnx.optimizer import _get_optimizers

    # One of them takes a cast to float32 and back for nothing: trees then see other numbers.
    optimizers = {n: o for n, o in _get_optimizers().items() if n != "remove_back_to_back"}
    with _quiet():
        try:
            model, _ = tf2onnx.convert.from_keras(
                graph.model,
                [graph.specs()],
                opset=_OPSET,
                custom_op_handlers={"SelectV2": (_as_it_is, ["Where"])},
                optimizers=optimizers,
            )
        except Exception as error:  # of many kinds, none of which is documented
            raise NotConvertible(_refusal("ONNX", error)) from error
    if model.functions or any(node.domain not in _ONNX for node in model.graph.node):
        foreign = {node.domain for node in model.graph.node} - _ONNX
        raise NotConvertible(f"ONNX has no operator for a part of this graph: {sorted(foreign)}.")
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(model, path)


def _as_it_is(ctx, node, name, args) -> None:
    """Leave a node as it is but for its type.

    Without this, a choice between numbers becomes ``chosen * a + (1 - chosen) * b``, which is NaN
    where the one that is not chosen is NaN or infinite.
    """


#: Where the operators that every runtime knows come from.
_ONNX = {"", "ai.onnx", "ai.onnx.ml"}


def attach_property(path: Path, manifest: str) -> None:
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {MANIFEST: manifest})
    onnx.save(model, path)


def read_property(path: Path) -> str:
    import onnx

    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}[MANIFEST]


def onnx_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    import onnx

    yield "graph", onnx.load(path).graph.SerializeToString(deterministic=True)


# ---------------------------------------------------------------------------- LiteRT


def write_litert(graph: Graph, path: Path) -> None:
    import tensorflow as tf

    # The operations of TensorFlow itself would need a runtime that few places have.
    only = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    with _quiet():
        try:
            graph.model.export(path, format="litert", verbose=False, target_spec=only)
        except Exception as error:  # the converter's own class is no public name
            raise NotConvertible(_refusal("LiteRT", error)) from error


def flatbuffer_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    end = None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            end = min(member.header_offset for member in archive.infolist())
    with open(path, "rb") as file:
        yield "model", file.read(end)


# ---------------------------------------------------------------------------- OpenVINO


def write_openvino(graph: Graph, path: Path) -> None:
    import openvino
    import tensorflow as tf

    function = tf.function(graph.model, input_signature=[graph.specs()]).get_concrete_function()
    with _quiet():
        try:
            model = openvino.convert_model(function)
        except Exception as error:  # of many kinds, none of which is documented
            raise NotConvertible(_refusal("OpenVINO", error)) from error
    for entry in model.inputs:
        name = entry.get_any_name().removesuffix(":0")  # a name of TensorFlow's
        entry.get_node().set_friendly_name(name)
        entry.get_tensor().set_names({name})
    openvino.save_model(model, path, compress_to_fp16=False)


def attach_element(path: Path, manifest: str) -> None:
    tree = ElementTree.parse(path)
    info = tree.getroot().find("rt_info")
    if info is None:
        info = ElementTree.SubElement(tree.getroot(), "rt_info")
    ElementTree.SubElement(info, "stackfuse", {"value": manifest})
    tree.write(path, encoding="utf-8", xml_declaration=True)


def read_element(path: Path) -> str:
    found = ElementTree.parse(path).getroot().find("rt_info/stackfuse")
    if found is None:
        raise KeyError(MANIFEST)
    return found.attrib["value"]


def openvino_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    for part in ElementTree.parse(path).getroot():
        if part.tag in ("layers", "edges"):
            yield part.tag, ElementTree.tostring(part)
    yield "weights", path.with_suffix(".bin").read_bytes()


def _refusal(title: str, error: Exception) -> str:
    """Return a converter's error, which may be pages, as one sentence."""
    said = str(error)
    missing = re.search(r"(?:TF Select|Custom) ops: (.*)", said)
    if missing:
        return f"{title} has no kernel for {missing[1].strip()}, which this graph needs."
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"This graph cannot be written for {title}: {(lines or [repr(error)])[0][:300]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what converters warn of to themselves, and keep them from setting up logging."""
    ignored = logging.NullHandler()
    logging.root.addHandler(ignored)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.removeHandler(ignored)
