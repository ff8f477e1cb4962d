from . import formats
from .checking.parity import check_parity
from .compiled_stack import compiled, select
from .converters import convert, converter_for, to_keras
from .exporting import ExportReport, export
from .kit.for_converters import check_converter
from .kit.for_formats import check_format
from .written_manifest import golden_rows

__all__ = [
    "ExportReport",
    "check_converter",
    "check_format",
    "check_parity",
    "compiled",
    "convert",
    "converter_for",
    "export",
    "formats",
    "golden_rows",
    "select",
    "to_keras",
]
