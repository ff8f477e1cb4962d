"""From a stack to a file: written whole or not at all, and never without having been checked."""

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
    run,
)
from stackfuse._export.checking.parity import check_parity
from stackfuse._export.checking.probes import (
    Probe,
    probes,
)
from stackfuse._export.converters.ours.networks import graph_of_model
from stackfuse._export.earlier import (
    check_replaceable,
    place_of,
)
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
from stackfuse._export.trained_model import TrainedModel
from stackfuse._keras import private
from stackfuse._training import seeded

_FLOAT32 = (
    "X is float32, in which scikit-learn computes some estimators; the graph computes in float64. "
    "Fit and verify on float64."
)


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it was checked.

    Attributes
    ----------
    path : Path
    format : str
    outputs : dict of str to tuple
        Name and shape of the graph's outputs; None stands for the number of rows.
    n_rows : int
        Rows of yours on which the file was compared with the estimator; 0 with ``verify=False``.
    n_probes : int
        Made-up rows on which it was compared too.
    max_difference : float or None
        Largest absolute difference of probabilities, decisions or predictions on rows of yours. No
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

    Before the file is put in its place, another process, which cannot import stackfuse, loads it in
    the format's own runtime, and what it computes is compared with the stack: on the given rows
    and on rows made up from them, which lie on the thresholds of trees, at ties, far away, or lack
    values.

    Parameters
    ----------
    stack : fitted estimator or keras.Model
        A stack, or whatever :func:`to_keras` takes. A Keras model of stock layers, one that
        :func:`fuse` has joined for example, becomes a file with the input ``x`` (of several, their
        names; `verify` is a ``MultiInput`` then) and the output ``prediction``, what it returns.
    path : path
        Where to write. An earlier export there is replaced, in one step, if it is unchanged; a
        link stays and what it leads to is replaced; modes stay. Anything else is left alone.
    format : {"keras", "saved_model", "onnx", "litert", "openvino"}, default=None
        By default by the ending of the path: ``.keras``; none for a SavedModel, a directory for
        TensorFlow Serving; ``.onnx``; ``.tflite`` for LiteRT; ``.xml`` for OpenVINO, which puts
        the weights into a ``.bin`` file beside it. The last three need a package each:
        ``pip install 'stackfuse[onnx]'``, ``[litert]``, ``[openvino]``.
    verify : array-like of shape (n_samples, ...) or False, default=None
        The rows to compare on; by default training rows that the stack has kept. The first
        eight of them and their expected outputs travel with the file. False skips the check, and
        the report says so.
    precision : {"float64", "float32"}, default=None
        See :func:`to_keras`. By default float64; LiteRT and OpenVINO know float32 only. In float32
        the rows of X are rounded to it, for the stack too, before anything is compared; a label
        that only rounding decides, because two scores are equal, is refused where it differs.

    Returns
    -------
    report : ExportReport

    Raises
    ------
    NotConvertible
        If some estimator has no exact counterpart in a Keras graph, or the graph none in the
        format.
    ParityError
        If file and stack disagree; nothing is written then.
    FileExistsError
        If something stands at the path that is no earlier export, or has changed since.
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
        form.start()  # it gets ready while the graph is built
    with seeded(0):  # layers draw initial weights that are never used
        return _write(stack, rows, form, target, precision)


def _write(stack, rows, form: Format, target: Path, precision: str) -> ExportReport:
    """Write a stack's graph, check the file, and put it in its place."""
    build = Build(precision)
    is_model = isinstance(stack, TrainedModel)
    graph = graph_of_model(stack, build) if is_model else build_graph(stack, rows, build)
    _check_strings(stack, graph, form)
    checks = None if rows is None else _Checks.of(stack, rows, graph, precision)
    if checks is not None:
        checks.check(run(graph, checks.fed), what="The graph")
    manifest = manifest_of(
        stack,
        graph,
        precision,
        form.packages,
        rows=None if checks is None else checks.first_fed,
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
            outputs = form.outputs_of(draft.path, checks.fed)
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
    """Compare a fitted estimator with its graph, on rows and on rows made up from them.

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
        return checks.check(run(graph, checks.fed), what="The graph"), checks.n_probes


@dataclass(frozen=True)
class _Checks:
    """All that a graph is asked, and what the estimator answers.

    Attributes
    ----------
    stack : fitted estimator
    first_fed : dict of str to ndarray
        The caller's rows by the names of the inputs.
    fed : dict of str to ndarray
        These and all made-up rows.
    expected : dict of str to ndarray
        The estimator's answers to the caller's rows.
    probes : list of Probe
    hint : str
        What may be the cause of a difference.
    """

    stack: Any
    first_fed: dict[str, np.ndarray]
    fed: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    probes: list[Probe]
    hint: str

    @classmethod
    def of(cls, stack, rows, graph, precision: str) -> "_Checks":
        """Ask the estimator."""
        hint = _FLOAT32 if getattr(rows, "dtype", None) == np.float32 else ""
        rounded = _rounded if precision == "float32" else _as_it_is
        rows = rounded(rows)  # the rows that the graph will see
        tried = probes(stack, rows, precision, rounded)
        parts = [graph.signature.feed(part) for part in (rows, *(p.rows for p in tried))]
        fed = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return cls(stack, parts[0], fed, expected_outputs(stack, rows), tried, hint)

    @property
    def n_rows(self) -> int:
        """Number of the caller's rows."""
        return len(next(iter(self.first_fed.values())))

    @property
    def n_probes(self) -> int:
        """Number of made-up rows."""
        return len(next(iter(self.fed.values()))) - self.n_rows

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
        first = {name: part[0] for name, part in parts.items()}
        difference = check_parity(self.expected, first, what=what, hint=self.hint)
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
    """Return the rows to compare on, or None if that was switched off."""
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


def _as_it_is(X):
    return X


def _rounded(X: Any) -> Any:
    """Return rows whose numbers are float32, in the types that they had."""
    if isinstance(X, MultiInput):
        return MultiInput(**{name: _rounded(array) for name, array in X.arrays.items()})
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
