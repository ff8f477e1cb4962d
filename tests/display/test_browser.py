"""A real browser opens the page of a report: on a phone and a desk, by day and by night."""

import os
import shutil

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = pytest.mark.slow

WIDTHS, SCHEMES = (390, 1280), ("light", "dark")

#: Words that are longer than a phone is wide, and one that is HTML.
NAMES = [f"base_number_{k}_" + "with_a_name_that_goes_on_and_on" * (k % 3) for k in range(11)]
NAMES.append('<b>"bold" & loud</b>')


def classification():
    X, y = load_iris(return_X_y=True, as_frame=True)
    kinds = [GaussianNB(), KNeighborsClassifier(), DecisionTreeClassifier(max_depth=2)]
    bases = [(name, kinds[k % 3]) for k, name in enumerate(NAMES)]
    labels = np.array(["setosa", "versicolor", "Iris virginica, the blue flag of Virginia"])
    stack = sf.StackingClassifier(bases, cv=3, random_state=0).fit(X, labels[y])
    return stack.report(), {"values_of": X}


def regression(diabetes):
    X, y = diabetes
    bases = [("ridge", Ridge()), ("neighbours", KNeighborsRegressor())]
    return sf.StackingRegressor(bases, cv=3).fit(X, y).report(), {}


def labels(iris):
    X, y = iris
    bases = [("forest", RandomForestClassifier(5)), ("logistic", KNeighborsClassifier())]
    stack = sf.StackingClassifier(bases, cv=3, random_state=0)
    return stack.fit(X, np.eye(3, dtype=int)[y]).report(), {}


def decisions(cancer):
    """Return a report without probabilities, weights or warnings."""
    X, y = cancer
    bases = [("logistic", LogisticRegression(max_iter=500)), ("bayes", GaussianNB())]
    stack = sf.StackingClassifier(bases, KNeighborsClassifier(), stack_method="predict", cv=3)
    return stack.fit(X, y).report(), {}


@pytest.fixture(scope="module")
def pages(tmp_path_factory, diabetes, cancer, iris):
    """Return the addresses of pages by what they report of."""
    folder = tmp_path_factory.mktemp("pages")
    reports = {
        "classification": classification(),
        "regression": regression(diabetes),
        "labels": labels(iris),
        "decisions": decisions(cancer),
    }
    for name, (report, options) in reports.items():
        report.to_html(folder / f"{name}.html", **options)
    return {name: (folder / f"{name}.html").as_uri() for name in reports}


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("there is no Chromium here; `apt-get install chromium` would install one")
    # Chromium refuses to sandbox itself for root, as in containers.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = ["--no-sandbox"] if root else []
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, pages):
    """Return a function that opens a page, and fail if the console told errors, or it loads."""
    told, contexts = [], []

    def open_page(name: str, width: int = 1280, scheme: str = "light", **options):
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: told.append(request.url))
        page.goto(pages[name])
        assert told.pop(0) == pages[name]
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert told == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["classification", "regression", "labels", "decisions"])
def test_everybody_can_read_it(opened, tmp_path, name, width, scheme):
    page = opened(name, width, scheme)
    page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)
    assert (tmp_path / f"{name}-{width}-{scheme}.png").stat().st_size > 10_000
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map(head => Number(head.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1
    assert page.locator("svg:not([role=img][aria-label])").count() == 0
    assert page.locator("table:not(:has(caption)), th:not([scope])").count() == 0


def test_light_and_dark_differ(opened):
    colours = [
        opened("regression", scheme=scheme).evaluate(
            "[document.body, document.querySelector('svg .tick')].map("
            "part => [getComputedStyle(part).backgroundColor, getComputedStyle(part).fill])"
        )
        for scheme in SCHEMES
    ]
    assert colours[0] != colours[1]
    assert colours[0][1][1] != colours[1][1][1]  # the pictures too


def test_tables_are_sorted_by_keyboard(opened):
    page = opened("classification")
    table = page.locator("table.sortable").first
    button = table.locator("thead button").nth(1)
    button.focus()
    values = "rows => rows.map(row => Number(row.cells[1].dataset.value))"
    rows = table.locator("tbody tr")
    for key, order, direction in (("Enter", 1, "ascending"), ("Space", -1, "descending")):
        page.keyboard.press(key)
        scores = rows.evaluate_all(values)
        assert len(scores) == 13
        assert scores == sorted(scores, key=lambda score: order * score)
        assert table.locator("th[aria-sort]").get_attribute("aria-sort") == direction
        status = page.locator("[role=status]").text_content()
        assert status == f"Leaderboard by log-loss: sorted by log-loss, {direction}."
    # The stack has no weight, and comes last both ways; names are sorted as words.
    for _ in range(2):
        table.locator("thead button").nth(3).click()
        assert rows.last.locator("th").text_content() == "the stack"
    table.locator("thead button").first.click()
    names = rows.evaluate_all("rows => rows.map(row => row.cells[0].textContent)")
    assert sorted(names) == sorted([*NAMES, "the stack"])
    assert names[-1] == "the stack"


def test_the_keyboard_reaches_everything(opened):
    page = opened("classification", 390)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    boxes = page.locator(".box")
    wide = boxes.evaluate_all("boxes => boxes.filter(b => b.scrollWidth > b.clientWidth).length")
    assert wide > 0
    assert boxes.evaluate_all("boxes => boxes.every(box => box.tabIndex === 0)")


def test_without_javascript_it_is_whole(opened):
    page = opened("classification", java_script_enabled=False)
    assert page.locator("thead button").count() == 0
    assert page.locator("table.sortable").first.locator("tbody tr").count() == 13
