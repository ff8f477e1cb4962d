"""The share of public names whose types are known; ``make check`` fails below 95 %.

Run it by ``python -m tests.package.words.typed``.

Pyright counts a name as unknown if one of its types is. scikit-learn, Keras, pandas and others ship
no types, and pyright does not look into such packages here: every class that inherits from theirs
would be unknown. It sees them with a ``py.typed`` beside links to their files, and ignores what is
unknown inside.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
UNTYPED = ("h5py", "joblib", "keras", "pandas", "scipy", "sklearn", "tensorflow")
LEAST = 0.95


def link(package: str, folder: Path) -> None:
    """Make a package of links to another package's files, with a ``py.typed``."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    (folder / package).mkdir()
    (folder / package / "py.typed").touch()
    for path in Path(found.origin).parent.iterdir():
        if path.name != "py.typed":
            (folder / package / path.name).symlink_to(path)


def main() -> int:
    """Print what pyright finds; return whether it is too little."""
    with tempfile.TemporaryDirectory() as folder:
        for package in UNTYPED:
            link(package, Path(folder))
        options = ["--outputjson", "--verifytypes", "stackfuse", "--ignoreexternal"]
        process = subprocess.run(
            [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
            stdout=subprocess.PIPE,
            text=True,
        )
    found = json.loads(process.stdout)["typeCompleteness"]
    symbols = [symbol for symbol in found["symbols"] if not symbol["isTypeKnown"]]
    score = found["completenessScore"]
    if score < LEAST:
        for symbol in symbols:
            for told in symbol["diagnostics"]:
                sys.stdout.write(f"{symbol['name']}: {told['message']}\n")
    sys.stdout.write(f"Types of {score:.1%} of the public names are known.\n")
    return int(score < LEAST)


if __name__ == "__main__":
    sys.exit(main())
