from . import page, rowwise

__all__ = [
    "page",
    "rowwise",
]
