"""Export: write a stack to a file, whole or not at all, and only after it has been checked."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import keras

from stackfuse._core import (
    errors,
    files,
    messages,
    multi_input,
)
from stackfuse._export.checking.comparison import Comparison, RowsToCompare, check_given
from stackfuse._export.checking.few_digits import check_graph
from stackfuse._export.checking.held_rows import holders_of_rows
from stackfuse._export.checking.tied_rows import TiedRows
from stackfuse._export.converters.ours.networks import graph_of_model
from stackfuse._export.formats import Format, format_of
from stackfuse._export.graph.at_once import refuse_at_once
from stackfuse._export.graph.coverage import covered
from stackfuse._export.graph.graph import (
    PRECISIONS,
    Graph,
    build_graph,
)
from stackfuse._export.manifest import (
    manifest_of,
    text_of,
)
from stackfuse._export.replacing import (
    check_replaceable,
    place_of,
)
from stackfuse._export.tied_neighbors import averaged, check_ties
from stackfuse._export.trained_model import TrainedModel
from stackfuse._training import undisturbing


@dataclass(frozen=True)
class ExportReport:
    """The result of :func:`export`: the file that was written, and how it was checked.

    Parameters
    ----------
    path : Path
        The file or folder.
    format : str
        The name of the format.
    outputs : dict of str to tuple
        The shapes of the graph's outputs by name; None stands for the number of rows.
    n_rows : int
        The number of rows on which the file was compared with the estimator: yours, or by default
        rows made up like training rows; 0 with ``verify=False``.
    n_probes : int
        The number of hard rows, made up from these, on which it was compared too.
    max_difference : float or None
        The largest absolute difference of probabilities, decisions or predictions on the rows; None
        with ``verify=False``. No label differs.
    n_bytes : int
        The size on disk in bytes.
    holds_rows_of : tuple of str, default=()
        Estimators in the file that by their nature hold rows that they were fitted on, nearest
        neighbours for example.
    tied : TiedRows or None, default=None
        With ``ties="average"``, the compared rows in which it matters: ``n_rows``, ``n_probes``,
        ``n_labels``, ``max_difference``.

    Examples
    --------
    >>> from pathlib import Path
    >>> import stackfuse as sf
    >>> shapes = {"label": (None,), "probabilities": (None, 3)}
    >>> report = sf.ExportReport(Path("stack.keras"), "keras", shapes, 150, 144, 5.8e-16, 346_000)
    >>> print(report)
    stack.keras (keras, 346 kB): largest difference 5.8e-16 over 150 rows, 144 made-up rows agree
    """

    path: Path
    format: str
    outputs: dict[str, tuple[Any, ...]]
    n_rows: int
    n_probes: int
    max_difference: float | None
    n_bytes: int
    holds_rows_of: tuple[str, ...] = ()
    tied: TiedRows | None = None

    def __str__(self) -> str:
        text = "not verified (verify=False)"
        if self.max_difference is not None:
            text = (
                f"largest difference {self.max_difference:.1e} over {self.n_rows} rows, "
                f"{self.n_probes} made-up rows agree"
            )
        if self.holds_rows_of:
            text += f"; holds training rows of {', '.join(self.holds_rows_of)}"
        if self.tied is not None:
            text += f"; {self.tied}"
        return (
            f"{messages.printable(self.path)} ({self.format}, {self.n_bytes / 1e3:,.0f} kB): {text}"
        )


@overload
def export(
    stack: Any,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    verify: Any = None,
    golden: Any = None,
    precision: str | None = None,
    ties: str = "refuse",
    coverage: Any = None,
) -> ExportReport: ...


@overload
def export(
    stack: Any,
    path: Sequence[str | os.PathLike[str]],
    *,
    format: None = None,
    verify: Any = None,
    golden: Any = None,
    precision: str | None = None,
    ties: str = "refuse",
    coverage: Any = None,
) -> list[ExportReport]: ...


def export(
    stack: Any,
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    format: str | None = None,
    verify: Any = None,
    golden: Any = None,
    precision: str | None = None,
    ties: str = "refuse",
    coverage: Any = None,
) -> ExportReport | list[ExportReport]:
    """Write a fitted stack, or a trained Keras model, to one file that loads without stackfuse.

    Before the file is put in its place, it is checked. Another process, which cannot import
    stackfuse, loads the file in the format's own runtime. Its outputs are compared with the stack's
    on the given rows, and on rows made up from them: on the thresholds of trees, at ties, far away,
    with missing values, or with unknown words.

    Parameters
    ----------
    stack : fitted estimator or keras.Model
        A stack, or anything that :func:`to_keras` takes. A Keras model of stock layers, for example
        one that :func:`fuse` has joined, becomes a file with the input ``x`` and the output
        ``prediction``. Several inputs keep their names; `verify` is a dict of
        arrays or a ``MultiInput`` then.
    path : path or list of paths
        Where to write. An earlier export there is replaced in one step and keeps its permissions,
        unless somebody changed it. A link stays: the file that it leads to is replaced. Any other
        file stops the export with FileExistsError. For a list of paths, the graph is built and
        compared once for all files, and no file is put in its place before all have been checked.
    format : {"keras", "saved_model", "onnx", "litert", "openvino"} or str, default=None
        By default the ending of the path decides: ``.keras``; no ending for a SavedModel, a
        directory for TensorFlow Serving; ``.onnx``; ``.tflite`` for LiteRT; ``.xml`` for OpenVINO,
        which puts the weights into a ``.bin`` file beside it. The last three need packages:
        ``pip install 'stackfuse[onnx]'``, ``[litert]``, ``[openvino]``. A package may add formats
        of its own; see :func:`stackfuse.formats.register`.
    verify : array-like of shape (n_samples, ...) or False, default=None
        The rows to compare on. None of them goes into the file. By default they are made up: a
        stack keeps the kinds and the rounded ranges of its training rows, and no row. False skips
        the check, and the report says so.
    golden : array-like of shape (n_samples, ...), default=None
        Rows that the file carries with their expected outputs, so that ``stackfuse inspect`` can
        check it later. By default eight made-up rows. Whoever has the file can read them.
    precision : {"float64", "float32"}, default=None
        See :func:`to_keras`. By default float64; LiteRT and OpenVINO know float32 only. For
        float32 the rows are rounded to float32 before stack and file are compared. Where two
        scores are equal up to rounding and the label differs, the export is refused.
    ties : {"refuse", "average"}, default="refuse"
        How nearest neighbours treat training rows at equal distances with different targets:
        see :func:`to_keras`. The report and the manifest tell in how many of the compared rows
        it matters; in all others file and stack agree.
    coverage : float or dict, default=None
        Adds the outputs ``lower`` and ``upper``, or ``set``: what ``predict_interval`` or
        ``predict_set`` of the stack says for this coverage. See :func:`to_keras`. They are
        compared like all outputs, and the manifest tells what was asked for.

    Returns
    -------
    report : ExportReport or list of ExportReport
        The file and its check; for a list of paths, one report per file.

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
    several = isinstance(path, list | tuple)
    check_ties(ties)
    targets = _targets(path if several else [path], format, precision)
    verify, golden = check_given(verify, golden)
    given = next(
        (rows for rows in (verify, golden) if rows is not None and rows is not False), None
    )
    with undisturbing():
        if isinstance(stack, keras.Model):
            stack = TrainedModel.of(covered(stack, coverage), given)
        else:
            refuse_at_once(stack)
            stack = covered(stack, coverage)
            for name, rows in {"verify": verify, "golden": golden}.items():
                multi_input.check_width(rows, stack, name)
        if verify is not False:
            for target in targets:
                target.form.start()  # the processes get ready while the graph is built
        subject = _Subject(stack, averaged(stack) if ties == "average" else stack)
        graphs = _graphs_for(subject.baked, given, targets)
        reports = _write(subject, _compared(subject, graphs, verify, golden), targets)
    return reports if several else reports[0]


@dataclass(frozen=True)
class _Target:
    """One file to write.

    Attributes
    ----------
    path : Path
        As the caller gave it.
    place : Path
        Where it leads.
    form : Format
    precision : str
    """

    path: Path
    place: Path
    form: Format
    precision: str

    @property
    def kind_of_graph(self) -> tuple[str, bool, bool, bool]:
        """The precision of the graph, and what its trees may be made of."""
        form = self.form
        return self.precision, form.native_trees, form.bitwise, form.traced

    @classmethod
    def of(cls, path: Path, format: str | None, precision: str | None) -> "_Target":
        """Check that a file can be written."""
        form = format_of(path, format)
        precision = _precision_for(form, precision)
        form.check_installed()
        place = place_of(path, form)
        files.check_writable(place.parent)
        files.repair(place)
        check_replaceable(place, form)
        return cls(path, place, form, precision)


def _targets(paths, format: str | None, precision: str | None) -> list[_Target]:
    """Return the files to write; raise before anything else is done if one cannot be written."""
    if len(paths) != 1 and format is not None:
        raise ValueError(
            f"format={format!r} works with one path only. Leave it out: the endings of "
            "several paths choose their formats."
        )
    targets = [_Target.of(files.path_given(path), format, precision) for path in paths]
    if not targets:
        raise ValueError("path is an empty list. Pass one path or more.")
    places = [file for target in targets for file in _files_of(target)]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise ValueError(
            f"Two of the paths lead to {messages.printable(twice)}. Pass a different path for "
            "each file."
        )
    return targets


def _files_of(target: _Target) -> list[Path]:
    return [target.place, *(target.place.with_suffix(e) for e in target.form.companions)]


@dataclass(frozen=True)
class _Subject:
    """The estimator to export.

    Attributes
    ----------
    stack : fitted estimator or TrainedModel
    baked : fitted estimator or TrainedModel
        The estimator that the graph computes: the same, or a copy whose equally far neighbours
        share.
    """

    stack: Any
    baked: Any


@dataclass(frozen=True)
class _CheckedGraph:
    """A graph, and the rows on which it agrees with its stack."""

    graph: Graph
    comparison: Comparison | None
    tied: TiedRows | None

    @classmethod
    def of(
        cls, subject: _Subject, rows: RowsToCompare | None, graph: Graph, precision: str
    ) -> "_CheckedGraph":
        """Compare a graph with the subject that it was built from."""
        if rows is None:
            return cls(graph, None, None)
        comparison = Comparison.of(subject.baked, rows, graph, precision)
        check_graph(comparison, graph, precision)
        averages = subject.baked is not subject.stack
        tied = TiedRows.of(subject.stack, subject.baked, comparison) if averages else None
        return cls(graph, comparison, tied)


def _graphs_for(stack, given, targets: list[_Target]) -> dict[tuple[str, bool, bool, bool], Graph]:
    """Return the graphs of the files by their kinds; without trees one kind is the other.

    Whatever cannot be converted, or not be carried by a format, is told here, before rows are made
    up, predicted or compared.
    """
    graphs: dict[tuple[str, bool, bool, bool], Graph] = {}
    for target in targets:
        if target.kind_of_graph not in graphs:
            build = target.form.new_build(target.precision)
            is_model = isinstance(stack, TrainedModel)
            graph = graph_of_model(stack, build) if is_model else build_graph(stack, given, build)
            same = [target] if build.n_trees else targets
            for other in same:
                if other.precision == target.precision:
                    graphs[other.kind_of_graph] = graph
        target.form.check(graphs[target.kind_of_graph], type(stack).__name__)
    return graphs


def _compared(
    subject: _Subject, graphs: dict[tuple[str, bool, bool, bool], Graph], verify: Any, golden: Any
) -> dict[tuple[str, bool, bool, bool], _CheckedGraph]:
    """Compare graphs with their stack on the rows that were given or are made up."""
    rows = RowsToCompare.of(subject.baked, verify, golden)
    checked: dict[int, _CheckedGraph] = {}
    for (precision, *_), graph in graphs.items():
        if id(graph) not in checked:
            checked[id(graph)] = _CheckedGraph.of(subject, rows, graph, precision)
    return {kind: checked[id(graph)] for kind, graph in graphs.items()}


def _write(
    subject: _Subject,
    graphs: dict[tuple[str, bool, bool, bool], _CheckedGraph],
    targets: list[_Target],
) -> list[ExportReport]:
    """Write all files, check them, and put them in their places."""
    stack = subject.stack
    for target in targets:
        target.place.parent.mkdir(parents=True, exist_ok=True)
        files.sweep(target.place.parent)
    with ExitStack() as stack_of_drafts, _Waiting(len(targets)) as waiting:
        drafts = []
        for target in targets:
            endings = (target.form.suffix, *target.form.companions)
            checked = graphs[target.kind_of_graph]
            with files.told_if_full(target.place):
                draft = stack_of_drafts.enter_context(files.draft_of(target.place, endings))
                _write_file(stack, checked, target, draft.path)
            drafts.append(draft)
            # Processes load and run files while the next file is written.
            waiting.start(checked.comparison, target.form, draft.path)
        differences = [
            _compare_file(graphs[target.kind_of_graph].comparison, outputs, target.form)
            for target, outputs in zip(targets, waiting.outputs)
        ]
        for target, draft in zip(targets, drafts):
            with files.told_if_full(target.place):
                draft.swap(lambda target=target: check_replaceable(target.place, target.form))
    return [
        _report(stack, graphs[target.kind_of_graph], target, difference)
        for target, difference in zip(targets, differences)
    ]


def _write_file(stack, checked: _CheckedGraph, target: _Target, path: Path) -> None:
    """Write one file with its manifest."""
    form, comparison = target.form, checked.comparison
    golden = None if comparison is None else comparison.golden
    manifest = manifest_of(stack, checked.graph, target.precision, form.packages, golden)
    if checked.tied is not None:
        manifest["ties"] = checked.tied.as_dict()
    form.write(checked.graph, path)
    manifest["sha256"] = form.digests(path)
    form.attach(path, text_of(manifest))


class _Waiting:
    """The outputs that the formats' runtimes compute; one who is interrupted does not wait."""

    def __init__(self, n_files: int):
        self.outputs: list[Future | None] = []
        self._forms: list[Format] = []
        self._threads = ThreadPoolExecutor(n_files)

    def start(self, comparison: Comparison | None, form: Format, path: Path) -> None:
        """Have the runtime of a format compute the outputs of a file, if they are compared."""
        later = comparison and self._threads.submit(form.outputs_of, path, comparison.inputs)
        self.outputs.append(later)
        self._forms.append(form)

    def __enter__(self) -> "_Waiting":
        return self

    def __exit__(self, *_) -> None:
        for later, form in zip(self.outputs, self._forms):
            if later is not None and not later.done():  # an error, or an interrupt
                form.runtime.abandon()
        self._threads.shutdown()


def _compare_file(
    comparison: Comparison | None, outputs: Future | None, form: Format
) -> float | None:
    """Return the largest difference between a file and the stack, on the rows."""
    if comparison is None or outputs is None:
        return None
    # A signal that another thread receives does not wake this one: it looks now and then.
    while not wait([outputs], timeout=0.5).done:
        pass
    try:
        return comparison.check(outputs.result(), what="The file")
    except errors.ParityError as error:
        if "tensorflow" in form.runs_with:
            raise
        raise errors.ParityError(
            f"{str(error).strip()} The graph agrees in TensorFlow, so {form.title} computes it "
            "otherwise. Export to .keras or a SavedModel."
        ) from error


def _report(
    stack, checked: _CheckedGraph, target: _Target, difference: float | None
) -> ExportReport:
    comparison, outputs = checked.comparison, checked.graph.model.output
    return ExportReport(
        path=target.path,
        format=target.form.name,
        outputs={name: tuple(tensor.shape) for name, tensor in outputs.items()},
        n_rows=0 if comparison is None else comparison.n_rows,
        n_probes=0 if comparison is None else comparison.n_probes,
        max_difference=difference,
        n_bytes=target.form.size(target.place),
        holds_rows_of=tuple(holders_of_rows(stack)),
        tied=checked.tied,
    )


def _precision_for(form: Format, precision: str | None) -> str:
    if precision is None:
        return form.precisions[0]
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be {messages.listed(PRECISIONS)}, got {precision!r}.")
    if precision not in form.precisions:
        raise ValueError(
            f"precision={precision!r} does not work with {form.title}, which computes in "
            f"{form.precisions[0]}. Leave precision out, or choose .keras or .onnx."
        )
    return precision
