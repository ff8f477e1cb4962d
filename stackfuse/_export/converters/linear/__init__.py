"""Linear models and their kin."""

from stackfuse._export.converters.linear import (
    bayes,
    discriminant,
    linear,
    mlp,
)

__all__ = [
    "bayes",
    "discriminant",
    "linear",
    "mlp",
]
