from .dask import DaskEngine
from .ray import RayEngine

__all__ = ["DaskEngine", "RayEngine"]
