"""Rules for our English, in pages, docstrings and comments; ``make check`` prints what breaks them.

Run it by ``python -m tests.package.words.prose``.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = ("*.md", "docs/*.md", "docs/**/*.md", "benchmarks/**/*.md")

#: A sentence with more words is split.
LONGEST = 35

#: What is hard to read, and what to do about it.
RULES = {
    r"\b(of|by|in|for|from|with|on|at) what\b": "name the thing",
    r"\bthat which\b|\bthose which\b": "name the thing",
    r"\b(that|those|one) (of|by|in|for|from|with|to|on) which\b": "make two sentences",
    r"\bWhat (\w+ ){0,5}is refused\b": "say what raises an error",
    r"^Of (?!course\b)": "begin with the subject",
}


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number of the first line and the words of each paragraph; code is left out."""
    text = re.sub(r"```.*?```|<!--.*?-->", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)
    start, words, depth = 1, [], 0
    for number, line in enumerate([*text.split("\n"), ""], 1):
        indent = len(line) - len(line.lstrip())
        ends = not line.strip() or line.lstrip().startswith(
            ("- ", "* ", "|", "#", ">>>", "...", "1.")
        )
        if words and (ends or indent != depth):
            yield start, " ".join(words)
            words = []
        if line.strip() and not line.lstrip().startswith(("|", ">>>", "...")):
            if not words:
                start, depth = number, indent
            words.append(line.strip())


def breaches(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the fault of each sentence that breaks a rule."""
    for line, paragraph in paragraphs(text):
        plain = re.sub(r"`+[^`]+`+|\"[^\"]*\"|\([^()]*\)", "X", paragraph)
        plain = re.sub(r"X(, X)+", "X", plain)  # a list of names
        for sentence in re.split(r"(?<=[.!?;:])\s+", plain):
            n_words = len(sentence.split())
            if n_words > LONGEST:
                yield line, f"{n_words} words in a sentence: {sentence[:60]}..."
            for pattern, advice in RULES.items():
                if found := re.search(pattern, sentence):
                    yield line, f"{found[0]!r}, {advice}: {sentence[:90]}"


def texts() -> Iterator[tuple[Path, int, str]]:
    """Yield pages, and the docstrings and comments of the package, with their first lines."""
    for page in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
        yield page, 1, page.read_text()
    for path in sorted((ROOT / "stackfuse").rglob("*.py")):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                if doc := ast.get_docstring(node):
                    yield path, node.body[0].lineno, doc
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield path, token.start[0], token.string.lstrip("#: ")


def all_breaches() -> list[str]:
    """Return every breach, with its file and line."""
    return [
        f"{path.relative_to(ROOT)}:{first + line - 1}: {fault}"
        for path, first, text in texts()
        for line, fault in breaches(text)
    ]


def main() -> int:
    """Print every breach; return whether there are any."""
    found = all_breaches()
    sys.stdout.write("".join(f"{told}\n" for told in found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
