"""Digests of all that a fit depends on: data, settings, code and circumstances."""

from stackfuse._oof.memory.fingerprint.circumstances import circumstances
from stackfuse._oof.memory.fingerprint.digest import Fingerprint, fingerprint, look_at
from stackfuse._oof.memory.fingerprint.walk import NotComparable

__all__ = ["Fingerprint", "NotComparable", "circumstances", "fingerprint", "look_at"]
