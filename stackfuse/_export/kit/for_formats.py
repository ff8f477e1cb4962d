"""The proof of a format: its files hold what they must, run elsewhere, and tell of damage."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from stackfuse._core import MultiInput, NotConvertible, sampling
from stackfuse._export.checking.answers import expected_outputs
from stackfuse._export.checking.parity import check_parity
from stackfuse._export.exporting import export
from stackfuse._export.formats import Format, format_of, named
from stackfuse._export.graph.graph import build_graph
from stackfuse._export.graph.signature import Signature
from stackfuse._networks import KerasRegressor
from stackfuse._stacking import StackingClassifier

#: Bytes of each file that are changed, one at a time.
_N_CHANGES = 6

#: A manifest as long as those of large stacks, with letters and signs of many kinds.
_LONG = '{"manifest_version": 0, "text": "' + 'ä☃ <&> \\" ]]> ' * 20_000 + '"}'


@dataclass(frozen=True)
class _Case:
    """A fitted estimator and rows of its X."""

    title: str
    estimator: Any
    X: Any


def check_format(format: str | Format) -> None:
    """Check that a format keeps what exported files promise.

    A classifier with trees, a network with several inputs and outputs, and a table with words are
    exported, in all precisions that the format has. Their files are read, copied, run in their own
    runtime, written over, and damaged.

    Parameters
    ----------
    format : str or Format
        A registered format, or its name.

    Raises
    ------
    TypeError
        If it is no format.
    AssertionError
        If damage is not told, or a file is not what its manifest says.
    NotConvertible, ParityError
        If a file cannot be written or run, or computes something else than the estimator.

    Examples
    --------
    >>> import stackfuse as sf
    >>> sf.testing.check_format("keras")
    """
    form = named(format) if isinstance(format, str) else format
    if not isinstance(form, Format):
        raise TypeError(f"format must be a name or a registered Format, got {form!r}.")
    with tempfile.TemporaryDirectory() as folder:
        _demand(
            format_of(Path(f"x{form.suffix}")).name == form.name,
            f"files with the ending {form.suffix!r} belong to another format: register this one",
        )
        for precision in form.precisions:
            for case in _cases(form):
                _check_case(form, case, precision, Path(folder) / precision / case.title)
        model, other, X = _two_models()
        path = Path(folder) / f"model{form.suffix}"
        _check_manifests(form, model, Path(folder) / f"bare{form.suffix}")
        _check_replacing(form, model, other, X, path)
        _check_damage(form, other, X, path)
        if not form.takes_strings:
            _check_strings_are_refused(form, Path(folder) / f"words{form.suffix}")


def _two_models() -> tuple[Any, Any, np.ndarray]:
    """Return two models that differ in their numbers alone, and their X."""
    X, y = load_iris(return_X_y=True)
    model, other = (LogisticRegression(C=c, max_iter=1000).fit(X, y) for c in (0.01, 1.0))
    return model, other, X


def _words() -> _Case:
    X, y = load_iris(return_X_y=True)
    frame = pd.DataFrame({"size": X[:, 0], "a word": np.array(["ä", "b c", ""])[y]})
    encode = make_column_transformer((OneHotEncoder(), ["a word"]), remainder="passthrough")
    return _Case("words", make_pipeline(encode, LogisticRegression()).fit(frame, y), frame)


def _cases(form: Format) -> Iterator[_Case]:
    X, y = load_iris(return_X_y=True)
    bases = [
        ("linear", LogisticRegression(max_iter=1000)),
        ("forest", RandomForestClassifier(5, max_depth=4, random_state=0)),
    ]
    stack = StackingClassifier(bases, LogisticRegression(), cv=2, random_state=0)
    yield _Case("classes", stack.fit(X, y), X)
    rows, targets = MultiInput(second=X[:, :1], first=X[:, 1:]), X[:, :2]
    network = KerasRegressor(_network, epochs=1, random_state=0).fit(rows, targets)
    yield _Case("several inputs", network, rows)
    yield _Case("several outputs", Ridge().fit(X, targets), X)
    if form.takes_strings:
        yield _words()


def _network():
    second, first = keras.Input((1,), name="second"), keras.Input((3,), name="first")
    joined = keras.layers.Concatenate()([second, first])
    hidden = keras.layers.Dense(4, activation="relu")(joined)
    return keras.Model([second, first], keras.layers.Dense(2)(hidden))


def _check_case(form: Format, case: _Case, precision: str, folder: Path) -> None:
    """Export an estimator, and run a copy of the file somewhere else."""
    path = folder / f"model{form.suffix}"
    report = export(case.estimator, path, format=form.name, verify=case.X, precision=precision)
    what = f"a file of {case.title} in {precision}"
    _demand(report.n_bytes == form.size(path) > 0, f"{what}: {report.n_bytes} bytes")
    manifest = form.read_manifest(path)
    signature = Signature.of_rows(case.X, precision)
    dtypes = {name: entry.dtype for name, entry in signature.inputs.items()}
    told = {name: entry["dtype"] for name, entry in manifest["inputs"].items()}
    _demand(told == dtypes, f"{what}: the manifest has the inputs {told}, not {dtypes}")
    _demand(
        form.digests(path) == manifest["sha256"],
        f"{what}: contents() changes when the manifest is attached",
    )
    copied = _copied(form, path, folder / "elsewhere" / f"renamed{form.suffix}")
    _remove(form, path)
    outputs = form.outputs_of(copied, signature.feed(case.X))
    check_parity(expected_outputs(case.estimator, case.X), outputs, what=f"A copy of {what}")


def _check_manifests(form: Format, model, path: Path) -> None:
    """Check that a file without a manifest says so, and that long ones come back as they were."""
    form.write(build_graph(model, None, form.new_build(form.precisions[0])), path)
    try:
        form.read_manifest(path)
    except ValueError as error:
        _demand(
            "holds no manifest" in str(error),
            f"without a manifest attached() must raise KeyError: {error}",
        )
    else:
        raise AssertionError("attached() of a file without a manifest must raise KeyError")
    form.attach(path, _LONG)
    _demand(
        form.attached(path) == _LONG, "attached() does not return the text that attach() was given"
    )


def _check_replacing(form: Format, model, other, X, path: Path) -> None:
    """Check that an export is replaced by another, whose parts have other digests."""
    export(model, path, format=form.name, verify=X)
    before = form.digests(path)
    export(other, path, format=form.name, verify=X)
    _demand(
        form.digests(path) != before,
        "files of two models have equal digests: contents() leaves out a part that computes",
    )


def _check_damage(form: Format, model, X, path: Path) -> None:
    """Check that files that are cut, missing or changed are told before they are run."""
    manifest = form.read_manifest(path)
    rows = Signature.of_rows(X, form.precisions[0]).feed(X)

    def check_told(what: str) -> None:
        if _is_told(form, path):
            _check_is_left_alone(form, model, path, what)
        else:  # then the file computes the same
            what = f"An export whose damage nobody notices ({what})"
            check_parity(expected_outputs(model, X), form.outputs_of(path, rows), what=what)

    for file in form.files(path):
        data, name = file.read_bytes(), file.name
        file.unlink()
        check_told(f"{name} is missing")
        file.write_bytes(data[: len(data) // 2])
        check_told(f"{name} is cut in half")
        for place in sampling.spread(len(data), _N_CHANGES):
            changed = bytearray(data)
            changed[place] ^= 1
            file.write_bytes(changed)
            check_told(f"byte {place} of {name} is changed")
        file.write_bytes(data)
    _demand(
        not form.changed_parts(path, manifest),
        "changed_parts() names parts of a file that was not changed",
    )


def _is_told(form: Format, path: Path) -> bool:
    """Whether a file is known to be damaged, without running it."""
    try:
        return bool(form.changed_parts(path, form.read_manifest(path)))
    except (ValueError, FileNotFoundError, IsADirectoryError):
        return True


def _check_is_left_alone(form: Format, model, path: Path, what: str) -> None:
    if not path.exists():
        return
    try:
        export(model, path, format=form.name, verify=False)
    except OSError:
        return
    raise AssertionError(f"an export is replaced although {what}")


def _check_strings_are_refused(form: Format, path: Path) -> None:
    case = _words()
    try:
        export(case.estimator, path, format=form.name, verify=case.X)
    except NotConvertible:
        _demand(not path.exists(), "a stack with words raises an error, but a file is written")
        return
    raise AssertionError("takes_strings is False, but a stack with words is exported")


def _copied(form: Format, path: Path, target: Path) -> Path:
    """Copy all files of an export to another place."""
    target.parent.mkdir()
    if path.is_dir():
        shutil.copytree(path, target)
        return target
    for file in form.files(path):
        shutil.copy(file, target.with_suffix(file.suffix))
    return target


def _remove(form: Format, path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
        return
    for file in form.files(path):
        file.unlink()


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
