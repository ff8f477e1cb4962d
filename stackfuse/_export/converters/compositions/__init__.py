"""Estimators that are made of other estimators."""

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
