"""Linear models and their kin."""

__all__ = [
    "bayes",
    "discriminant",
    "linear",
    "mlp",
]
