"""The command ``stackfuse``."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from stackfuse._core import files, messages

app = typer.Typer(
    help="Stack Keras and scikit-learn models into one Keras graph.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # one line for a mistake, which scripts can read
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON, and nothing else.")]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option(help="Show the Python traceback of an error.")] = False,
) -> None:
    """Stack Keras and scikit-learn models into one Keras graph."""


#: The variable with the level of TensorFlow's log, and the level that leaves errors only.
_LEVEL, _QUIET = "TF_CPP_MIN_LOG_LEVEL", "3"

#: Lines that TensorFlow's libraries write when they are loaded, at any level of its log.
_STARTING = rb"WARNING: All log messages before absl|I\d{4} \d\d:\d\d:\d\d"

#: A program that repeats its input without such lines.
_FILTER = f"""
import re, sys
for line in sys.stdin.buffer:
    if not re.match({_STARTING!r}, line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Drop what TensorFlow tells of itself while it is imported; other lines are shown.

    Another process shows them. So they are seen even if TensorFlow ends this process. All of it is
    shown to users who set a lower level of its log.
    """
    if os.environ.get(_LEVEL) != _QUIET or sys.stderr is None or "tensorflow" in sys.modules:
        yield
        return
    # In a session of its own, so that Ctrl-C does not end it before this process.
    command = [sys.executable, "-I", "-S", "-c", _FILTER]
    shown = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    into: Any = shown.stdin
    kept = os.dup(2)
    os.dup2(into.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        into.close()
        with suppress(subprocess.TimeoutExpired):  # something else may still write there
            shown.wait(5)


def _console():
    from stackfuse._cli.console import SafeConsole

    return SafeConsole()


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the exported file.")] = Path(
        "demo-output"
    ),
) -> None:
    """Train, search, export and verify a stack on data that scikit-learn ships."""
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"--output must be a folder, got the file {output}.")
    with _quiet_start():
        from stackfuse._cli import demo as _demo

    raise typer.Exit(_demo.run(output))


@app.command()
def fit(
    table: Annotated[
        Path, typer.Argument(help="A .csv, .tsv, .txt or .parquet file; .csv.gz too.")
    ],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the graph, the report and the fits.")
    ] = Path("stackfuse-output"),
    format: Annotated[
        str, typer.Option(help="keras, onnx, saved_model, litert or openvino.")
    ] = "keras",
    bases: Annotated[
        str | None,
        typer.Option(help="Kinds of bases: linear,neighbors,forest,boosting,networks,boosters."),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="Time for the fits: 90s, 10m or 2h. A short time means fewer bases."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="A column to leave out; repeat it.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="The score to choose by, a name from scikit-learn: roc_auc, f1_macro, ..."
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="classification or regression, where the target does not tell."),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="A column of groups: rows with the same value stay in one fold."),
    ] = None,
    time_column: Annotated[
        str | None,
        typer.Option(help="A column of times: folds predict later rows from earlier ones."),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="The seed of all random numbers.")] = 0,
    as_json: _Json = False,
) -> None:
    """Fit a stack to a table, and export it. Interrupted, the same command goes on where it was."""
    from stackfuse._cli import asked
    from stackfuse._export import formats

    if task not in (None, "classification", "regression"):
        raise ValueError(f"--task must be classification or regression, got {task!r}.")
    wanted = asked.Wanted(
        table=table,
        target=target,
        out=out,
        format=format,
        kinds=None if bases is None else tuple(bases.replace(" ", "").split(",")),
        drop=tuple(drop or ()),
        groups=groups,
        time_column=time_column,
        seconds=None if time is None else _seconds(time),
        folds=folds,
        seed=seed,
        metric=metric,
        task=task,
    )
    formats.named(wanted.format).check_installed()
    prepared = asked.prepare(wanted)  # a mistake is told before TensorFlow is imported
    with _quiet_start():
        from stackfuse._cli import fit as _fit

    try:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            found = _fit.fit(wanted, prepared, _console())
    except KeyboardInterrupt:
        sys.stderr.write("stackfuse fit: interrupted. Type the same command to go on.\n")
        raise typer.Exit(130) from None
    if as_json:
        _print_json(found)


def _print_json(found) -> None:
    sys.stdout.write(json.dumps(found) + "\n")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A file that stackfuse has exported.")],
    table: Annotated[Path, typer.Argument(help="A table with the columns that the model reads.")],
    out: Annotated[
        Path | None,
        typer.Option(help="A .csv file for the predictions; by default they are printed."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Predict the rows of a table by an exported file alone.

    Columns of dates are given to it as days since 1970.
    """
    from stackfuse._cli import predict as _predict
    from stackfuse._cli.table_files import json_rows

    predictions = _predict.predict(model, table)
    if out is not None and out.exists() and not (out.is_file() or out.is_dir()):
        predictions.to_csv(out, index=False)  # a pipe, or a terminal
    elif out is not None:
        files.write_whole(out, predictions.to_csv(index=False).encode())
    if as_json:
        found = {"rows": len(predictions), "columns": list(predictions.columns)}
        there = {"file": str(out)} if out else {"predictions": json_rows(predictions)}
        _print_json(found | there)
    elif out is None:
        text = predictions.to_csv(index=False)
        sys.stdout.write(messages.printable(text) if sys.stdout.isatty() else text)
    else:
        _console().print(f"{len(predictions)} predictions are in {out}", soft_wrap=True)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder that stackfuse fit wrote (--out).")],
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the whole report in a browser.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Show the leaderboard of a fit, and say where its report is."""
    from stackfuse._cli import report as _report

    found = _report.Left.by_fit(folder)
    if as_json:
        _print_json(found.as_dict())
    else:
        found.show(_console())
    if open_page:
        found.open()


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="An exported file, or the folder of a SavedModel.")],
    picture: Annotated[
        Path | None, typer.Option(help="Draw its structure to this .svg file too.")
    ] = None,
    run: Annotated[
        bool,
        typer.Option(help="Run a SavedModel too. It may write files: only if you trust it."),
    ] = False,
    as_json: _Json = False,
) -> None:
    """Show what an exported file is, and check it on the rows that it carries.

    Its digests are checked first; they find accidents, and no intent, for whoever writes a file
    can write digests that agree. Then the file is run on the rows that it carries: a .keras file in
    safe mode, a SavedModel with --run only.
    """
    from stackfuse._cli import inspect as _inspect

    if picture is not None and picture.suffix.lower() != ".svg":
        raise ValueError(f"--picture must end in .svg, got {picture}.")
    seen = _inspect.Inspected.of(file, run=run)
    if as_json:
        _print_json(seen.as_dict())
    else:
        seen.show(_console())
    if picture is not None:
        seen.draw(picture)
    raise typer.Exit(int(not seen.is_right))


@app.command()
def fuse(
    models: Annotated[list[Path], typer.Argument(help="Two or more .keras or .h5 files.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .keras file to write.")],
    how: Annotated[
        str, typer.Option(help="average, median, vote, multiply, concat, ...: see sf.fuse.")
    ] = "average",
    kinds: Annotated[
        str | None,
        typer.Option(
            help="The meaning of outputs that do not tell it: probability, logits, regression or "
            "features; one word, or one for each model between commas."
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="The layer that is joined, by its name: probabilities, for a stack."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Join trained Keras models into one file, which needs Keras alone."""
    with _quiet_start():
        from stackfuse._cli import fuse as _fuse

    shapes = _fuse.fuse_files(models, how, out, kinds, layer)
    if as_json:
        _print_json({"model": str(out), "models": len(models), "how": how, "inputs": shapes})
        return
    taken = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    sentence = f"{out}: {len(models)} models joined by {how!r}; it takes {taken}."
    _console().print(sentence, soft_wrap=True, markup=False, highlight=False)


def _seconds(text: str) -> float:
    """Return a time such as ``90s``, ``10m`` or ``2h`` in seconds.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    if found is None or float(found[1]) == 0:
        raise ValueError(f"--time must be written like 90s, 10m or 2h, got {text!r}.")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault(_LEVEL, _QUIET)  # before TensorFlow is imported
    try:
        app(args=given, prog_name="stackfuse")
    except SystemExit as ended:  # typer ends so, also where it has told a mistake
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except (OSError, TypeError, ValueError, RuntimeError, ImportError) as error:
        if "--debug" in given:
            raise
        name = next((word for word in given if not word.startswith("-")), "")
        sentence = messages.printable(" ".join(str(error).split()))
        sys.stderr.write(f"stackfuse {name}: {sentence}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
