"""Fragments for notebooks: a few lines and tables, without a page around them."""

from collections.abc import Sequence
from typing import Any

from stackfuse._display.page.content import THE_STACK, Content
from stackfuse._display.page.elements import Html, element, joined, table
from stackfuse._display.page.sections import leaderboard_table

#: The style of a fragment; it leaves everything outside of it alone.
_STYLE = Html(
    ".stackfuse-shown table{border-collapse:collapse;margin:.5em 0}"
    ".stackfuse-shown caption{text-align:left;opacity:.85;padding:.2em .6em}"
    ".stackfuse-shown th,.stackfuse-shown td{padding:.2em .6em;text-align:left}"
    ".stackfuse-shown .number{text-align:right;font-variant-numeric:tabular-nums}"
    ".stackfuse-shown .marked>*{font-weight:bold}"
    ".stackfuse-shown .box{overflow-x:auto}"
)


def fragment(
    lines: Sequence[str], *tables: tuple[str, Sequence[str], Sequence[Sequence[Any]]]
) -> str:
    """Return lines of text, the first one bold, and tables.

    Parameters
    ----------
    lines : sequence of str
    *tables : tuple of (str, sequence of str, sequence of sequence)
        Caption, heads of the columns and rows of cells; that of the stack stands out.

    Returns
    -------
    html : str
        Everything in it is escaped.
    """
    first, *others = lines
    shown = [table(*one, marked=THE_STACK) for one in tables]
    return element(
        "div",
        element("style", _STYLE),
        element("p", element("strong", first)),
        joined(*shown),
        [element("p", line) for line in others],
        class_="stackfuse-shown",
    )


def report_fragment(content: Content) -> str:
    """Return the verdict and the leaderboard of a report."""
    better = "higher" if content.greater_is_better else "lower"
    notes = [
        f"Means over {content.n_folds} folds with standard errors; {better} is better.",
        "report.to_html(path) writes the whole report as a page.",
    ]
    return fragment([content.verdict, *notes], leaderboard_table(content))
