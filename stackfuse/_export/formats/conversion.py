"""Call converters of other packages: in silence, and with errors of one sentence."""

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: Operations that LiteRT's converter names in its pages of errors.
_ILLEGAL = re.compile(r"'(tf\.\w+)' op ")

#: Converters, and the filters of warnings, are for one thread at a time.
_converting = threading.RLock()


def refusal_message(title: str, error: Exception) -> str:
    """Return a converter's error, which may be pages, as one sentence."""
    text = str(error)
    if "time dimension is undefined" in text:  # Keras' own words
        return (
            f"{title} cannot run a recurrent layer over sequences of any length. Declare the "
            "length, keras.Input((n_steps, n_features)), or export to .keras or .onnx."
        )
    missing = re.search(r"(?:TF Select ops|Custom ops|found for operations): (.*)", text)
    operations = missing[1].strip() if missing else ", ".join(sorted({*_ILLEGAL.findall(text)}))
    if operations:
        return lacking_message(title, operations)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"This graph cannot be converted to {title}: {(lines or [repr(error)])[0][:300]}"


def lacking_message(title: str, operations: str) -> str:
    """Return what is said of operations that a format lacks."""
    return f"{title} cannot run {operations}, which this graph needs. Export to .keras."


@contextmanager
def silenced() -> Iterator[None]:
    """Silence the warnings and log messages of a converter."""
    with _converting, warnings.catch_warnings(), log_messages_dropped():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def log_messages_dropped() -> Iterator[None]:
    """Drop what this thread logs, and keep it from setting up logging.

    absl, which TensorFlow logs by, and tf2onnx give the root logger a handler if it has none. From
    then on a program prints what all its libraries log.
    """
    ignored, thread = logging.NullHandler(), threading.get_ident()

    def is_of_others(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logging.root.addHandler(ignored)
    silent = [*logging.root.handlers, logging.getLogger("tensorflow")]
    for part in silent:
        part.addFilter(is_of_others)
    try:
        yield
    finally:
        for part in silent:
            part.removeFilter(is_of_others)
        logging.root.removeHandler(ignored)
