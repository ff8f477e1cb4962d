"""The page of bad input: what each of its lines raises stands beside it, and is tested.

``python -m tests.support.bad_input`` writes down what the lines raise now; read what has changed.
"""

import os
import re
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "tables" / "bad_input.md"

#: A line of the page: what is typed, the class of the error, and its sentence.
_LINE = re.compile(r"^\| `([^`]+)` \| (\w+) \| (`` .* ``) \|$")


@dataclass(frozen=True)
class Line:
    """A line of code, and the error that it raises."""

    typed: str
    error: str
    says: str

    def __str__(self) -> str:
        return f"| `{self.typed}` | {self.error} | `` {self.says} `` |"

    @classmethod
    def of(cls, typed: str, error: Exception | None) -> "Line":
        """Return the line of an error, whose text is shown on one line."""
        if error is None:
            return cls(typed, "nothing", "")
        return cls(typed, type(error).__name__, " ".join(str(error).split()))


def read_lines() -> list[Line]:
    """Return the lines of the page."""
    found = [_LINE.match(line) for line in PAGE.read_text().splitlines()]
    return [Line(m[1], m[2], m[3][3:-3]) for m in found if m is not None]


def names_before() -> dict[str, Any]:
    """Return the names that are there before a line is typed: those of the page's block of code."""
    block = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), names)
    return names


def error_of(typed: str, names: dict[str, Any]) -> Exception | None:
    """Type a line; return the error that it raises, if there is one."""
    try:
        exec(compile(typed, "<typed>", "exec"), dict(names))
    except Exception as error:
        return error
    return None


def _write() -> None:
    """Write down what the lines of the page raise now."""
    lines = read_lines()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        names = names_before()
        now = {str(one): Line.of(one.typed, error_of(one.typed, names)) for one in lines}
    page = [str(now.get(line, line)) for line in PAGE.read_text().splitlines()]
    PAGE.write_text("\n".join(page) + "\n")
    silent = [one.typed for one in now.values() if one.error == "nothing"]
    sys.exit(f"Nothing was raised by {silent}." if silent else 0)


if __name__ == "__main__":
    _write()
