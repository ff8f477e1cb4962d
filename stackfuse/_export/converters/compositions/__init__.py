"""Estimators that are made of other estimators."""

__all__ = [
    "calibration",
    "columns",
    "compose",
    "dummy",
    "ensembles",
    "multi",
]
