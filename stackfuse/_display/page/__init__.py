"""A report as one file of HTML: no network, no framework, readable by everybody."""

import base64
import hashlib
from importlib.resources import files

from stackfuse import __version__
from stackfuse._display.page.content import Content, Facts
from stackfuse._display.page.elements import Html, element
from stackfuse._display.page.fragments import fragment, report_fragment
from stackfuse._display.page.sections import SECTIONS, tiles

__all__ = ["Content", "Facts", "fragment", "report_fragment", "whole_page"]


def whole_page(content: Content, written: str) -> str:
    """Return the page; the same for the same content but for the time.

    Parameters
    ----------
    content : Content
    written : str
        The time, in ISO 8601.
    """
    shown = [(place, title, make(content)) for place, title, make in SECTIONS]
    shown = [(place, title, body) for place, title, body in shown if body is not None]
    links = [element("li", element("a", title, href=f"#{place}")) for place, title, _ in shown]
    sections = [
        element(
            "section",
            element("h2", title, id=f"{place}-title"),
            body,
            id=place,
            aria_labelledby=f"{place}-title",
        )
        for place, title, body in shown
    ]
    body = element(
        "body",
        element("a", "Skip to the report", href="#main", class_="skip"),
        element(
            "header",
            element("h1", content.title),
            element("p", content.verdict, class_=f"verdict {content.outlook}"),
            tiles(content),
        ),
        element("nav", element("ul", links), aria_label="Sections"),
        element("main", sections, id="main"),
        element(
            "footer",
            element(
                "p",
                "Written ",
                element("time", written, datetime=written),
                f" by stackfuse {__version__}.",
            ),
            element("div", id="sorted", role="status"),
        ),
        element("script", Html(_asset("sort.js"))),
    )
    return f"<!doctype html>\n{element('html', _head(content.title), body, lang='en')}\n"


def _head(title: str) -> Html:
    """Return the head; its policy lets the page load nothing and run its one script only."""
    digest = base64.b64encode(hashlib.sha256(_asset("sort.js").encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Html(_asset("page.css"))),
    )


def _asset(name: str) -> str:
    return files("stackfuse._display.page").joinpath(name).read_text(encoding="utf-8")
