"""Show what ``stackfuse fit`` has left in its folder: the leaderboard, and where the page is."""

import webbrowser
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

#: What ``fit`` writes and this command reads.
_FILES = ("leaderboard.csv", "report.txt", "report.html")


def show(folder: Path, console: Console, *, open_page: bool = False) -> None:
    """Print the verdict and the leaderboard, and say where the page is, or open it.

    Parameters
    ----------
    folder : Path
        What ``stackfuse fit --out`` was given.
    console : rich.console.Console
    open_page : bool, default=False
        Whether the page is opened in a browser.

    Raises
    ------
    FileNotFoundError
        If the folder is not there, or holds no report.
    ValueError
        If a file in it is damaged, or no browser can be started.
    """
    board, words, page = (folder / name for name in _FILES)
    for place in (folder, board, words, page):
        if not place.exists():
            raise FileNotFoundError(
                f"There is no {place}: pass the folder that stackfuse fit --out has written."
            )
    text = words.read_text(encoding="utf-8")
    try:
        table = pd.read_csv(board, index_col=0).astype(float)
        if table.shape[1] < 3:
            raise ValueError("it lacks columns")
    except ValueError as damage:
        raise ValueError(f"{board} is damaged ({damage}): run stackfuse fit again.") from damage
    console.print(escape(text.partition("\n")[0]), soft_wrap=True)
    console.print(leaderboard(table, greater_is_better="; lower is better" not in text))
    console.print(f"The whole report: {escape(str(page.resolve()))}", soft_wrap=True)
    if open_page and not webbrowser.open(page.resolve().as_uri()):
        raise ValueError(f"No browser could be started: open {page.resolve()} yourself.")


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
    shown = Table("model", f"{score} ({better} is better)", "weight", title="Leaderboard")
    for name, row in scores.sort_values(score, ascending=not greater_is_better).iterrows():
        own = name == "(stack)"
        spread = "" if np.isnan(row[error]) else f" ± {row[error]:.4f}"
        parts = ("stack" if own else escape(str(name)), f"{row[score]:.4f}{spread}")
        given = "" if np.isnan(row[weight]) else f"{row[weight]:.2f}"
        shown.add_row(*parts, given, style="bold" if own else None)
    return shown
