"""Read a table from a file that nobody prepared: CSV in any dialect, or Parquet."""

import bz2
import codecs
import csv
import gzip
import lzma
import math
import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd

#: How much of a file is looked at to find its dialect, in characters.
_LOOKED_AT = 2**16

#: The function that opens a file, by its ending; other files are not compressed.
_COMPRESSED: dict[str, Callable[..., IO[Any]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}

#: The endings of files that hold sheets.
_SPREADSHEETS = {".xls", ".xlsx", ".xlsm", ".ods"}

#: The errors for a file that is no table.
_NO_TABLE = (
    gzip.BadGzipFile,
    UnicodeDecodeError,
    EOFError,
    lzma.LZMAError,
    pd.errors.ParserError,
    pd.errors.EmptyDataError,
    pd.errors.ParserWarning,  # rows with more cells than names
)

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

#: Numbers with decimals, also with signs between thousands and a unit: 1.234,50 EUR.
_DECIMAL_COMMA = re.compile(r"\D{0,4}(\d+|\d{1,3}(\.\d{3})+),\d+\D{0,4}")
_DECIMAL_POINT = re.compile(r"\D{0,4}(\d+|\d{1,3}(,\d{3})+)\.\d+\D{0,4}")

#: The line by which spreadsheets are told the separator.
_NAMES_SEPARATOR = re.compile(r"sep=([,;\t|])\s*?\n")


@dataclass(frozen=True)
class Dialect:
    """How a table is written in a file of text.

    Attributes
    ----------
    separator, decimal, encoding : str
    n_before : int
        The number of lines before the one with the names.
    """

    separator: str
    decimal: str
    encoding: str
    n_before: int = 0

    def __str__(self) -> str:
        marks = {",": "a comma", ".": "a point"}
        return (
            f"columns between {_SEPARATORS[self.separator]}, decimals after {marks[self.decimal]}, "
            f"encoding {self.encoding}"
        )

    @classmethod
    def of(cls, path: Path) -> "Dialect":
        """Find out the dialect of a file from its beginning.

        Raises
        ------
        ValueError
            If the file is empty.
        """
        opened = _COMPRESSED.get(path.suffix.lower(), open)
        with opened(path, "rb") as file:
            encoding = _encoding_of(file)
        with opened(path, "rt", encoding=encoding, newline="") as file:
            head = file.read(_LOOKED_AT)
        if not head.strip():
            raise ValueError(f"{path} is empty.")
        named = _NAMES_SEPARATOR.match(head)
        separator = named[1] if named else _separator_of(head)
        comma = separator != "," and _has_decimal_commas(head, separator)
        return cls(separator, "," if comma else ".", encoding, int(named is not None))


def is_parquet(path: Path) -> bool:
    """Whether a file is named as one of Parquet."""
    return path.suffix.lower() in {".parquet", ".pq"}


def decimal_of(path: Path) -> str:
    """Return the sign before decimals in a file."""
    return "." if is_parquet(path) else Dialect.of(path).decimal


def read_table(path: Path, words: Collection[str] = (), target: str | None = None) -> pd.DataFrame:
    """Read a table: ``.csv``, ``.tsv`` or ``.txt``, compressed or not, or ``.parquet``.

    The separator, the sign before decimals and the encoding of text are found out. Compressed files
    end in ``.gz``, ``.bz2`` or ``.xz``.

    Parameters
    ----------
    path : Path
    words : collection of str, default=()
        Columns that are read as text, whatever they look like: 007 stays 007.
    target : str, default=None
        A column of classes or numbers: truth values beside missing ones stay the classes True and
        False in it. In other columns they become 1 and 0.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no table, or two columns have one name.
    ModuleNotFoundError
        If a package is missing.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: pass the path of a table.")
    if not path.is_file():
        raise OSError(f"{path} is a pipe or a device, not a file: save the table in a file first.")
    if path.suffix.lower() in _SPREADSHEETS:
        raise ValueError(f"{path} is a spreadsheet: save the sheet as .csv, and pass that file.")
    try:
        frame = _read_parquet(path) if is_parquet(path) else _read_csv(path, words)
    except _NO_TABLE as error:
        raise ValueError(
            f"{path} cannot be read as a table: {' '.join(str(error).split())}"
        ) from None
    names = [str(name).strip() for name in frame.columns]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"{path} has two columns named {repeated[0]!r}: rename one.")
    frame = frame.reset_index(drop=True).set_axis(names, axis=1)
    has_holes = target in frame and frame[target].isna().any()
    if has_holes and frame[target].dropna().map(type).eq(bool).all():
        frame[target] = frame[target].map({True: "True", False: "False"})
    return frame.apply(_without_objects)


def json_rows(frame: pd.DataFrame) -> list[list]:
    """Return the rows of a table as JSON has them: all digits, and None for NaN and infinity.

    Examples
    --------
    >>> json_rows(pd.DataFrame({"chance": [1e-30, float("nan")], "label": ["a", "b"]}))
    [[1e-30, 'a'], [None, 'b']]
    """
    columns = [
        [None if isinstance(v, float) and not math.isfinite(v) else v for v in column.tolist()]
        for _, column in frame.items()
    ]
    return [list(row) for row in zip(*columns)]


def _without_objects(column: pd.Series) -> pd.Series:
    """Return truth values of which some are missing as numbers, and mixed values as strings.

    Missing cells of nullable columns become NaN.
    """
    kind = getattr(column.dtype, "numpy_dtype", None)
    if kind is not None and kind.kind in "biuf":  # trees cannot read pandas.NA
        has_all = bool(column.notna().all())
        return column.astype(kind) if has_all else column.astype("Float64").astype(float)
    if isinstance(column.dtype, pd.StringDtype):
        return column.astype("str")
    if column.dtype != object:
        return column
    present = column.dropna()
    if present.map(type).eq(bool).all():
        return column.map({True: 1.0, False: 0.0})
    return column.where(column.isna(), column.map(str))


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError:
        raise ModuleNotFoundError("Parquet files need pyarrow: pip install pyarrow.") from None


def _read_csv(path: Path, words: Collection[str]) -> pd.DataFrame:
    found = Dialect.of(path)
    dialect: dict[str, Any] = {
        "sep": found.separator,
        "decimal": found.decimal,
        "encoding": found.encoding,
        "skipinitialspace": True,
        "skiprows": found.n_before,
        "index_col": False,  # a row with more cells than names would move all of them
    }
    columns = pd.read_csv(path, nrows=0, **dialect).columns
    texts = {name: str for name in columns if str(name).strip() in words}
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(path, low_memory=False, dtype=texts, **dialect)


def _encoding_of(file: IO[bytes]) -> str:
    """Return UTF-8, with or without its mark at the beginning, or what Windows writes."""
    part = file.read(_LOOKED_AT)
    if part.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while part:
            decoder.decode(part)
            part = file.read(_LOOKED_AT)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _separator_of(head: str) -> str:
    first = head.partition("\n")[0]
    try:
        return csv.Sniffer().sniff(head[: head.rfind("\n") + 1] or head, ",;\t|").delimiter
    except csv.Error:  # one column only, or cells that hold separators
        return max(",;\t|", key=first.count)


def _has_decimal_commas(head: str, separator: str) -> bool:
    """Whether most numbers with decimals have a comma before them."""
    cells = [
        cell.strip().strip('"') for line in head.splitlines()[1:] for cell in line.split(separator)
    ]
    commas = sum(_DECIMAL_COMMA.fullmatch(cell) is not None for cell in cells)
    points = sum(_DECIMAL_POINT.fullmatch(cell) is not None for cell in cells)
    return commas > points
