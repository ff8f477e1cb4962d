"""Print the lowest versions that pyproject.toml allows, as constraints for pip.

``python -m tests.package.lowest > constraints.txt``
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def requirements(project: dict) -> list[str]:
    """Return every requirement of a project and its extras."""
    extras = project["optional-dependencies"].values()
    return [*project["dependencies"], *(name for extra in extras for name in extra)]


def lowest(requirement: str) -> str | None:
    """Return a requirement pinned to its lower bound, None for the project's own extras."""
    found = re.match(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)", requirement)
    return found and f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = {pin for pin in map(lowest, requirements(project)) if pin}
    sys.stdout.write("\n".join(sorted(pins)) + "\n")
