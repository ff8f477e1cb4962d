"""The command ``stackfuse``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="stackfuse", description="Stack Keras and scikit-learn models into one Keras graph."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="train, search, export and verify a stack on data that scikit-learn ships"
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        help="folder for the exported file (default: %(default)s)",
    )
    inspect = commands.add_parser(
        "inspect",
        help="show what an exported file is, and check it on the rows that it carries",
        description=(
            "Show what an exported file is. Its digests are checked first; they find accidents, "
            "and no intent, for whoever writes a file can write digests that agree. Then the file "
            "is run on the rows that it carries: a .keras file in safe mode, a SavedModel with "
            "--run only."
        ),
    )
    inspect.add_argument("file", type=Path, help="an exported file, or the folder of a SavedModel")
    inspect.add_argument("--picture", type=Path, help="draw its structure to this .svg file too")
    inspect.add_argument(
        "--run",
        action="store_true",
        help="run a SavedModel too, which may hold operations that write files: if you trust it",
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

    if options.command == "inspect":
        return _inspect_file(options.file, options.picture, options.run)
    from stackfuse._cli import demo as _demo

    return _demo.run(options.output)


def _inspect_file(file: Path, picture: Path | None, run: bool) -> int:
    from rich.console import Console

    from stackfuse._cli import inspect as _inspect

    try:
        return _inspect.inspect(file, Console(), picture=picture, run=run)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        sys.stderr.write(f"stackfuse inspect: {error}\n")
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
