"""Out-of-fold predictions as an object: what they are, and how they are kept."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stackfuse._core import errors, files, messages
from stackfuse._oof.contributions import FEATURES
from stackfuse._oof.folds import Fold
from stackfuse._oof.prediction_columns import Column
from stackfuse._oof.result.in_files import loaded

#: The format of the files that :meth:`OutOfFold.save` writes.
_FORMAT = "stackfuse out-of-fold 1"

#: Rows that are copied at a time, where all are gone through.
_ROWS = 1 << 16


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Out-of-fold predictions of several base estimators over the same folds.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_columns), dtype float64
        The predictions. A row that was predicted several times has the average; a row that was
        never predicted has NaN. If they would take more than a quarter of the free memory, and 64
        MiB or more, they are a ``numpy.memmap`` that cannot be written to. Its file is in the
        folder of `memory`, or in the temporary folder, and is deleted with the last object that
        reads it. Pickles hold the numbers, which are in memory when they are loaded.
    mask : ndarray of shape (n_samples,), dtype bool
        Whether each row was predicted.
    columns : list of Column
        The base, method and output of each column. For two classes, only the probability of the
        second is kept.
    folds : list of Fold
        The rows to train on and to predict, fold by fold.
    scores : dict of str to (dict of str to ndarray of shape (n_folds,))
        The scores on each fold's test rows, by base and metric: ``"accuracy"`` and, with
        probabilities, ``"log_loss"`` for classes; ``"r2"`` for numbers.
    histories : dict of str to list of (dict or None), default={}
        The training history of each base on each fold.
    classes_ : ndarray or None, default=None
        The labels of the class numbers.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs), or None, default=None
        The target: class numbers, indicators or numbers.

    Examples
    --------
    >>> import stackfuse as sf
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> oof = sf.out_of_fold([("ridge", Ridge(alpha=0.1))], X, y, cv=3)
    >>> oof.predictions.shape, oof.scores["ridge"]["r2"].round(2).tolist()
    ((442, 1), [0.46, 0.5, 0.51])
    """

    predictions: np.ndarray
    mask: np.ndarray
    columns: list[Column]
    folds: list[Fold]
    scores: dict[str, dict[str, np.ndarray]]
    histories: dict[str, list[Any]] = field(default_factory=dict)
    classes_: np.ndarray | None = None
    y: np.ndarray | None = None

    def __repr__(self) -> str:
        n_rows, n_columns = self.predictions.shape
        names = list(dict.fromkeys(column.estimator for column in self.columns))
        return (
            f"<OutOfFold: {n_rows} rows ({int(self.mask.sum())} predicted), {len(self.folds)} "
            f"folds, {n_columns} columns of {messages.printable(', '.join(names))}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "predictions": np.asarray(self.predictions)}

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the mean scores, and the first rows."""

        def table(frame: pd.DataFrame, write: Callable[[float], str]) -> str:
            return frame.to_html(float_format=write, max_cols=12, na_rep="", border=0)

        means = {
            messages.printable(name): {
                metric: float(np.mean(values)) for metric, values in scores.items()
            }
            for name, scores in self.scores.items()
        }
        scores = pd.DataFrame.from_dict(means, orient="index")
        rows = self.to_frame().head()
        tables = [
            table(scores, "{:.4f}".format),
            table(rows, messages.score_writer(np.ravel(self.predictions[:5]), most=np.inf)),
        ]
        return "".join(
            [
                f"<p><strong>{escape(repr(self)[1:-1])}</strong></p>",
                f"<p>Mean scores over the folds:</p>{tables[0]}" if means else "",
                f"<p>The first {len(rows)} rows:</p>{tables[1]}",
            ]
        )

    @property
    def fold_ids(self) -> np.ndarray:
        """The number of the last fold that predicted each row, -1 for none; (n_samples,)."""
        ids = np.full(len(self.mask), -1)
        for k, fold in enumerate(self.folds):
            ids[fold.test] = k
        return ids

    def to_frame(self) -> pd.DataFrame:
        """Return the predictions as a frame with readable column names.

        Returns
        -------
        frame : DataFrame of shape (n_samples, n_columns)
            The columns have the names of base and class, or of base and output: ``"forest_yes"``.
        """
        names = [f"{column.estimator}_{self._label(column)}" for column in self.columns]
        return pd.DataFrame(self.predictions, columns=pd.Index(map(messages.printable, names)))

    def select(self, names: Sequence[str]) -> "OutOfFold":
        """Return the predictions of some of the base estimators.

        Parameters
        ----------
        names : sequence of str
            The names of the bases to keep.

        Returns
        -------
        oof : OutOfFold
            The columns, scores and histories of these bases.

        Raises
        ------
        TypeError
            If `names` is no list of names.
        ValueError
            If one of the names is none of the bases.
        """
        known = list(dict.fromkeys(column.estimator for column in self.columns))
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise TypeError(
                f"names must be a list of names of bases, got {messages.in_short(names)}."
            )
        names = list(names)
        if not names:
            raise ValueError(f"names is empty: name some of the bases {known}.")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"names holds {messages.in_short(unknown[0])}, which is not one of the bases "
                f"{known}."
            )
        places = [k for k, column in enumerate(self.columns) if column.estimator in names]
        return replace(
            self,
            predictions=self.predictions
            if len(places) == len(self.columns)
            else (self.predictions[:, places]),
            columns=[self.columns[k] for k in places],
            scores={name: self.scores[name] for name in names if name in self.scores},
            histories={name: self.histories[name] for name in names if name in self.histories},
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file, in numpy's npz format, without pickle.

        Parameters
        ----------
        path : str or path
            The file to write, usually with the ending ``.npz``. An existing file is replaced as a
            whole.

        Raises
        ------
        TypeError
            If the labels are neither numbers, text, booleans nor dates.
        OSError
            If the file cannot be written.
        """
        classes = None if self.classes_ is None else np.array(self.classes_.tolist())
        if self.classes_ is not None and self.classes_.dtype.kind != "O":
            classes = self.classes_
        arrays = {"predictions": self.predictions, "mask": self.mask, "y": self.y}
        arrays["classes"] = classes
        for k, fold in enumerate(self.folds):
            arrays |= {f"train{k}": fold.train, f"test{k}": fold.test}
        arrays = {name: array for name, array in arrays.items() if array is not None}
        mixed = [name for name, array in arrays.items() if array.dtype.hasobject]
        if mixed:
            raise TypeError(
                f"{mixed[0]} holds Python objects, {arrays[mixed[0]][:3].tolist()}, which a file "
                "without pickle cannot hold. Use text or numbers as labels."
            )
        about = {
            "format": _FORMAT,
            "columns": [list(column) for column in self.columns],
            "n_folds": len(self.folds),
            "objects": self.classes_ is not None and self.classes_.dtype.kind == "O",
            "histories": self.histories,
            "scores": {
                name: {metric: values.tolist() for metric, values in scores.items()}
                for name, scores in self.scores.items()
            },
        }
        about["sha256"] = _digest(arrays, about)
        arrays["about"] = np.array(json.dumps(about))
        files.write_whole(files.path_given(path), lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "OutOfFold":
        """Read what :meth:`save` wrote; no code in the file is run.

        Parameters
        ----------
        path : str or path
            The file to read.

        Returns
        -------
        oof : OutOfFold
            The predictions that were saved. Those that fit would have written to a file are in a
            temporary file again.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, or was not written by :meth:`save`.
        OSError
            If there is no room for the temporary file.
        """
        path = files.path_given(path)
        if not path.exists():
            raise FileNotFoundError(
                f"There is no file {str(path)!r}. Pass a file written by OutOfFold.save."
            )
        try:
            oof = cls._read(path)
        except (errors.DiskFailed, MemoryError):
            raise
        except Exception as error:  # readers of damaged files raise errors of any kind
            reason = " ".join(str(error).split()).rstrip(".")
            raise ValueError(
                f"{str(path)!r} holds no out-of-fold predictions, or is damaged: {reason}. Pass a "
                "file written by OutOfFold.save."
            ) from error
        return oof

    @classmethod
    def _read(cls, path: Path) -> "OutOfFold":
        """Read a file; raise any error if it is not what :meth:`save` writes."""
        files.check_regular(path)
        with zipfile.ZipFile(path) as archive:
            files.check_archive(archive, path.stat().st_size)
        large = loaded(path, "predictions")
        arrays = {} if large is None else {"predictions": large}
        with np.load(path, allow_pickle=False) as file:
            arrays |= {name: file[name] for name in file.files if name not in arrays}
        about = json.loads(str(arrays.pop("about", "{}")))
        if about.get("format") != _FORMAT:
            found = about.get("format")
            raise ValueError(f"it has the format {found!r}, but this version reads {_FORMAT!r}")
        digest = about.pop("sha256", None)  # files of earlier versions have none
        if digest not in (None, _digest(arrays, about)):
            raise ValueError("it has changed since it was saved")
        missing = [name for name in _parts(about) if name not in arrays]
        if missing:
            raise ValueError(f"it lacks the array {missing[0]!r}")
        classes = arrays.get("classes")
        if classes is not None and about["objects"]:
            classes = classes.astype(object)
        oof = cls(
            predictions=arrays["predictions"],
            mask=arrays["mask"],
            columns=[Column(*column) for column in about["columns"]],
            folds=[Fold(arrays[f"train{k}"], arrays[f"test{k}"]) for k in range(about["n_folds"])],
            scores={
                name: {metric: np.array(values, float) for metric, values in scores.items()}
                for name, scores in about["scores"].items()
            },
            histories=dict(about["histories"]),
            classes_=classes,
            y=arrays.get("y"),
        )
        oof._check_parts()
        return oof

    def _check_parts(self) -> None:
        """Raise ValueError if the parts do not go together; the message ends a sentence."""
        n_rows, n_columns = self.predictions.shape
        if self.predictions.dtype.kind != "f" or n_columns != len(self.columns):
            raise ValueError(
                f"its predictions, {self.predictions.dtype} of {n_columns} columns, are not "
                f"numbers for its {len(self.columns)} columns"
            )
        kinds = (str, str, int)
        if not all(isinstance(part, kind) for c in self.columns for part, kind in zip(c, kinds)):
            raise ValueError("its columns are not described by a name, a method and a number")
        if self.mask.dtype != bool or self.mask.shape != (n_rows,):
            raise ValueError(f"its mask does not have True or False for each of its {n_rows} rows")
        if self.y is not None and len(self.y) != n_rows:
            raise ValueError(f"its y has {len(self.y)} rows, but its predictions have {n_rows}")
        for rows in (rows for fold in self.folds for rows in fold):
            whole = rows.ndim == 1 and rows.dtype.kind in "iu"
            if not whole or (rows.size and not 0 <= rows.min() <= rows.max() < n_rows):
                raise ValueError(f"its folds hold row numbers outside of its {n_rows} rows")

    def _label(self, column: Column) -> str:
        if self.classes_ is None or column.method in ("predict", FEATURES):
            return str(column.output)
        return str(self.classes_[column.output])


def _parts(about: dict[str, Any]) -> list[str]:
    """Return the names of the arrays that a file must hold."""
    folds = [f"{name}{k}" for k in range(about["n_folds"]) for name in ("train", "test")]
    return ["predictions", "mask", *folds]


def _digest(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> str:
    """Return the digest of all that a file holds."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        for start in range(0, len(array), _ROWS):
            digest.update(array[start : start + _ROWS].tobytes())
    return digest.hexdigest()
