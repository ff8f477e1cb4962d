"""Rules for our English, in pages, docstrings, comments and messages.

``make check`` prints the sentences that break them.

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

#: A sentence with more words is split; messages are read in a hurry.
LONGEST = 35
LONGEST_OF_A_MESSAGE = 25

#: A string of fewer words is a name or a setting, and no message.
FEWEST_OF_A_MESSAGE = 4

#: Patterns that are hard to read, and the advice to the writer.
RULES = {
    r"\b(of|by|in|for|from|with|on|at) what\b": "name the thing",
    r"\bthat which\b|\bthose which\b": "name the thing",
    r"\b(that|those|one) (of|by|in|for|from|with|to|on) which\b": "make two sentences",
    r"^What\b(?!.*\?$)": "begin with a noun",
    r"^Of (?!course\b)": "begin with the subject",
}

#: Further patterns for messages.
RULES_OF_MESSAGES = {
    r"\bof ([^\s,]+ ){1,4}of ([^\s,]+ ){1,4}of\b": "use of once or twice",
    r"(?<![Tt]here )\b(is|are) no (?!longer\b|worse\b)": "write is not a",
    r"\b(is|are) none of\b": "write is not one of",
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


def breaches(text: str, *, is_message: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the line and the fault of each sentence that breaks a rule."""
    longest = LONGEST_OF_A_MESSAGE if is_message else LONGEST
    rules = {**RULES, **RULES_OF_MESSAGES} if is_message else RULES
    for line, paragraph in paragraphs(text):
        plain = re.sub(r"`+[^`]+`+|\"[^\"]*\"|\([^()]*\)", "X", paragraph)
        plain = re.sub(r"X(, X)+", "X", plain)  # a list of names
        for sentence in re.split(r"(?<=[.!?;:])\s+", plain):
            n_words = len(sentence.split())
            if n_words > longest:
                yield line, f"{n_words} words in a sentence: {sentence[:60]}..."
            for pattern, advice in rules.items():
                if found := re.search(pattern, sentence):
                    yield line, f"{found[0]!r}, {advice}: {sentence[:90]}"


def _filled(string: ast.Constant | ast.JoinedStr) -> str:
    """Return the text of a string, with X for each placeholder."""
    parts = string.values if isinstance(string, ast.JoinedStr) else [string]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in parts)


def messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the strings in code that are long enough to say something, with their lines."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str)
        ):
            if len((text := _filled(node)).split()) >= FEWEST_OF_A_MESSAGE:
                yield node.lineno, text.strip(" ;,")
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                yield from messages(part) if isinstance(part, ast.FormattedValue) else ()
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield from messages(node)


def texts() -> Iterator[tuple[Path, int, str, bool]]:
    """Yield pages, and the package's docstrings, comments and messages, with their first lines.

    The last entry says whether the text is a message.
    """
    for page in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
        yield page, 1, page.read_text(), False
    for path in sorted((ROOT / "stackfuse").rglob("*.py")):
        source = path.read_text()
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                if doc := ast.get_docstring(node):
                    yield path, node.body[0].lineno, doc, False
        for line, message in messages(tree):
            yield path, line, message, True
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield path, token.start[0], token.string.lstrip("#: "), False


def all_breaches() -> list[str]:
    """Return every breach, with its file and line."""
    return [
        f"{path.relative_to(ROOT)}:{first + line - 1}: {fault}"
        for path, first, text, is_message in texts()
        for line, fault in breaches(text, is_message=is_message)
    ]


def main() -> int:
    """Print every breach; return whether there are any."""
    found = all_breaches()
    sys.stdout.write("".join(f"{told}\n" for told in found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
