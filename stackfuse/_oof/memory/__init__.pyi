from .remembering import RememberingEngine, digest_of
from .store import Store, store_named

__all__ = ["RememberingEngine", "Store", "digest_of", "store_named"]
