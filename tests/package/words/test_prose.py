"""Our English keeps the rules, and each rule finds what it is for."""

import pytest

from tests.package.words import prose


def test_pages_docstrings_and_comments_keep_the_rules():
    assert prose.all_breaches() == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A line.\n\nReturn the digest of what was\nread.", 3),
        ("It is that which was read.", 1),
        ("The fold, one of which is empty.", 1),
        ("What means nothing is refused: shapes.", 1),
        ("Of the hidden layers.", 1),
        ("- a point\n- " + "word " * 36, 2),
    ],
)
def test_each_rule_finds_its_breach(text, line):
    assert [number for number, _ in prose.breaches(text)] == [line]


def test_code_and_tables_are_no_sentences():
    code = "```python\nx = 'of what was'\n```\n| of what | it is |\n\n>>> of what()\n"
    assert list(prose.breaches(code + 'Write ``of what`` or (of what) or "of what".')) == []
