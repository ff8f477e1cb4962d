"""The manifest that a written file carries: its versions, and how it is read.

A manifest is JSON. ``manifest.py`` makes it, and every format reads it. Its versions:

=======  ==========================================================================================
3        the first that is kept readable: names and dtypes of inputs and outputs, classes, digests
4        golden rows are made up, and ``holds_rows_of`` names estimators that hold training rows
=======  ==========================================================================================

Older versions are read as they are: what they lack is left out. Newer ones are refused. An entry
that readers may do without does not make a new version: ``ties`` tells how many rows it touched
that equally far neighbours share; ``dates`` names the columns of X that are days since 1970 in the
graph; ``coverage`` tells what the outputs ``lower`` and ``upper``, or ``set``, were asked for.
"""

import re
from typing import Any

import numpy as np

from stackfuse._export.graph.build import WHOLE

#: The name of the manifest inside an export.
MANIFEST = "stackfuse.json"

#: The version that is written; see the table above.
VERSION = 4

#: Bytes that a manifest may have.
LARGEST = 1 << 26

#: How deep a structure in a manifest may go.
_DEEPEST = 100

#: The dtypes of inputs and outputs.
_DTYPE = re.compile(r"(float|bfloat|u?int)(8|16|32|64)|bool|string")

#: Entries that are lists, or missing.
_LISTS = ("classes", "feature_names", "holds_rows_of")

#: The entries of every manifest.
_ENTRIES = {"manifest_version", "sha256", "inputs", "outputs", "golden", "estimator"}


def check_manifest(manifest: Any) -> dict[str, Any]:
    """Return a manifest as it was read from JSON.

    Raises
    ------
    ValueError
        If it is none, or a newer stackfuse wrote it; the message is the end of a sentence about the
        file.
    """
    if not isinstance(manifest, dict) or "manifest_version" not in manifest:
        raise ValueError("its manifest was not written by sf.export")
    version = manifest["manifest_version"]
    if isinstance(version, int) and version > VERSION:
        raise ValueError(
            f"its manifest has version {version}, written by {_writer(manifest)}, but this "
            f"release reads versions up to {VERSION}: upgrade stackfuse"
        )
    if not isinstance(version, int) or not _ENTRIES <= manifest.keys():
        raise ValueError("its manifest was not written by sf.export")
    digests = manifest["sha256"]
    if not isinstance(digests, dict) or not digests:
        raise ValueError("its manifest holds no digests")
    if not _has_form(manifest):
        raise ValueError("its manifest was not written by sf.export")
    return manifest


def _has_form(manifest: dict[str, Any]) -> bool:
    """Whether the entries of a manifest are what readers take them for."""
    tensors = [manifest["inputs"], manifest["outputs"]]
    golden = manifest["golden"]
    parts = [] if golden is None else [golden]
    return (
        all(table and _is_dict_of(table, dict) for table in tensors)
        and all(_is_tensor(entry) for table in tensors for entry in table.values())
        and all(_is_dict_of(part, dict) and {"inputs", "expected"} <= {*part} for part in parts)
        and all(_is_dict_of(rows, list) for part in parts for rows in part.values())
        and _is_dict_of(manifest.get("versions", {}), str)
        and all(isinstance(manifest.get(n), list | None) for n in _LISTS)
        and all(isinstance(digest, str) for digest in manifest["sha256"].values())
        and _is_structure(manifest["estimator"])
    )


def _is_dict_of(table: Any, kind: type) -> bool:
    return isinstance(table, dict) and all(isinstance(value, kind) for value in table.values())


def _is_tensor(entry: dict[str, Any]) -> bool:
    """Whether an entry describes an input or output by its dtype and shape."""
    dtype, shape = entry.get("dtype"), entry.get("shape")
    known = isinstance(dtype, str) and _DTYPE.fullmatch(dtype) is not None
    return known and isinstance(shape, list) and all(isinstance(n, int | None) for n in shape)


def _is_structure(structure: Any) -> bool:
    """Whether an entry describes an estimator, its parts, and theirs, to a depth."""
    level = [structure]
    for _ in range(_DEEPEST):
        if not level:
            return True
        for part in level:
            if not isinstance(part, dict) or not isinstance(part.get("is"), str):
                return False
            if not isinstance(part.get("parts"), dict):
                return False
        level = [inner for part in level for inner in part["parts"].values()]
    return False


def _writer(manifest: dict[str, Any]) -> str:
    """Return the release that wrote a manifest, as far as it says."""
    versions = manifest.get("versions")
    release = versions.get("stackfuse") if isinstance(versions, dict) else None
    return f"stackfuse {release}" if isinstance(release, str) else "a newer stackfuse"


def golden_rows(
    manifest: dict[str, Any],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None:
    """Return the inputs and expected outputs that a manifest holds, or None if it has none."""
    golden = manifest["golden"]
    if golden is None:
        return None
    inputs = {
        name: np.array(golden["inputs"][name], object).astype(numpy_dtype(entry["dtype"]))
        for name, entry in manifest["inputs"].items()
    }
    expected = {
        name: np.array(y, object).astype(np.int64 if name in WHOLE else np.float64)
        for name, y in golden["expected"].items()
    }
    return inputs, expected


def numpy_dtype(name: str) -> Any:
    """Return numpy's dtype for the dtype of an input in a manifest; strings are objects."""
    return object if name == "string" else name
