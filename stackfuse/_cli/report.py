"""Show what ``stackfuse fit`` has left in its folder: the leaderboard, and where the page is."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stackfuse._cli.table_files import json_rows
from stackfuse._core import messages

#: The files that ``fit`` writes and this command reads.
_FILES = ("leaderboard.csv", "report.txt", "report.html")


@dataclass(frozen=True)
class Left:
    """The results of a fit in its folder.

    Attributes
    ----------
    verdict : str
    scores : DataFrame
        As of ``report.to_frame()``.
    greater_is_better : bool
    page : Path
    """

    verdict: str
    scores: pd.DataFrame
    greater_is_better: bool
    page: Path

    @classmethod
    def by_fit(cls, folder: Path) -> "Left":
        """Read the folder that ``stackfuse fit --out`` was given.

        Raises
        ------
        FileNotFoundError
            If the folder is not there, or holds no report.
        ValueError
            If a file in it is damaged.
        """
        board, words, page = (folder / name for name in _FILES)
        for place in (folder, board, words, page):
            if not (place.is_dir() if place == folder else place.is_file()):
                raise FileNotFoundError(
                    f"There is no {place}: pass the folder that stackfuse fit --out has written."
                )
        text = words.read_text(encoding="utf-8")
        try:
            scores = pd.read_csv(board, index_col=0).astype(float)
            if scores.shape[1] < 3:
                raise ValueError("it lacks columns")
        except ValueError as damage:
            raise ValueError(f"{board} is damaged ({damage}): run stackfuse fit again.") from damage
        better = "; lower is better" not in text
        return cls(text.partition("\n")[0], scores, better, page.resolve())

    def show(self, console: Console) -> None:
        """Print the verdict and the leaderboard, and say where the page is."""
        console.print(escape(self.verdict), soft_wrap=True)
        console.print(leaderboard(self.scores, greater_is_better=self.greater_is_better))
        console.print(f"The whole report: {escape(str(self.page))}", soft_wrap=True)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        columns = list(self.scores.columns)
        rows = [dict(zip(columns, row)) for row in json_rows(self.scores)]
        return {
            "verdict": self.verdict,
            "metric": str(self.scores.columns[0]),
            "greater is better": self.greater_is_better,
            "models": dict(zip(self.scores.index, rows)),
            "page": str(self.page),
        }

    def open(self) -> None:
        """Open the page in a browser; ValueError if none can be started."""
        if not webbrowser.open(self.page.as_uri()):
            raise ValueError(f"No browser could be started. Open {self.page} yourself.")


def leaderboard(scores: pd.DataFrame, *, greater_is_better: bool) -> Table:
    """Return a table of the bases and the stack, the best first.

    Parameters
    ----------
    scores : DataFrame
        As of ``report.to_frame()``: score, its standard error and weight come first.
    greater_is_better : bool
    """
    score, error, weight = scores.columns[:3]
    better = "higher" if greater_is_better else "lower"
    write = messages.score_writer(scores[score])
    shown = Table("model", f"{score} ({better} is better)", "weight", title="Leaderboard")
    for name, row in scores.sort_values(score, ascending=not greater_is_better).iterrows():
        own = name == "(stack)"
        spread = "" if np.isnan(row[error]) else f" ± {write(row[error])}"
        parts = ("stack" if own else escape(str(name)), f"{write(row[score])}{spread}")
        given = "" if np.isnan(row[weight]) else f"{row[weight]:.2f}"
        shown.add_row(*parts, given, style="bold" if own else None)
    return shown
