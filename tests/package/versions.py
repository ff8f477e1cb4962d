"""The versions that pyproject.toml allows, for ``make compat``.

``python -m tests.package.versions`` prints the versions that are installed, and with ``--lowest``
the lowest ones that are allowed, as constraints for pip.
"""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[2]


def requirements() -> list[str]:
    """Return every requirement of the package and of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [*project["dependencies"], *(each for extra in extras for each in extra)]


def lower_bounds() -> dict[str, str]:
    """Return the lowest allowed version of each package."""
    pattern = re.compile(r"([\w-]+)(?:\[[\w,]+\])?>=([\w.]+)")
    found = map(pattern.match, requirements())
    return {match[1]: match[2] for match in found if match}


def installed(package: str) -> str:
    """Return the version of a package that is installed, or a dash."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"


def main() -> None:
    """Print constraints, or what is installed."""
    for package, lowest in sorted(lower_bounds().items()):
        pin = (
            f"{package}=={lowest}" if "--lowest" in sys.argv else f"{package} {installed(package)}"
        )
        sys.stdout.write(f"{pin}\n")


if __name__ == "__main__":
    main()
