"""OpenVINO: two files."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from stackfuse._core import NotConvertible
from stackfuse._export.formats.common import MANIFEST, _quiet, _refusal
from stackfuse._export.graph.graph import Graph


def write_openvino(graph: Graph, path: Path) -> None:
    import openvino

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
