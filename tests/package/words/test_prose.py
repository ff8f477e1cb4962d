"""Our English keeps the rules, and each rule finds its breach."""

import ast

import pytest

from tests.package.words import prose


def test_pages_docstrings_comments_and_messages_keep_the_rules():
    assert prose.all_breaches() == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A line.\n\nReturn the digest of what was\nread.", 3),
        ("It is that which was read.", 1),
        ("The fold, one of which is empty.", 1),
        ("What means nothing is refused: shapes.", 1),
        ("A fold is a pair. What a fold\nneeds: rows.", 1),
        ("Of the hidden layers.", 1),
        ("- a point\n- " + "word " * 36, 2),
    ],
)
def test_each_rule_finds_its_breach(text, line):
    assert [number for number, _ in prose.breaches(text)] == [line]


@pytest.mark.parametrize(
    "text",
    [
        "the root of the mean of the squares of errors",
        "'a' is no path: pass one.",
        "It is none of these.",
        "What is missing raises.",
        "word " * 26,
    ],
)
def test_messages_have_further_rules(text):
    assert len(list(prose.breaches(text, is_message=True))) == 1


def test_questions_and_missing_files_are_no_breach():
    text = "There is no file: what does it say? What does it say? It is no longer there."
    assert list(prose.breaches(text, is_message=True)) == []


def test_messages_are_found_wherever_they_stand():
    code = '''
"""The docstring of a module."""
REASONS = {"a name": "one reason of a table"}
def complain(path, names):
    """The docstring of a function."""
    raise ValueError(
        f"{path} has {len(names)} names, "
        f"{'as was said above here' if names else 'or none'}: pass one."
    )
'''
    assert list(prose.messages(ast.parse(code))) == [
        (3, "one reason of a table"),
        (7, "X has X names, X: pass one."),
        (8, "as was said above here"),
    ]


def test_code_and_tables_are_no_sentences():
    code = "```python\nx = 'of what was'\n```\n| of what | it is |\n\n>>> of what()\n"
    assert list(prose.breaches(code + 'Write ``of what`` or (of what) or "of what".')) == []
