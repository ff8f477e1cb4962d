"""HTML elements, tables and numbers as text; everything is escaped here, in one place."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from stackfuse._core import messages

#: Elements without content, which HTML does not close.
_VOID = {"meta", "br", "col"}

#: Numbers are written out from the first of these up to the second; others with a power of ten.
_LEAST, _MOST = 1e-4, 1e7

#: The most letters of a name that fit two lines of a table's first column.
_LONG = 32


class Html(str):
    """Text that is HTML already: all other text is escaped on its way into an element."""

    __slots__ = ()


def joined(*parts: Any) -> Html:
    """Return parts one after another; strings are escaped, None is left out, lists are opened.

    Examples
    --------
    >>> joined("a < b", Html("<br>"), [1, None])
    'a &lt; b<br>1'
    """
    texts = []
    for part in parts:
        if part is None:
            continue
        if isinstance(part, list | tuple):
            texts.append(joined(*part))
        else:
            texts.append(
                part if isinstance(part, Html) else escape(messages.printable(part), quote=False)
            )
    return Html("".join(texts))


def element(tag: str, /, *children: Any, **attributes: Any) -> Html:
    """Return an element; ``class_`` stands for ``class``, other underscores for hyphens.

    Examples
    --------
    >>> element("p", "a & b", class_="note", aria_label='"x"', hidden=None)
    '<p class="note" aria-label="&quot;x&quot;">a &amp; b</p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(messages.printable(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{joined(*children)}</{tag}>")


@dataclass(frozen=True)
class Number:
    """A number in a cell: as it is shown, and as it is sorted by; NaN shows as an empty cell."""

    value: float
    shown: str


def numbers_like(values: Iterable[float], errors: Iterable[float] = ()) -> Callable[[Any], str]:
    """Return a function that writes numbers with the digits that these are worth.

    Parameters
    ----------
    values : iterable of float
    errors : iterable of float, default=()
        Their standard errors, of which two digits are shown.

    Returns
    -------
    write : callable
        From a number to text; the empty text for NaN.

    Examples
    --------
    >>> numbers_like([0.5, 0.25], [0.01, 0.02])(-0.5)
    '\u22120.500'
    >>> numbers_like([52000.0])(48123.4)
    '48,123'
    """
    values = [float(value) for value in values]
    sizes = [abs(e) for e in errors if np.isfinite(e) and e != 0]
    if sizes:
        digits = 1 - int(np.floor(np.log10(np.median(sizes))))
    else:
        sizes = [abs(v) for v in values if np.isfinite(v) and v != 0]
        digits = 3 - int(np.floor(np.log10(max(sizes)))) if sizes else 0
    largest = max((abs(v) for v in values if np.isfinite(v)), default=0.0)
    enough = max(4, 1 - int(np.floor(np.log10(largest)))) if largest > 0 else 4
    digits = min(max(digits, 0), enough)

    def write(value: float) -> str:
        if not np.isfinite(value):
            return "" if np.isnan(value) else f"{value:+}"
        if not _LEAST <= largest < _MOST and largest > 0:
            return with_exponent(value)
        rounded = round(float(value), digits) + 0.0  # no negative zero
        return f"{rounded:,.{digits}f}".replace("-", "\N{MINUS SIGN}")

    return write


def with_exponent(value: float, *, round_one: bool = False) -> str:
    """Return a number with four digits, a round one with fewer, and a power of ten.

    Examples
    --------
    >>> with_exponent(3297000000.0), with_exponent(0.00002, round_one=True)
    ('3.297e9', '2e\u22125')
    """
    if value == 0:
        return "0"
    digits, exponent = f"{value:.3e}".split("e")
    if round_one:
        digits = digits.rstrip("0").rstrip(".")
    return f"{digits}e{int(exponent)}".replace("-", "\N{MINUS SIGN}")


def column_of(values: Iterable[float], errors: Iterable[float] = ()) -> list[Number]:
    """Return the cells of one column, all with the same digits."""
    values = [float(value) for value in values]
    write = numbers_like(values, errors)
    return [Number(value, write(value)) for value in values]


def _cell(value: Any, *, head: bool) -> Html:
    kind = "th" if head else "td"
    scope = "row" if head else None
    if isinstance(value, Number):
        sorted_by = "" if np.isnan(value.value) else repr(value.value)
        return element(kind, value.shown, scope=scope, class_="number", data_value=sorted_by)
    if not head:
        return element(kind, value)
    long = "long" if len(str(value)) > _LONG else None
    return element(kind, breakable(value), scope=scope, class_=long)


def breakable(name: str) -> Html:
    """Return a name that may go on in the next line after each underscore.

    Examples
    --------
    >>> breakable("two_words")
    'two_<wbr>words'
    """
    first, *others = str(name).split("_")
    return joined(first, [joined("_", Html("<wbr>"), part) for part in others])


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[Any]], *, marked: str | None = None
) -> Html:
    """Return a table in a box that scrolls by itself where the page is narrow.

    Parameters
    ----------
    caption : str
    head : sequence of str
        The names of the columns; the first cell of each row is its head.
    rows : sequence of sequence
        Cells: text or :class:`Number`.
    marked : str, default=None
        The head of the row that stands out.
    """
    body = []
    for first, *others in rows:
        cells = [_cell(first, head=True), *(_cell(value, head=False) for value in others)]
        mark = "marked" if marked is not None and first == marked else None
        body.append(element("tr", cells, class_=mark))
    numeric = [all(isinstance(row[k], Number) for row in rows) for k in range(len(head))]
    heads = [
        element("th", breakable(name), scope="col", class_="number" if of_numbers else None)
        for name, of_numbers in zip(head, numeric)
    ]
    whole = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", heads)),
        element("tbody", body),
        class_="sortable" if len(rows) > 1 else None,
    )
    return in_box(whole, caption)


def in_box(content: Html, label: str) -> Html:
    """Return content in a box that scrolls sideways, also by keyboard."""
    return element("div", content, class_="box", role="region", aria_label=label, tabindex="0")
