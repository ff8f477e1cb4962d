"""Trees of every library."""

from stackfuse._export.converters.trees import (
    histogram,
    trees,
)
from stackfuse._export.graph.convert import register_optional

for _package in ("catboost", "lightgbm", "xgboost"):
    register_optional(_package, f"{__name__}.{_package}")

__all__ = [
    "histogram",
    "trees",
]
