"""Digests of data: arrays, frames, sparse matrices, and the generators of random numbers."""

import hashlib

import numpy as np
import pandas as pd
import scipy.sparse
import scipy.special

from stackfuse._core import multi_input
from stackfuse._oof.memory.fingerprint import looking
from stackfuse._oof.memory.fingerprint.values import extended
from stackfuse._oof.memory.fingerprint.walk import NotComparable, digests, digests_of_package

#: Bytes of an array that are hashed at a time, so that no array is copied whole.
_BLOCK = 1 << 24


@digests(np.generic)
def _scalar(thing, walk):
    content = walk.all("scalar", [thing.dtype, np.generic.tobytes(thing)])
    return extended(thing, walk, type(thing), content)


@digests(np.ndarray)
def _array(thing, walk):
    values = np.ndarray.view(thing, np.ndarray)
    if values.dtype.hasobject:
        content = walk.tokens("objects", values.shape, *map(walk.of, values.ravel().tolist()))
    else:
        content = walk.tokens("array", walk.of(values.dtype), values.shape, _bytes_of(values))
    if looking.is_a(thing, np.ma.MaskedArray):
        mask = np.ndarray.view(np.ma.getmaskarray(thing), np.ndarray)
        return walk.all("masked", [content, mask, thing.fill_value])
    if type(thing) in (np.ndarray, np.memmap):  # memory maps are what they hold
        return content
    return extended(thing, walk, np.ndarray, content)


def _bytes_of(values: np.ndarray) -> bytes:
    """Return the digest of the bytes of an array, whatever their order in memory."""
    total = hashlib.blake2b(digest_size=20)
    if values.ndim:
        step = max(1, _BLOCK // max(1, values[:1].nbytes))
        for start in range(0, len(values), step):
            total.update(np.ascontiguousarray(values[start : start + step]).tobytes())
    else:
        total.update(values.tobytes())
    return total.digest()


@digests(multi_input.StoredRows)
def _stored_rows(thing, walk):
    total = hashlib.blake2b(digest_size=20)
    for _, part in thing.blocks():
        total.update(np.ascontiguousarray(part).tobytes())
    return walk.tokens("array", walk.of(thing.dtype), thing.shape, total.digest())


@digests(np.dtype)
def _dtype(thing, walk):
    if thing.fields is None and thing.subdtype is None and not thing.metadata:
        return walk.tokens("dtype", thing.str, thing.name)
    return walk.all("dtype", [*np.dtype.__reduce__(thing)[1:], dict(thing.metadata or {})])


@digests(np.ufunc)
def _ufunc(thing, walk):
    for module in (np, scipy.special):
        if getattr(module, thing.__name__, None) is thing:
            return walk.tokens("ufunc", module.__name__, thing.__name__)
    raise NotComparable(f"the universal function {thing.__name__!r} cannot be compared")


@digests(pd.DataFrame)
def _frame(thing, walk):
    columns = [_column_parts(thing.iloc[:, k]) for k in range(thing.shape[1])]
    names = list(thing.columns.names)
    return walk.all("frame", [type(thing), thing.index, names, *columns])


@digests(pd.Series)
def _series(thing, walk):
    return walk.all("series", [type(thing), thing.index, _column_parts(thing)])


@digests(pd.Index)
def _index(thing, walk):
    if isinstance(thing, pd.RangeIndex):
        return walk.all("range index", [thing.start, thing.stop, thing.step, thing.name])
    parts = [type(thing), list(thing.names), str(thing.dtype), getattr(thing, "freqstr", None)]
    return walk.all("index", [*parts, thing.to_numpy()])


def _column_parts(column: pd.Series) -> tuple:
    """Return name, dtype and values of a column; of text as codes into the values."""
    if isinstance(column.dtype, np.dtype) and column.dtype != object:
        return column.name, str(column.dtype), column.to_numpy()
    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = list(column.cat.categories)
        return column.name, "category", column.cat.ordered, categories, column.cat.codes.to_numpy()
    values = column.tolist()
    if all(type(value) is str for value in values):
        codes, words = pd.factorize(column)
        return column.name, str(column.dtype), codes, list(words)
    return column.name, str(column.dtype), values


@digests(scipy.sparse.spmatrix, scipy.sparse.sparray)
def _sparse(thing, walk):
    rows = scipy.sparse.csr_array(thing)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    places = [rows.indptr.astype(np.int64), rows.indices.astype(np.int64)]
    return walk.all("sparse", [type(thing), thing.format, rows.shape, *places, rows.data])


@digests_of_package("polars")
def _polars(thing, walk):
    if not looking.defines(type(thing), "iter_columns"):
        return None
    columns = [(c.name, str(c.dtype), c.to_numpy()) for c in thing.iter_columns()]
    return walk.all("polars", columns)
