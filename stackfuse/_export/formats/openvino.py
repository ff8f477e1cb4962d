"""OpenVINO: two files, of which the one in XML holds the manifest."""

import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from stackfuse._core import NotConvertible
from stackfuse._export.checking.process import LIGHT
from stackfuse._export.formats.base import MANIFEST, Format
from stackfuse._export.formats.conversion import refusal_message, silenced
from stackfuse._export.formats.saved_model import SAVED_MODEL
from stackfuse._export.graph.graph import Graph


class _OpenVINO(Format):
    name = "openvino"
    suffix = ".xml"
    title = "OpenVINO"
    runtime = LIGHT
    precisions = ("float32",)
    takes_strings = False
    reads_text = False
    extra = "openvino"
    packages = ("openvino",)
    companions = (".bin",)

    def write(self, graph: Graph, path: Path) -> None:
        import openvino

        # From a file: objects of TensorFlow are not taken under Python 3.13.
        with silenced(), tempfile.TemporaryDirectory() as folder:
            SAVED_MODEL.write(graph, Path(folder))
            try:
                model = openvino.convert_model(folder)
            except Exception as error:  # of many kinds, none of which is documented
                raise NotConvertible(refusal_message(self.title, error)) from error
        openvino.save_model(model, path, compress_to_fp16=False)

    def attach(self, path: Path, manifest: str) -> None:
        tree = ElementTree.parse(path)
        info = tree.getroot().find("rt_info")
        if info is None:
            info = ElementTree.SubElement(tree.getroot(), "rt_info")
        ElementTree.SubElement(info, "stackfuse", {"value": manifest})
        tree.write(path, encoding="utf-8", xml_declaration=True)

    def attached(self, path: Path) -> str:
        found = ElementTree.parse(path).getroot().find("rt_info/stackfuse")
        if found is None:
            raise KeyError(MANIFEST)
        return found.attrib["value"]

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        for part in ElementTree.parse(path).getroot():
            if part.tag in ("layers", "edges"):
                yield part.tag, ElementTree.tostring(part)
        yield "weights", path.with_suffix(".bin").read_bytes()


OPENVINO = _OpenVINO()
