"""Keep a fit in the process that made it, on whatever machine."""

import uuid
from contextlib import suppress
from dataclasses import replace

from stackfuse._oof.jobs import FoldFit
from stackfuse._oof.memory.fingerprint import Fingerprint
from stackfuse._oof.memory.store import Entry, Trouble


class Keeper:
    """Writes the fit of a job to its entry, if the process that made it sees the same store.

    The key tells what the job was when it was sent, and the job is pickled: nothing that changes
    later makes the fit another one. Faults are left to the process that asked for the fit. It keeps
    the fits that it does not find, and tells why it cannot.

    Parameters
    ----------
    entry : Entry
        Locked by the process that asks for the fit.
    """

    def __init__(self, entry: Entry):
        self.entry = replace(entry, seen=Fingerprint(entry.seen.digest, {}))
        self.job = uuid.uuid4().hex

    def __call__(self, fit: FoldFit) -> None:
        if self.entry.is_in_sight():
            with suppress(Trouble):
                self.entry.commit(fit, by=self.job)

    def has_kept(self) -> bool:
        """Whether the fit is there."""
        return self.entry.is_by(self.job)
