"""Estimators of distances and kernels."""

from stackfuse._export.converters.kernels import (
    clusters,
    gaussian_process,
    kernel_maps,
    kernels,
    manifolds,
    neighbors,
)

__all__ = [
    "clusters",
    "gaussian_process",
    "kernel_maps",
    "kernels",
    "manifolds",
    "neighbors",
]
