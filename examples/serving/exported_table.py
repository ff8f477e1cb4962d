"""Ask an ONNX file of a stack over a table, with onnxruntime and numpy alone."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

#: What stands for a missing value in an input of strings.
MISSING = "<NA>"


class ExportedTable:
    """A stack over a table, in an ONNX file that ``stackfuse.export`` wrote.

    Parameters
    ----------
    path : str
        The file.

    Attributes
    ----------
    columns : dict of str to {"string", "float64", "float32"}
        The columns that the stack was trained on, in their order, and what they hold.
    classes : list or None
        The classes of a classifier, if it has one column of them.
    """

    def __init__(self, path: str):
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        properties = self._session.get_modelmeta().custom_metadata_map
        if "stackfuse.json" not in properties:
            raise ValueError(f"{path} holds no description: write it with stackfuse.export.")
        description = json.loads(properties["stackfuse.json"])
        self._inputs: dict[str, dict[str, Any]] = description["inputs"]
        classes = description["classes"]
        # With several columns of classes, labels stay positions.
        self.classes: list | None = None if classes and isinstance(classes[0], list) else classes
        # A table of numbers alone is one input; with strings in it, each column is one.
        self._is_matrix = list(self._inputs) == ["x"] and self._inputs["x"]["column"] is None
        shapes = [tuple(i["shape"][1:]) for i in self._inputs.values()]
        is_table = len(shapes[0]) == 1 if self._is_matrix else set(shapes) == {(1,)}
        if not is_table:
            raise ValueError(f"{path} takes rows of the shapes {shapes}: it serves no table.")
        if self._is_matrix:
            (width,) = shapes[0]
            names = description["feature_names"] or [f"x{k}" for k in range(width)]
            dtype: str = self._inputs["x"]["dtype"]
            self.columns = dict.fromkeys(names, dtype)
        else:
            self.columns = {str(i["column"]): i["dtype"] for i in self._inputs.values()}

    def answers(self, table: Mapping[str, Sequence]) -> list[dict[str, Any]]:
        """Return one answer for each row.

        Parameters
        ----------
        table : mapping of str to sequence of shape (n_rows,)
            By the names of the columns; a data frame too. None, NaN and ``pandas.NA`` stand for a
            missing value.

        Returns
        -------
        answers : list of dict
            ``"label"`` and ``"probabilities"`` by class, or ``"prediction"``. A row that
            scikit-learn would refuse has None in them.

        Raises
        ------
        ValueError
            If a column is not there, or holds something else than the stack was trained on.
        """
        lacking = [name for name in self.columns if name not in table]
        if lacking:
            raise ValueError(f"The table lacks the columns {lacking}.")
        arrays = [_column(table[name], name, dtype) for name, dtype in self.columns.items()]
        fed = {"x": np.hstack(arrays)} if self._is_matrix else dict(zip(self._inputs, arrays))
        names = [output.name for output in self._session.get_outputs()]
        outputs = dict(zip(names, self._session.run(names, fed)))
        by_output = [[self._plain(name, y) for y in column] for name, column in outputs.items()]
        return [dict(zip(names, row)) for row in zip(*by_output)]

    def _plain(self, output: str, value: np.ndarray) -> Any:
        """Return what one row has in one output, as JSON can hold it."""
        if self.classes is None:
            return _numbers(value.tolist())
        if output == "label":
            return None if value < 0 else self.classes[value]
        if len(self.classes) == np.size(value):
            return dict(zip(map(str, self.classes), _numbers(value.tolist())))
        return _numbers(value.tolist())


def _column(values: Iterable, name: str, dtype: str) -> np.ndarray:
    """Return a column as an array of shape (n_rows, 1)."""
    present = [None if _is_missing(value) else value for value in values]
    wrong = [v for v in present if v is not None and isinstance(v, str) != (dtype == "string")]
    if wrong:
        wanted = "words" if dtype == "string" else "numbers"
        raise ValueError(f"The column {name!r} takes {wanted}, got {wrong[0]!r}.")
    if dtype == "string":
        words = [MISSING if value is None else value for value in present]
        return np.array(words, object)[:, np.newaxis]
    return np.array(present, dtype)[:, np.newaxis]  # None becomes NaN


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, or what pandas has for missing values."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(entry) for entry in value]
    return value if math.isfinite(value) else None
