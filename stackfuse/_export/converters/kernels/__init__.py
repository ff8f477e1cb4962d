"""Estimators of distances and kernels."""

from stackfuse._export.converters.kernels import (
    gaussian_process,
    kernel_maps,
    kernels,
    manifolds,
    neighbors,
)

__all__ = [
    "gaussian_process",
    "kernel_maps",
    "kernels",
    "manifolds",
    "neighbors",
]
