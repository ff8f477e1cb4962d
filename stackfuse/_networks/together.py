"""Several networks that are asked about the same rows at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from stackfuse._training import prediction

#: The computation behind each method of a network; "predict" behind all others.
WHAT = {"decision_function": "decide", "features": "features"}


#: An X, and what networks have answered about it until it is fetched.
_answers: ContextVar[tuple[Any, dict[tuple[int, str], Any]] | None] = ContextVar(
    "answers", default=None
)


@contextmanager
def asked_together(networks: Sequence[tuple[Any, str]], X) -> Iterator[None]:
    """Within, the methods of these networks answer X by one call of TensorFlow.

    That is done for a few rows only; of more rows each network is asked by itself. So is a network
    that a memory keeps and that nobody has read yet.

    Parameters
    ----------
    networks : sequence of (fitted NetworkEstimator, method)
    X : array-like, sparse matrix or MultiInput of shape (n_samples, ...)
        Must not be changed within.
    """
    shape = tuple(getattr(X, "shape", ())) or (0,)
    if shape[0] > prediction.FEW_ROWS:  # each network checks X when it is asked
        yield
        return
    read = [(network, method) for network, method in networks if not network._fitted.is_unread]
    asked = [(network, WHAT.get(method, "predict")) for network, method in read]
    results = prediction.predict_together([network._question(X, what) for network, what in asked])
    answers = {
        (id(network._fitted), what): y
        for (network, what), y in zip(asked, results)
        if y is not None
    }
    token = _answers.set((X, answers))
    try:
        yield
    finally:
        _answers.reset(token)


def fetch(network, X, what: str) -> Any:
    """Return the answer that a network has given for this X together with others, else None."""
    present = _answers.get()
    if present is None or present[0] is not X:
        return None
    return present[1].pop((id(network._fitted), what), None)
