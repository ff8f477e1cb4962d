"""Columns of rows that several stacks of the same fitted bases are asked for, computed once."""

import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np

#: Sets of rows whose columns are held: those of a search are the test rows and the training rows.
_MOST = 2


class SharedColumns:
    """Predictions by the bases of several stacks, for the rows that were asked about last.

    A search over meta-learners asks every candidate about the same rows. Rows are known by the
    digest of all that is in them. For bases that nobody changes; a pickle of it is None.
    """

    def __init__(self):
        self._held: OrderedDict[str, Any] = OrderedDict()

    def __reduce__(self):
        return type(None), ()

    def of(self, X, compute: Callable[[Any], Any]) -> Any:
        """Return the columns of X, an array or sparse matrix of one's own.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
        compute : callable
            ``compute(X)`` returns the columns where they are not held.
        """
        try:
            digest = _digest_of(X)
        except (pickle.PicklingError, TypeError, AttributeError):  # rows that cannot be pickled
            return compute(X)
        held = self._held.get(digest)
        if held is None:
            held = self._held[digest] = compute(X)
            while len(self._held) > _MOST:
                self._held.popitem(last=False)
        return held.copy()


def _digest_of(X) -> Any:
    """Return the digest of X; that of a plain array takes little more than its bytes."""
    contiguous = type(X) is np.ndarray and (X.flags.c_contiguous or X.flags.f_contiguous)
    if not contiguous or X.dtype.kind not in "biufc":
        return joblib.hash(X)
    total = hashlib.sha256(f"{X.dtype.str} {X.shape} {X.strides}.".encode())
    total.update((X if X.flags.c_contiguous else X.T).data)
    return total.hexdigest()
