"""Each line of the page of bad input raises the sentence that stands beside it."""

import pytest

from tests.support.bad_input import Line, error_of, names_before, read_lines

LINES = read_lines()


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("before"))
        return names_before()


def test_the_page_has_lines_of_all_kinds():
    assert len({line.typed for line in LINES}) == len(LINES) > 250


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.typed)
def test_what_a_line_raises(line, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = error_of(line.typed, names)
    assert Line.of(line.typed, error) == line
    assert isinstance(error, ValueError | TypeError | OSError | LookupError)
