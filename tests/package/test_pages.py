"""The code of the pages runs, and what they name is there."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import stackfuse as sf
from stackfuse._cli.main import app
from tests.package import architecture

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

#: Pages with code that other tests run.
ELSEWHERE = {
    "docs/extend/converter.md": "tests/package/test_shown_package.py",
    "docs/extend/format.md": "tests/package/test_shown_package.py",
    "docs/guides/results/serving.md": "tests/export/serving/page.py",
    "docs/tables/bad_input.md": "tests/support/bad_input.py",
}

#: How a block begins that no test runs; the rest of the line is the reason, for readers too.
NOT_RUN = "# Not run by the tests: "


def pages() -> list[str]:
    """Return the paths of all pages that people read."""
    built = {DOCS / "_build", DOCS / "reference" / "api"}
    found = [p for p in DOCS.rglob("*.md") if not built & {*p.parents}]
    return sorted(
        path.relative_to(ROOT).as_posix()
        for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *found]
    )


def blocks(page: str) -> list[str]:
    """Return the Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


WITH_CODE = [page for page in pages() if blocks(page) and page not in ELSEWHERE]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []

    def printing(*values: Any) -> None:
        promised = OUTPUT.search(lines[sys._getframe(1).f_lineno - 1])
        if promised:
            check_output(promised[1], " ".join(map(str, values)))

    names: dict = {"__name__": "page", "print": printing}
    for block in blocks(page):
        if not block.startswith(NOT_RUN):
            lines[:] = block.splitlines()
            exec(compile(block, page, "exec"), names)


#: A comment behind a call of print that begins with what is printed.
OUTPUT = re.compile(r"print\(.*\)  # (\{.*\}|\[.*\]|\(.*\)|None|[\d.]+(?=$|[,:]| of ))")

NUMBER = re.compile(r"\d+(?:\.(\d*))?")


def check_output(promised: str, shown: str) -> None:
    """Hold numbers to the last digit that a page gives, and all else to the letter."""
    wanted, got = (list(NUMBER.finditer(text)) for text in (promised, shown))
    if not wanted:
        assert promised == shown
    assert len(got) >= len(wanted)
    for number, other in zip(wanted, got):
        unit = 10.0 ** -len(number[1] or "")
        assert abs(float(other[0]) - float(number[0])) <= unit * bool(number[1]), (promised, shown)


def commands_of(page: str) -> list[list[str]]:
    """Return the command lines of stackfuse that stand in blocks."""
    found = re.findall(r"^```(\S*)\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    text = "\n".join(code for language, code in found if language in ("", "sh"))
    return [shlex.split(line)[1:] for line in re.findall(r"^stackfuse .*", text, re.MULTILINE)]


@pytest.mark.parametrize("page", [page for page in pages() if commands_of(page)])
def test_the_commands_of_a_page_have_the_options_that_they_name(page):
    commands = vars(typer.main.get_command(app))["commands"]
    for name, *arguments in commands_of(page):
        given = commands[name].make_context(name, arguments).params
        assert any(value for value in given.values())


@pytest.mark.parametrize("page", pages())
def test_a_block_that_is_not_run_gives_its_reason(page):
    first_lines = [block.splitlines()[0] for block in blocks(page)]
    skipped = [line for line in first_lines if line.lower().startswith("# not run")]
    assert all(line.startswith(NOT_RUN) and len(line) > len(NOT_RUN) + 10 for line in skipped)


@pytest.mark.parametrize("page", ELSEWHERE)
def test_the_test_of_a_page_is_there(page):
    assert Path(page).name in (ROOT / ELSEWHERE[page]).read_text()
    assert blocks(page)


def named_in(page: str, pattern: str) -> set[str]:
    """Return what a page writes as code and a pattern finds in it."""
    code = "\n".join(re.findall(r"`+[^`]+`+", (ROOT / page).read_text()))
    return set(re.findall(pattern, code))


@pytest.mark.parametrize("page", sorted({*pages()} - {"docs/tables/bad_input.md"}))
def test_pages_name_what_is_there(page):
    ours = [p for folder in architecture.FOLDERS for p in (ROOT / folder).rglob("*.py")]
    paths = [f"/{path.relative_to(ROOT).as_posix()}" for path in ours]
    shown = set(re.findall(r"<!-- ([\w/]+\.py) -->", (ROOT / page).read_text()))
    files = named_in(page, r"[\w/]+\.py\b") - shown
    assert {
        name for name in files if not any(path.endswith(f"/{name.strip('/')}") for path in paths)
    } == set()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named_in(page, r"\bmake ([a-z-]+)") <= targets
    assert named_in(page, r"\bsf\.(\w+)") <= set(sf.__all__)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "examples/serving/README.md"])
def test_links_lead_somewhere(page):
    # Sphinx checks those of docs/.
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text())
    here = [link for link in links if not link.startswith("http")]
    assert [link for link in here if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_page_of_the_command_names_every_option():
    page = (DOCS / "reference" / "command.md").read_text()
    for name, command in vars(typer.main.get_command(app))["commands"].items():
        options = {
            option for given in command.params for option in given.opts if option[:2] == "--"
        }
        assert f"`stackfuse {name}" in page
        assert {option for option in options if f"`{option}" not in page} == set(), name


def listed() -> set[str]:
    """Return the names of which the reference has a page."""
    found = set()
    for path in (DOCS / "reference").glob("*.md"):
        for module, names in re.findall(
            r"module:: ([\w.]+)\n\n.. autosummary::\n   :toctree: api\n\n((?:   \w+\n)+)",
            path.read_text(),
        ):
            found |= {f"{module}.{name}" for name in names.split()}
    return found


def test_every_public_name_has_a_page_in_the_reference():
    modules = {"engines", "formats", "models", "testing"}
    wanted = {f"stackfuse.{name}" for name in sf.__all__ if name not in modules}
    for module in modules:
        wanted |= {f"stackfuse.{module}.{name}" for name in getattr(sf, module).__all__}
    assert listed() == wanted
    headings = {path.read_text().split("\n")[0] for path in (DOCS / "reference").glob("*.md")}
    assert {f"# stackfuse.{module}" for module in modules} <= headings
