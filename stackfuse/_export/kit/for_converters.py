"""The proof of a converter: its graph answers as the estimator does, wherever it can be asked."""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stackfuse._core import MultiInput, errors, fitting, messages, sampling, sklearn_private
from stackfuse._export.checking.answers import expected_outputs, run_in_batches
from stackfuse._export.checking.comparison import Comparison, RowsToCompare
from stackfuse._export.checking.numeric_table import numeric_table
from stackfuse._export.checking.parity import TOLERANCE, check_parity
from stackfuse._export.checking.probes import Probe, is_exact
from stackfuse._export.formats import Format, named
from stackfuse._export.formats.table import FORMATS
from stackfuse._export.graph.build import Build
from stackfuse._export.graph.graph import PRECISIONS, Graph, build_graph
from stackfuse._export.kit.jumps import jumps_of
from stackfuse._export.kit.one_method import OneMethod, further_methods
from stackfuse._training import undisturbing

#: The most rows that jumps are looked for between, and the most jumps that are tried.
_MAX_ROWS, _MAX_JUMPS = 64, 64

_HINT = (
    "Keep learned numbers in arrays of at least one axis, in the dtype of x. If the estimator "
    "itself computes in float32, pass rtol=1e-5."
)


_POSITIVE = fitting.Wanted(fitting.is_positive, "a number above 0")


def check_converter(
    estimator: Any,
    X: Any,
    *,
    methods: Sequence[str] | None = None,
    formats: Sequence[str] | None = None,
    rtol: float = 1e-9,
) -> int:
    """Check that the graph of a fitted estimator computes what the estimator does.

    They are compared on X and on rows made up from it: far away, with missing and infinite values,
    on and beside the values at which the estimator's answer jumps, declared as ``edges=`` or found
    by halving intervals, and one row alone. Rows that the estimator refuses must be NaN. All its
    methods are compared, in float64 and float32, and in files of every installed format, each in
    its own runtime.

    Parameters
    ----------
    estimator : fitted estimator
        An estimator whose class has a converter, or an estimator that holds one.
    X : array-like of shape (n_samples, ...)
        As the estimator takes it: numbers, a data frame, a ``MultiInput``, sparse.
    methods : list of str, default=None
        The methods to check besides the outputs of its files: "decision_function", "predict" and
        "transform"; by default all that it has.
    formats : list of str, default=None
        The names of formats, by default all that are installed. One that has no strings is left out
        where X has some.
    rtol : float, default=1e-9
        How far answers to X may differ in float64, relative to the largest; probabilities
        absolutely. Networks and XGBoost, which compute in float32, may differ by 1e-5.

    Returns
    -------
    n_probes : int
        Number of made-up rows on which they agree.

    Raises
    ------
    NotConvertible
        If there is no converter, a method is missing, or a format cannot carry the graph.
    ParityError
        If graph, or file, and estimator disagree.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=500).fit(X, y)
    >>> sf.testing.check_converter(model, X, formats=["keras"]) > 100
    True
    """
    if not hasattr(estimator, "get_params"):
        raise TypeError(
            f"estimator must be a fitted estimator, got {messages.in_short(estimator)}."
        )
    if np.ndim(X) < 2 and not hasattr(X, "columns") and not isinstance(X, MultiInput):
        raise ValueError(f"X must be rows of a table, got {messages.in_short(X)}.")
    fitting.check_settings({"rtol": rtol}, {"rtol": _POSITIVE})
    forms = _installed() if formats is None else [named(name) for name in formats]
    asked = further_methods(estimator) if methods is None else list(methods)
    unknown = [method for method in asked if not hasattr(estimator, method)]
    if unknown:
        raise ValueError(
            f"methods names {unknown[0]!r}, but {type(estimator).__name__} has no such method. "
            f"Choose from {messages.listed(further_methods(estimator) or ['predict'])}."
        )
    n_probes = 0
    with undisturbing():
        for precision in PRECISIONS:
            tolerance = rtol if is_exact(estimator, precision) else TOLERANCE
            n_probes += _check_precision(estimator, X, precision, forms, tolerance)
            for method in asked:
                one = OneMethod(estimator, method)
                what = f"The graph's {method}"
                n_probes += _check_graph(one, X, Build(precision), tolerance, what)[1].n_probes
    return n_probes


def _installed() -> list[Format]:
    """Return the formats whose packages are installed."""
    found = []
    for form in FORMATS.values():
        try:
            form.check_installed()
        except ModuleNotFoundError:
            continue
        found.append(form)
    return found


def _check_precision(estimator, X, precision: str, forms: list[Format], tolerance: float) -> int:
    """Check the graph of a precision, and the files of all formats that compute in it first."""
    build = Build(precision)
    graph, comparison = _check_graph(estimator, X, build, tolerance, "The graph")
    for form in forms:
        of_strings = graph.signature.columns_of_strings
        if form.precisions[0] == precision and (form.takes_strings or not of_strings):
            own = form.new_build(precision)
            is_same = own == build or not build.n_trees
            written = graph if is_same else build_graph(estimator, X, own)
            _check_file(form, written, comparison, tolerance)
    return comparison.n_probes


def _check_graph(
    estimator, X, build: Build, tolerance: float, what: str
) -> tuple[Graph, Comparison]:
    """Check a graph, without a file."""
    graph, precision = build_graph(estimator, X, build), build.precision
    comparison = Comparison.of(estimator, RowsToCompare(X, None), graph, precision)
    comparison = replace(comparison, hint=f"{comparison.hint} {_HINT}".strip())
    beside = _beside_jumps(estimator, X) if is_exact(estimator, precision) else None
    if beside is not None:
        fed = graph.signature.feed(beside.rows)
        inputs = {name: np.concatenate([a, fed[name]]) for name, a in comparison.inputs.items()}
        comparison = replace(comparison, inputs=inputs, probes=[*comparison.probes, beside])
    outputs = run_in_batches(graph, comparison.inputs)
    comparison.check(outputs, what=what, tolerance=tolerance)
    _check_one_row(graph, comparison, outputs, what)
    _check_missing(graph, comparison, what)
    return graph, comparison


def _check_file(form: Format, graph: Graph, comparison: Comparison, tolerance: float) -> None:
    """Write a graph in a format, and check what its runtime computes."""
    form.check(graph, type(comparison.stack).__name__)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"graph{form.suffix}"
        form.write(graph, path)
        outputs = form.outputs_of(path, comparison.inputs)
    comparison.check(outputs, what=f"The {form.title} file", tolerance=tolerance)


def _check_one_row(graph: Graph, comparison: Comparison, outputs, what: str) -> None:
    """Check that one row alone has the answer that it has among others."""
    alone = graph({name: array[:1] for name, array in comparison.inputs.items()})
    among = {name: outputs[name][:1] for name in comparison.expected}
    check_parity(among, alone, what=f"{what}, of one row alone,")


def _check_missing(graph: Graph, comparison: Comparison, what: str) -> None:
    """Check that a row with a missing value has no number where the estimator has none."""
    for probe in comparison.probes:
        if probe.refused or "missing" not in probe.kind:
            continue
        got = run_in_batches(graph, graph.signature.feed(probe.rows))
        for name, wanted in probe.expected.items():
            wrong = np.isnan(wanted) & np.isfinite(got[name])
            if wrong.any():
                place = tuple(np.argwhere(wrong)[0])
                raise errors.ParityError(
                    f"{what} disagrees with the estimator on a row {probe.kind}: {name!r} is "
                    f"{got[name][place]!r} instead of nan."
                )


def _beside_jumps(estimator, X) -> Probe | None:
    """Return rows on both sides of every jump that is found by halving intervals."""
    places = sampling.spread(sklearn_private.num_samples(X), _MAX_ROWS)
    table = numeric_table(sklearn_private.safe_indexing(X, places))
    if table is None:
        return None

    def answers(numbers: np.ndarray) -> np.ndarray | None:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                expected = expected_outputs(estimator, table.rebuild(numbers))
        except Exception:  # any error: each package has its own for rows that it refuses
            return None
        scores = [y.reshape(len(numbers), -1) for name, y in expected.items() if name != "label"]
        return np.hstack(scores) if scores else np.zeros((len(numbers), 1))

    edges = jumps_of(answers, table.numbers)
    edges = edges[sampling.spread(len(edges), _MAX_JUMPS)]
    if not len(edges):
        return None
    columns, values = np.repeat(edges[:, 0].astype(int), 2), np.repeat(edges[:, 1], 2)
    values[1::2] = np.nextafter(values[1::2], np.inf)
    numbers = table.numbers[np.arange(len(values)) % len(table.numbers)]
    on_edge = columns[:, None] == np.arange(numbers.shape[1])
    numbers[on_edge] = values
    rows = table.rebuild(numbers)
    kind = "on a value at which the estimator's answer jumps, or the next float"
    return Probe(kind, rows, on_edge, expected_outputs(estimator, rows), exact=True)
