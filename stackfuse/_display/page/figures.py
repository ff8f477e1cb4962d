"""Pictures of a page as SVG: drawn for the width of a phone, coloured by the page's style."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stackfuse._core import messages
from stackfuse._display.page.elements import (
    Html,
    element,
    joined,
    numbers_like,
    with_exponent,
)

#: Units of a picture's width, which are pixels on a phone, and its margins.
WIDTH, LEFT, RIGHT = 360, 10, 350

#: Letters of a name that fit beside its number, and the height of a row.
_LETTERS, _ROW = 36, 44

#: The most letters of a number below an axis.
_LETTERS_OF_TICKS = 9


@dataclass(frozen=True)
class Mark:
    """One row of a picture: a value with an error, and whether it stands out."""

    name: str
    value: float
    error: float = np.nan
    marked: bool = False


def ticks(low: float, high: float, n_wanted: int = 4) -> list[float]:
    """Return round numbers between two numbers.

    Examples
    --------
    >>> ticks(0.13, 0.87)
    [0.2, 0.4, 0.6, 0.8]
    """
    rough = (high - low) / max(n_wanted, 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    count = int(np.floor(high / step + 1e-9) - first) + 1
    digits = 2 - int(np.floor(np.log10(step)))
    return [float(round((first + k) * step, digits)) for k in range(max(count, 0))]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return element(
        "line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=kind
    )


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> Html:
    return element("text", words, x=f"{x:.1f}", y=f"{y:.1f}", class_=kind, text_anchor=anchor)


def _svg(height: float, alt: str, *parts) -> Html:
    """Return the picture with its text for those who do not see it."""
    drawn = element("g", *parts, aria_hidden="true")
    return element("svg", drawn, viewBox=f"0 0 {WIDTH} {height:.0f}", role="img", aria_label=alt)


class _Scale:
    """Places of values on the picture's width."""

    def __init__(self, low: float, high: float):
        if not high > low:
            low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
        self.low, self.high = low, high

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0)

    def axis(self, top: float, bottom: float) -> list[Html]:
        """Return the lines of the ticks, and their numbers below."""
        places = ticks(self.low, self.high)
        write = _tick_writer(places)
        lines = [_line(self.at(t), top, self.at(t), bottom, "grid") for t in places]
        return lines + [_tick(self.at(t), bottom + 16, write(t)) for t in places]


def _tick(x: float, y: float, words: str) -> Html:
    near = "start" if x < LEFT + 14 else "end" if x > RIGHT - 14 else "middle"
    return _text(x, y, words, "tick", near)


def _tick_writer(places: Sequence[float]):
    step = places[1] - places[0] if len(places) > 1 else 1.0
    largest = max(map(abs, places), default=0.0)
    four_digits_differ = largest < 1e3 * step
    if four_digits_differ and (step < 1e-5 or largest >= 1e7):
        return lambda value: with_exponent(value, round_one=True)
    digits = next((d for d in range(13) if abs(round(step, d) - step) < 1e-9 * step), 12)
    return lambda value: f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _labels(places: Sequence[float]) -> tuple[list[str], str]:
    """Return the labels of ticks, and what was taken from long ones, for the title of the axis.

    Examples
    --------
    >>> _labels([1e9 + 50, 1e9 + 100])
    (['0', '50'], ' \u2212 1,000,000,050')
    """
    write = _tick_writer(places)
    labels = [write(value) for value in places]
    if max(map(len, labels), default=0) <= _LETTERS_OF_TICKS:
        return labels, ""
    start = places[0]
    sign = "+" if start < 0 else "\N{MINUS SIGN}"
    return _labels([value - start for value in places])[0], f" {sign} {abs(start):,.12g}"


def dots(marks: Sequence[Mark], alt: str, *, zero: bool = False) -> Html:
    """Draw values as dots with lines of two standard errors to both sides, one in each row.

    Parameters
    ----------
    marks : sequence of Mark
    alt : str
        A description of the picture, in words.
    zero : bool, default=False
        Whether a line marks zero, which is then in the picture.
    """
    known = [mark for mark in marks if np.isfinite(mark.value)]
    reach = [2 * mark.error if np.isfinite(mark.error) else 0.0 for mark in known]
    ends = [m.value - r for m, r in zip(known, reach)] + [m.value + r for m, r in zip(known, reach)]
    ends += [0.0] if zero else []
    pad = 0.04 * (max(ends) - min(ends))
    scale = _Scale(min(ends) - pad, max(ends) + pad)
    write = numbers_like([m.value for m in known], [m.error for m in known])
    bottom = _ROW * len(marks) + 4
    parts = scale.axis(4, bottom)
    if zero:
        parts.append(_line(scale.at(0), 4, scale.at(0), bottom, "zero"))
    for k, mark in enumerate(marks):
        y = _ROW * k
        kind = "own" if mark.marked else "base"
        parts += _named(mark, y, write(mark.value) or "unknown")
        if not np.isfinite(mark.value):
            continue
        x, middle = scale.at(mark.value), y + 28
        if np.isfinite(mark.error):
            left, right = (scale.at(mark.value + s * 2 * mark.error) for s in (-1, 1))
            parts.append(_line(left, middle, right, middle, f"whisker {kind}"))
        parts.append(
            element("circle", cx=f"{x:.1f}", cy=f"{middle}", r="5.5", class_=f"dot {kind}")
        )
    return _svg(bottom + 24, alt, *parts)


def bars(marks: Sequence[Mark], alt: str) -> Html:
    """Draw values as bars that begin at zero, one in each row."""
    values = [mark.value for mark in marks if np.isfinite(mark.value)]
    scale = _Scale(min(0.0, *values), max(0.0, *values))
    write = numbers_like(values, [0.01])
    parts = []
    for k, mark in enumerate(marks):
        y = _ROW * k
        parts += _named(mark, y, write(mark.value) or "unknown")
        parts.append(_bar(LEFT, RIGHT, y + 23, "track"))
        if np.isfinite(mark.value):
            left, right = sorted((scale.at(0.0), scale.at(mark.value)))
            parts.append(_bar(left, right, y + 23, "bar"))
    return _svg(_ROW * len(marks) + 4, alt, *parts)


def _bar(left: float, right: float, y: float, kind: str) -> Html:
    size = {"x": f"{left:.1f}", "y": f"{y}", "width": f"{right - left:.1f}", "height": "10"}
    return element("rect", **size, rx="3", class_=kind)


def _named(mark: Mark, y: float, number: str) -> list[Html]:
    """Return the line above a mark: its name, and its number at the right end."""
    kind = "name own" if mark.marked else "name"
    return [
        _text(LEFT, y + 17, messages.shortened(mark.name, _LETTERS), kind),
        _text(RIGHT, y + 17, number, f"{kind} value", "end"),
    ]


def curves(
    lines: dict[str, tuple[np.ndarray, np.ndarray]],
    marked: str | None,
    alt: str,
    titles: tuple[str, str],
    *,
    chances: bool = False,
) -> Html:
    """Draw lines over a square whose diagonal is what a perfect model would show.

    Parameters
    ----------
    lines : dict of str to (ndarray, ndarray)
        The x and y of each line's points, by name.
    marked : str or None
        The name of the line that stands out; it is drawn last.
    alt : str
    titles : tuple of str
        The titles of the two axes.
    chances : bool, default=False
        Whether the axes reach from 0 to 1, as those of probabilities.
    """
    points = np.concatenate([np.concatenate(line) for line in lines.values()])
    low, high = (0.0, 1.0) if chances else (float(points.min()), float(points.max()))
    if not high > low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    at = ticks(low, high)
    labels, beyond = _labels(at)
    left, top, right = max(46.0, 12 + 6.7 * max(map(len, labels), default=0)), 22.0, 350.0
    bottom = top + right - left
    share = (right - left) / (high - low)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x - low) * share, bottom - (y - low) * share

    parts: list[Html] = []
    for tick, label in zip(at, labels):
        x, y = place(tick, tick)
        parts += [_line(x, top, x, bottom, "grid"), _line(left, y, right, y, "grid")]
        parts += [_tick(x, bottom + 16, label), _text(left - 6, y + 4, label, "tick", "end")]
    parts.append(_line(left, bottom, right, top, "diagonal"))
    for name, (xs, ys) in sorted(lines.items(), key=lambda item: item[0] == marked):
        kind = "own" if name == marked else "base"
        places = [place(x, y) for x, y in zip(xs, ys)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(element("polyline", points=path, class_=f"curve {kind}"))
        if name == marked:
            parts += [
                element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3.5", class_="dot own")
                for x, y in places
            ]
    parts += [
        _text(left, 14, titles[1] + beyond, "tick"),
        _text(right, bottom + 34, titles[0] + beyond, "tick", "end"),
    ]
    return _svg(bottom + 40, alt, *parts)


def legend(entries: dict[str, str]) -> Html:
    """Return the legend of a picture, by the kinds of line."""
    keys = [
        element("li", element("span", class_=f"key {kind}", aria_hidden="true"), words)
        for kind, words in entries.items()
    ]
    return element("ul", keys, class_="legend")


def figure(picture: Html, caption: str, *more: Html) -> Html:
    """Return a picture with its caption."""
    return element("figure", picture, joined(*more), element("figcaption", caption))
