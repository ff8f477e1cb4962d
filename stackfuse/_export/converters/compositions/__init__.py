"""Estimators that hold other estimators."""

from stackfuse._export.converters.compositions import (
    calibration,
    columns,
    compose,
    dummy,
    ensembles,
    multi,
)
from stackfuse._export.graph.convert import register_optional

register_optional("imblearn", f"{__name__}.imblearn")

__all__ = [
    "calibration",
    "columns",
    "compose",
    "dummy",
    "ensembles",
    "multi",
]
