"""OpenVINO: two files, of which the one in XML holds the manifest."""

import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stackfuse._core import NotConvertible
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.conversion import refusal_message, silenced
from stackfuse._export.formats.saved_model import SavedModel
from stackfuse._export.formats.table import register
from stackfuse._export.written_manifest import MANIFEST

if TYPE_CHECKING:  # of TensorFlow, which files are read without
    from stackfuse._export.graph.graph import Graph


@register
class OpenVINO(Format):
    """OpenVINO's pairs of files."""

    name = "openvino"
    suffix = ".xml"
    title = "OpenVINO"
    runs_with = ("openvino",)
    precisions = ("float32",)
    takes_strings = False
    reads_text = False
    packages = ("openvino",)
    install = "'stackfuse[openvino]'"
    companions = (".bin",)

    def write(self, graph: "Graph", path: Path) -> None:
        """See :class:`Format`."""
        import openvino
        from openvino.frontend import FrontEndManager

        # openvino.convert_model would do the same, and send 70 reports of its use over the network,
        # each from a fork of this whole process.
        converter = FrontEndManager().load_by_framework("tf")
        with silenced(), tempfile.TemporaryDirectory() as folder:
            SavedModel().write(graph, Path(folder))
            try:
                model = converter.convert(converter.load(folder))
            except Exception as error:  # of many kinds, none of which is documented
                raise NotConvertible(refusal_message(self.title, error)) from error
        try:
            openvino.save_model(model, path, compress_to_fp16=False)
        except RuntimeError:  # it says "iostream error", and not what was wrong: the system does
            for part in (path, path.with_suffix(".bin")):
                with open(part, "ab") as file:
                    file.write(bytes(1 << 16))
            raise

    @staticmethod
    def load(path: str) -> Callable[[dict[str, np.ndarray]], dict]:
        """See :class:`Format`."""
        import openvino

        # Left to itself, OpenVINO computes in bfloat16 on processors that can: two digits.
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        return lambda rows: {
            name: y for output, y in compiled(rows).items() for name in output.get_names()
        }

    def attach(self, path: Path, manifest: str) -> None:
        """See :class:`Format`."""
        tree = ElementTree.parse(path)
        info = tree.getroot().find("rt_info")
        if info is None:
            info = ElementTree.SubElement(tree.getroot(), "rt_info")
        for of_conversion in info.findall("conversion_parameters"):
            info.remove(of_conversion)  # it names a folder of this machine
        ElementTree.SubElement(info, "stackfuse", {"value": manifest})
        tree.write(path, encoding="utf-8", xml_declaration=True)

    def attached(self, path: Path) -> str:
        """See :class:`Format`."""
        found = ElementTree.parse(path).getroot().find("rt_info/stackfuse")
        if found is None:
            raise KeyError(MANIFEST)
        return found.attrib["value"]

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """See :class:`Format`."""
        for part in ElementTree.parse(path).getroot():
            if part.tag in ("layers", "edges"):
                yield part.tag, ElementTree.tostring(part)
        yield "weights", path.with_suffix(".bin").read_bytes()
