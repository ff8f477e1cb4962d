"""The page docs/guides/results/serving.md: tests run its code and send its requests."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "serving"

#: A column whose name no graph takes as it is.
REVENUE = "Umsatz/Monat (€)"


def blocks(section: str, language: str) -> list[str]:
    """Return the blocks of one language in a section."""
    text = (ROOT / "docs" / "guides" / "results" / "serving.md").read_text()
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = [part for part in parts if part.startswith(section)]
    return re.findall(rf"```{language}\n(.*?)```", found, flags=re.DOTALL)


def requests(section: str) -> list[tuple[Any, Any]]:
    """Return the requests of a section with the answers that it shows."""
    contents = [json.loads(block) for block in blocks(section, "json5")]
    return list(zip(contents[::2], contents[1::2]))


def ask(address: str, content: Any = None) -> tuple[int, Any]:
    """Return the status and the content of an answer over HTTP; content is posted as JSON."""
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def records(X: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as they are sent, with None for what is missing."""
    return X.astype(object).where(X.notna(), None).to_dict("records")


def outline(content: Any) -> Any:
    """Return JSON without its numbers, which differ from version to version."""
    if isinstance(content, dict):
        return {key: outline(value) for key, value in content.items()}
    if isinstance(content, list):
        return [outline(value) for value in content]
    return type(content) if isinstance(content, int | float) else content
