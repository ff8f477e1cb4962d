"""The command ``stackfuse``."""

import argparse
import os
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
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

    from stackfuse import _demo

    return _demo.run(options.output)


if __name__ == "__main__":
    raise SystemExit(main())
