"""Estimators of distances and kernels."""

__all__ = [
    "gaussian_process",
    "kernel_maps",
    "kernels",
    "manifolds",
    "neighbors",
]
