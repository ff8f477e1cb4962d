"""Export: write a stack to a file, whole or not at all, and only after it has been checked."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import scipy.sparse

from stackfuse._core import (
    MultiInput,
    NotConvertible,
    files,
    messages,
    sklearn_private,
)
from stackfuse._export.checking.answers import (
    expected_outputs,
    run_in_batches,
)
from stackfuse._export.checking.parity import check_parity
from stackfuse._export.checking.probes import (
    Probe,
    probes,
)
from stackfuse._export.converters.ours.networks import graph_of_model
from stackfuse._export.formats.base import Format
from stackfuse._export.formats.table import format_of
from stackfuse._export.graph.build import Build
from stackfuse._export.graph.graph import (
    PRECISIONS,
    Graph,
    build_graph,
    sample_rows,
)
from stackfuse._export.graph.signature import (
    as_given,
    as_pandas,
)
from stackfuse._export.manifest import (
    manifest_of,
    text_of,
)
from stackfuse._export.replacing import (
    check_replaceable,
    place_of,
)
from stackfuse._export.trained_model import TrainedModel
from stackfuse._keras import private
from stackfuse._training import seeded

_HINT_FLOAT32 = (
    "X is float32, in which scikit-learn computes some estimators; the graph computes in float64. "
    "Fit and verify on float64."
)


@dataclass(frozen=True)
class ExportReport:
    """The file that was written, and how it was checked.

    Attributes
    ----------
    path : Path
    format : str
    outputs : dict of str to tuple
        Name and shape of the graph's outputs; None stands for the number of rows.
    n_rows : int
        Number of your rows on which the file was compared with the estimator; 0 with
        ``verify=False``.
    n_probes : int
        Number of made-up rows on which it was compared too.
    max_difference : float or None
        Largest absolute difference of probabilities, decisions or predictions on your rows. No
        label differs.
    n_bytes : int
        Size on disk.
    """

    path: Path
    format: str
    outputs: dict[str, tuple]
    n_rows: int
    n_probes: int
    max_difference: float | None
    n_bytes: int

    def __str__(self) -> str:
        checked = "not verified (verify=False)"
        if self.max_difference is not None:
            checked = (
                f"largest difference {self.max_difference:.1e} over {self.n_rows} rows, "
                f"{self.n_probes} made-up rows agree"
            )
        return f"{self.path} ({self.format}, {self.n_bytes / 1e3:,.0f} kB): {checked}"


def export(
    stack,
    path: str | os.PathLike,
    *,
    format: str | None = None,
    verify: Any = None,
    precision: str | None = None,
) -> ExportReport:
    """Write a fitted stack, or a trained Keras model, to one file that loads without stackfuse.

    Before the file is put in its place, it is checked. Another process, which cannot import
    stackfuse, loads the file in the format's own runtime. Its outputs are compared with the stack's
    on the given rows, and on rows made up from them: on the thresholds of trees, at ties, far away,
    or with missing values.

    Parameters
    ----------
    stack : fitted estimator or keras.Model
        A stack, or anything that :func:`to_keras` takes. A Keras model of stock layers, for example
        one that :func:`fuse` has joined, becomes a file with the input ``x`` and the output
        ``prediction``. Several inputs keep their names; `verify` is a ``MultiInput`` then.
    path : path
        Where to write. An earlier export there is replaced in one step if it is unchanged; its
        mode stays. A link stays too: the file that it leads to is replaced. Anything else is left
        alone.
    format : {"keras", "saved_model", "onnx", "litert", "openvino"}, default=None
        By default the ending of the path decides: ``.keras``; no ending for a SavedModel, a
        directory for TensorFlow Serving; ``.onnx``; ``.tflite`` for LiteRT; ``.xml`` for OpenVINO,
        which puts the weights into a ``.bin`` file beside it. The last three need packages:
        ``pip install 'stackfuse[onnx]'``, ``[litert]``, ``[openvino]``.
    verify : array-like of shape (n_samples, ...) or False, default=None
        The rows to compare on; by default training rows that the stack has kept. The file carries
        the first eight of them, with their expected outputs. False skips the check, and the
        report says so.
    precision : {"float64", "float32"}, default=None
        See :func:`to_keras`. By default float64; LiteRT and OpenVINO know float32 only. For
        float32 the rows are rounded to float32 before stack and file are compared. Where two
        scores are equal up to rounding and the label differs, the export is refused.

    Returns
    -------
    report : ExportReport

    Raises
    ------
    NotConvertible
        If some estimator has no exact counterpart in a Keras graph, or the graph has none in the
        format.
    ParityError
        If file and stack disagree; nothing is written then.
    FileExistsError
        If the path holds something other than an earlier export, or an export that has changed.
    ModuleNotFoundError
        If the packages of the format are not installed.

    Examples
    --------
    >>> import tempfile, os
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = sf.export(model, os.path.join(folder, "iris.keras"), verify=X)
    >>> report.n_rows, report.max_difference < 1e-12
    (150, True)
    """
    target = Path(path)
    form = format_of(target, format)
    precision = _precision_for(form, precision)
    form.check_installed()
    place = place_of(target, form)
    files.check_writable(place.parent)
    files.repair(place)
    check_replaceable(place, form)
    given = None if verify is None or verify is False else verify
    if isinstance(stack, keras.Model):
        stack = TrainedModel.of(stack, given)
    rows = _rows_to_verify(stack, verify)
    if rows is not None:
        form.start()  # the process gets ready while the graph is built
    with seeded(0):  # layers draw initial weights that are never used
        return _write(stack, rows, form, target, precision)


def _write(stack, rows, form: Format, target: Path, precision: str) -> ExportReport:
    """Write a stack's graph, check the file, and put it in its place."""
    build = Build(precision, native_trees=form.native_trees)
    is_model = isinstance(stack, TrainedModel)
    graph = graph_of_model(stack, build) if is_model else build_graph(stack, rows, build)
    _check_strings(stack, graph, form)
    checks = None if rows is None else _Checks.of(stack, rows, graph, precision)
    if checks is not None:
        checks.check(run_in_batches(graph, checks.inputs), what="The graph")
    manifest = manifest_of(
        stack,
        graph,
        precision,
        form.packages,
        rows=None if checks is None else checks.inputs_of_rows,
        expected=None if checks is None else checks.expected,
    )
    place = place_of(target, form)
    place.parent.mkdir(parents=True, exist_ok=True)
    files.sweep(place.parent)
    max_difference = None
    with files.draft_of(place, (form.suffix, *form.companions)) as draft:
        form.write(graph, draft.path)
        manifest["sha256"] = form.digests(draft.path)
        form.attach(draft.path, text_of(manifest))
        if checks is not None:
            outputs = form.outputs_of(draft.path, checks.inputs)
            max_difference = checks.check(outputs, what="The file")
        draft.swap(lambda: check_replaceable(place, form))
    return ExportReport(
        path=target,
        format=form.name,
        outputs={name: tuple(tensor.shape) for name, tensor in graph.model.output.items()},
        n_rows=0 if checks is None else checks.n_rows,
        n_probes=0 if checks is None else checks.n_probes,
        max_difference=max_difference,
        n_bytes=form.size(place),
    )


def compare(estimator, X) -> tuple[float, int]:
    """Compare a fitted estimator with its graph, on the given rows and on rows made up from them.

    Parameters
    ----------
    estimator : fitted estimator
    X : array-like of shape (n_samples, ...)

    Returns
    -------
    max_difference : float
        Between probabilities, decisions or predictions for X.
    n_probes : int
        Number of made-up rows.

    Raises
    ------
    NotConvertible, ParityError
    """
    with seeded(0):
        graph = build_graph(estimator, X, Build("float64"))
        checks = _Checks.of(estimator, X, graph, "float64")
        return checks.check(run_in_batches(graph, checks.inputs), what="The graph"), checks.n_probes


@dataclass(frozen=True)
class _Checks:
    """The rows on which a graph is compared with its estimator, and the expected outputs.

    Attributes
    ----------
    stack : fitted estimator
    inputs_of_rows : dict of str to ndarray
        The caller's rows by the names of the graph's inputs.
    inputs : dict of str to ndarray
        The caller's rows, followed by all made-up rows.
    expected : dict of str to ndarray
        The estimator's outputs for the caller's rows.
    probes : list of Probe
    hint : str
        A possible cause of a difference.
    """

    stack: Any
    inputs_of_rows: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    probes: list[Probe]
    hint: str

    @classmethod
    def of(cls, stack, rows, graph, precision: str) -> "_Checks":
        """Make up rows, and compute the expected outputs of all rows by the estimator."""
        hint = _HINT_FLOAT32 if getattr(rows, "dtype", None) == np.float32 else ""
        round_rows = _round_to_float32 if precision == "float32" else _unchanged
        rows = round_rows(rows)  # the rows that the graph will see
        made_up = probes(stack, rows, precision, round_rows)
        parts = [graph.signature.feed(part) for part in (rows, *(p.rows for p in made_up))]
        inputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return cls(stack, parts[0], inputs, expected_outputs(stack, rows), made_up, hint)

    @property
    def n_rows(self) -> int:
        """Number of the caller's rows."""
        return len(next(iter(self.inputs_of_rows.values())))

    @property
    def n_probes(self) -> int:
        """Number of made-up rows."""
        return len(next(iter(self.inputs.values()))) - self.n_rows

    def check(self, outputs: dict[str, np.ndarray], *, what: str) -> float:
        """Compare outputs of all rows; return the largest difference on the caller's rows.

        Raises
        ------
        ParityError
            If they disagree.
        """
        missing = sorted(set(self.expected) - set(outputs))
        if missing:
            raise NotConvertible(
                f"{what} has no output {messages.listed(missing)}: {list(outputs)}."
            )
        ends = np.cumsum([self.n_rows, *(len(probe.on_edge) for probe in self.probes)])[:-1]
        parts = {name: np.split(np.asarray(outputs[name]), ends) for name in self.expected}
        of_rows = {name: part[0] for name, part in parts.items()}
        difference = check_parity(self.expected, of_rows, what=what, hint=self.hint)
        for k, probe in enumerate(self.probes, start=1):
            got = {name: part[k] for name, part in parts.items()}
            probe.check(self.stack, got, what=what)
        return difference


def _precision_for(form: Format, precision: str | None) -> str:
    if precision is None:
        return form.precisions[0]
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be {messages.listed(PRECISIONS)}, got {precision!r}.")
    if precision not in form.precisions:
        raise ValueError(
            f"precision={precision!r} does not go with {form.title}, which computes in "
            f"{form.precisions[0]}: leave precision out, or choose .keras or .onnx."
        )
    return precision


def _check_strings(stack, graph: Graph, form: Format) -> None:
    """Raise if a graph takes strings, or holds a network that does, and the format cannot."""
    entries = graph.signature.inputs.items()
    named = {name: name if entry.column is None else str(entry.column) for name, entry in entries}
    of_strings = [named[name] for name, entry in entries if entry.dtype == "string"]
    if not of_strings or (form.takes_strings and form.reads_text):
        return
    owner, listed = type(stack).__name__, messages.listed(of_strings)
    if not form.takes_strings:
        raise NotConvertible(
            f"The {owner} takes strings in {listed}, which {form.title} cannot carry. Export to "
            ".keras or a SavedModel, or encode them before the stack."
        )
    parts = [part for part in private.flatten_layers(graph.model) if part is not graph.model]
    networks = [part for part in parts if isinstance(part, keras.Model)]
    if any(tensor.dtype == "string" for part in networks for tensor in part.inputs):
        raise NotConvertible(
            f"The {owner} holds a network that takes strings in {listed}, and {form.title} has no "
            "layers that read them. Export to .keras or a SavedModel, or encode the strings "
            "before the network, for example with a OneHotEncoder."
        )


def _rows_to_verify(stack, verify):
    """Return the rows to compare on, or None with ``verify=False``."""
    if verify is False:
        return None
    if verify is None:
        verify = sample_rows(stack)
        if verify is None:
            raise ValueError(
                f"A {type(stack).__name__} keeps no rows to compare the file on: pass "
                "verify=X_sample, some rows of X (or verify=False to go without the check)."
            )
    if sklearn_private.num_samples(verify) == 0:
        raise ValueError("verify holds no rows.")
    return verify


def _unchanged(X):
    return X


def _round_to_float32(X: Any) -> Any:
    """Return rows with all numbers rounded to float32; their dtypes stay."""
    if isinstance(X, MultiInput):
        return MultiInput(**{name: _round_to_float32(array) for name, array in X.arrays.items()})
    if hasattr(X, "columns"):
        rounded = as_pandas(X).copy()
        for k in range(rounded.shape[1]):
            column = rounded.iloc[:, k]
            if column.dtype.kind == "f":
                narrow = column.to_numpy(np.float32, na_value=np.nan)
                rounded.isetitem(k, pd.Series(narrow, column.index).astype(column.dtype))
        return as_given(rounded, X)
    array = X if scipy.sparse.issparse(X) else np.asarray(X)
    return array.astype(np.float32).astype(array.dtype) if array.dtype.kind == "f" else X
