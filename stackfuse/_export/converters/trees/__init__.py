"""Trees of every library."""

from stackfuse._export.converters.trees import (
    histogram,
    trees,
)
from stackfuse._export.graph.convert import imported_for

for _package in ("catboost", "lightgbm", "xgboost"):
    imported_for(_package, f"{__name__}.{_package}")

__all__ = [
    "histogram",
    "trees",
]
