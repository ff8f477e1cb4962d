"""What the converters of other packages need around them: silence, and errors of one sentence."""

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: Converters, and the filters of warnings, are for one thread at a time.
_converting = threading.RLock()


def refusal_message(title: str, error: Exception) -> str:
    """Return a converter's error, which may be pages, as one sentence."""
    text = str(error)
    missing = re.search(r"(?:TF Select|Custom) ops: (.*)", text)
    if missing:
        return f"{title} has no kernel for {missing[1].strip()}, which this graph needs."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"This graph cannot be written for {title}: {(lines or [repr(error)])[0][:300]}"


@contextmanager
def silenced() -> Iterator[None]:
    """Silence the warnings of a converter, and keep it from setting up logging."""
    ignored = logging.NullHandler()
    logging.root.addHandler(ignored)
    try:
        with _converting, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.removeHandler(ignored)
