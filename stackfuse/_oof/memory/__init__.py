"""Fits that are kept on disk."""

from stackfuse._oof.memory.remembering import RememberingEngine, digest_of
from stackfuse._oof.memory.store import Store, store_named

__all__ = ["RememberingEngine", "Store", "digest_of", "store_named"]
