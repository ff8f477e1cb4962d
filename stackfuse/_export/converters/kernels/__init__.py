"""Estimators of distances and kernels."""

__all__ = [
    "clusters",
    "gaussian_process",
    "kernel_maps",
    "kernels",
    "manifolds",
    "neighbors",
]
