"""Estimators that hold other estimators."""

from stackfuse._export.converters.compositions import (
    calibration,
    columns,
    compose,
    dummy,
    ensembles,
    multi,
)

__all__ = [
    "calibration",
    "columns",
    "compose",
    "dummy",
    "ensembles",
    "multi",
]
