from .remembering import RememberingEngine, digest_of
from .sharing import SharingEngine, around, fits_inside
from .store import Store, store_named

__all__ = [
    "RememberingEngine",
    "SharingEngine",
    "Store",
    "around",
    "digest_of",
    "fits_inside",
    "store_named",
]
