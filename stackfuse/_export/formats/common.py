"""How each format is written, and where in its files a manifest lies.

Of every format there are four functions: one writes a graph; one attaches a text to what was
written; one reads that text, or raises KeyError; and one yields what computes, without the text.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: The file inside an export that says what it is.
MANIFEST = "stackfuse.json"


def _refusal(title: str, error: Exception) -> str:
    """Return a converter's error, which may be pages, as one sentence."""
    said = str(error)
    missing = re.search(r"(?:TF Select|Custom) ops: (.*)", said)
    if missing:
        return f"{title} has no kernel for {missing[1].strip()}, which this graph needs."
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"This graph cannot be written for {title}: {(lines or [repr(error)])[0][:300]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what converters warn of to themselves, and keep them from setting up logging."""
    ignored = logging.NullHandler()
    logging.root.addHandler(ignored)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.removeHandler(ignored)
