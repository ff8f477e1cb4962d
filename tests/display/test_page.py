"""A report as a page: its numbers, what is escaped, and when nothing is written."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import brier_score_loss, mean_absolute_error, root_mean_squared_error
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import stackfuse as sf
from stackfuse._display.page.elements import numbers_like
from stackfuse._display.page.figures import _labels as labels_of_ticks
from stackfuse._display.page.figures import ticks
from stackfuse._display.rowwise import calibration_error
from stackfuse._stacking.report import Estimate

NASTY = "<script>alert(1)</script>&\"'"


@pytest.fixture(scope="module")
def binary(cancer):
    X, y = cancer
    bases = [("bayes", GaussianNB()), (NASTY, KNeighborsClassifier())]
    return sf.StackingClassifier(bases, LogisticRegression(), cv=3).fit(X, y), X, y


def written(report, folder, **options) -> str:
    report.to_html(folder / "report.html", **options)
    return (folder / "report.html").read_text(encoding="utf-8")


def tables_of(folder) -> dict[str, pd.DataFrame]:
    """Return the tables of a page by their captions."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    captions = re.findall(r"<caption>(.*?)</caption>", page)
    rows = [
        [
            [
                re.sub("<.*?>", "", cell).replace("\N{MINUS SIGN}", "-")
                for cell in re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row)
            ]
            for row in re.findall(r"<tr\b[^>]*>(.*?)</tr>", table)
        ]
        for table in re.findall(r"<table.*?</table>", page)
    ]
    return {c: pd.DataFrame(r[1:], columns=pd.Index(r[0])) for c, r in zip(captions, rows)}


def test_the_tables_have_the_numbers(binary, tmp_path):
    stack, _, y = binary
    report = stack.report()
    page = written(report, tmp_path)
    tables = tables_of(tmp_path)
    board = tables["Leaderboard by log-loss"].set_index("model")
    assert float(board.loc["bayes", "log-loss"]) == pytest.approx(
        report.bases[0].score.mean, abs=0.005
    )
    exact = re.findall(r'data-value="([^"]+)"', page)
    assert repr(report.stack.mean) in exact
    said = stack.oof_.predictions[:, 0]
    measured = tables["Calibration of each model"].set_index("model")
    brier = brier_score_loss(y == "malignant", said)
    assert float(measured.loc["bayes", "Brier score"]) == pytest.approx(brier, abs=5e-5)
    alike = tables["Correlation of errors between bases"]
    assert float(alike.iloc[0, 2]) == pytest.approx(report.correlations.iloc[0, 1], abs=0.005)


def test_the_worst_rows_are_those_with_the_greatest_losses(binary, tmp_path):
    stack, X, y = binary
    report = stack.report()
    table = stack.oof_.predictions
    target = (y == "malignant").astype(int)
    losses = np.empty(len(y))
    for train, test in stack.oof_.folds:
        model = LogisticRegression().fit(table[train], target[train])
        chances = model.predict_proba(table[test])
        losses[test] = -np.log(chances[np.arange(len(test)), target[test]])
    wanted = np.argsort(-losses, kind="stable")[:5]
    written(report, tmp_path, n_worst=5)
    shown = tables_of(tmp_path)["Rows with the greatest loss"]
    assert shown["row"].astype(int).tolist() == wanted.tolist()
    assert shown["log-loss"].astype(float).to_numpy() == pytest.approx(losses[wanted], abs=5e-4)
    assert list(shown.columns) == ["row", "log-loss", "bases that are wrong", "fold"]
    assert shown["fold"].astype(int).tolist() == stack.oof_.fold_ids[wanted].tolist()
    written(report, tmp_path, n_worst=5, rows=np.arange(200) + 70)
    elsewhere = tables_of(tmp_path)["Rows with the greatest loss"]
    assert elsewhere["row"].astype(int).tolist() == (wanted + 70).tolist()
    frame = pd.DataFrame(X).rename(columns={0: NASTY})
    page = written(report, tmp_path, n_worst=5, values_of=frame)
    shown = tables_of(tmp_path)["Rows with the greatest loss"]
    assert shown["target"].tolist() == y[wanted].tolist()
    assert shown.shape[1] == 6 + X.shape[1]
    values = shown.iloc[:, 6].astype(float).to_numpy()
    assert values == pytest.approx(X[wanted, 0], abs=5e-4)
    assert "<script>alert" not in page


def test_everything_is_escaped_and_nothing_is_loaded(binary, tmp_path):
    stack, _, _ = binary
    page = written(stack.report(), tmp_path, title=NASTY, warnings=[NASTY])
    assert page.count("<script") == 1
    assert "alert(1)&lt;/script&gt;" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#)|url\(|@import|https?:""", page)
    assert "default-src &#x27;none&#x27;" in page
    assert "<script" not in stack.report()._repr_html_()


def test_equal_reports_are_equal_pages(binary, tmp_path, monkeypatch):
    report = binary[0].report()
    first, second = (written(report, tmp_path) for _ in range(2))
    time = r"<time.*?</time>"
    assert re.sub(time, "", first) == re.sub(time, "", second)
    assert "0x" not in first


def test_regression_and_labels(diabetes, iris, tmp_path):
    X, y = diabetes
    bases = [("ridge", Ridge()), ("knn", KNeighborsRegressor())]
    stack = sf.StackingRegressor(bases, cv=3).fit(X, y)
    written(stack.report(), tmp_path)
    shown = tables_of(tmp_path)["RMSE, MAE and bias of each model"].set_index("model")
    said = stack.oof_.predictions[:, 0]
    wanted = [root_mean_squared_error(y, said), mean_absolute_error(y, said), np.mean(said - y)]
    assert shown.loc["ridge"].astype(float).to_numpy() == pytest.approx(wanted, abs=0.05)
    two = sf.StackingRegressor(bases, cv=3).fit(X, np.column_stack([y, y * 1000]))
    assert "in standard deviations of each target" in written(two.report(), tmp_path)

    X, y = iris
    labels = np.eye(3, dtype=int)[y]
    bases = [("forest", RandomForestClassifier(5)), ("tree", DecisionTreeClassifier(max_depth=2))]
    for final in (None, MultiOutputClassifier(LogisticRegression())):
        stack = sf.StackingClassifier(bases, final, cv=3, random_state=0).fit(X, labels)
        assert "All labels are pooled." in written(stack.report(), tmp_path)


def test_without_probabilities_the_rows_that_most_miss_come_first(iris, tmp_path):
    X, y = iris
    bases = [("svm", LinearSVC(random_state=0)), ("ridge", Ridge()), ("bayes", GaussianNB())]
    stack = sf.StackingClassifier(bases, LinearSVC(random_state=0), cv=3).fit(X, y)
    report = stack.report()
    written(report, tmp_path)
    rows = tables_of(tmp_path)["Rows with the greatest loss"]["row"].astype(int).to_numpy()
    wrong = np.zeros(len(y), bool)
    for train, test in stack.oof_.folds:
        model = LinearSVC(random_state=0).fit(stack.oof_.predictions[train], y[train])
        wrong[test] = model.predict(stack.oof_.predictions[test]) != y[test]
    assert set(rows) <= set(np.flatnonzero(wrong))
    assert len(rows) == min(10, wrong.sum())


def warnings_in(report) -> tuple[str, ...]:
    assert report.facts is not None
    return report.facts.warnings


def test_what_is_odd_is_told(cancer, tmp_path):
    X, y = cancer
    rare = y.astype(object).copy()
    rare[:2] = "other"
    told = np.where(rare == "benign", 0.0, 1.0)[:, None]
    X = np.hstack([X, told])
    bases = [("a", GaussianNB()), ("b", GaussianNB()), ("tree", DecisionTreeClassifier())]
    with pytest.warns(UserWarning, match="least populated class"):
        stack = sf.StackingClassifier(bases, LogisticRegression(), cv=5).fit(X, rare)
    said = warnings_in(stack.report())
    assert "The class 'other' has only 2 rows. Do not trust its scores." in said
    assert any("'b' and 'a' make nearly the same errors (correlation 1.000)" in one for one in said)
    written(stack.report(), tmp_path, warnings=["A sentence of mine."])
    page = (tmp_path / "report.html").read_text()
    assert "<li>A sentence of mine.</li><li>" in page
    clean = sf.StackingClassifier([("bayes", GaussianNB())], LogisticRegression()).fit(X, y)
    assert any("right about almost every row" in s for s in warnings_in(clean.report()))


def test_mistakes_are_told_and_write_nothing(binary, tmp_path):
    stack, X, _ = binary
    report = stack.report()
    place = tmp_path / "report.html"
    place.write_text("before")
    for options, told in [
        ({"n_worst": -1}, "n_worst must be an integer of at least 0, got -1: use 10"),
        ({"values_of": X[:9]}, "values_of has 9 rows, and the stack was fitted on 200: pass the X"),
        ({"values_of": X[:, :, None]}, "values_of must be a table of shape"),
        ({"rows": [1, 2]}, "rows has 2 numbers, and the stack was fitted on 200 rows"),
        ({"warnings": "one"}, "warnings must be a list of sentences, got 'one'"),
    ]:
        with pytest.raises(ValueError, match=told):
            report.to_html(place, **options)
    with pytest.raises(FileNotFoundError):
        report.to_html(tmp_path / "none" / "report.html")
    assert place.read_text() == "before"
    assert list(tmp_path.iterdir()) == [place]


def test_a_report_without_evidence_is_a_page_too(binary, tmp_path):
    stack, _, _ = binary
    bare = replace(stack.report(), evidence=None, facts=None)
    page = written(bare, tmp_path)
    assert "Leaderboard" in page
    assert "Worst rows" not in page


def curve_of(page: str) -> np.ndarray:
    """Return the points of the stack's curve in the picture of the calibration."""
    (points,) = re.findall(r'<polyline points="([^"]*)" class="curve own"', page)
    return np.array([pair.split(",") for pair in points.split()], float)


def test_pictures_of_tiny_and_huge_numbers(diabetes, tmp_path):
    X, y = diabetes
    bases = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))]

    def page_of(y):
        return written(sf.StackingRegressor(bases, cv=3).fit(X, y).report(), tmp_path)

    wanted = curve_of(page_of(y))
    assert np.ptp(wanted[:, 0]) > 200
    for factor in (1e-9, 1e9):
        np.testing.assert_allclose(curve_of(page_of(y * factor)), wanted, atol=0.11)
    page = page_of(y + 1e9)
    assert "needs ridge: without it, its score gets clearly worse. The other base changes" in page
    taken = re.search(r">mean prediction \N{MINUS SIGN} ([\d,]+)<", page)
    assert taken is not None
    start = float(taken[1].replace(",", "")) - 1e9
    assert y.min() < start < y.mean()
    assert ">50<" in page


def test_what_rounding_leaves_is_nothing_lost(binary, tmp_path):
    report = binary[0].report()
    bases = [replace(base, lost_without=Estimate(-3e-9, 1e-9)) for base in report.bases]
    page = written(replace(report, bases=bases), tmp_path)
    board = tables_of(tmp_path)["Leaderboard by log-loss"]
    assert sorted(board["lost without it"].astype(str)) == ["", "0", "0"]
    assert "No single base changes the stack's score beyond noise" in page


def test_numbers_and_ticks():
    assert ticks(2.1e-13, 6.2e-13) == pytest.approx([4e-13, 6e-13], abs=0)
    assert labels_of_ticks([1e9 - 50, 1e9]) == (["0", "50"], " \N{MINUS SIGN} 999,999,950")
    assert labels_of_ticks([200_000, 300_000]) == (["200,000", "300,000"], "")
    assert numbers_like([0.123456], [0.012])(0.123456) == "0.123"
    assert numbers_like([], [0.01])(np.nan) == ""
    assert numbers_like([1234567.0])(1234567.0) == "1,234,567"
    assert numbers_like([-3.2e9])(-3.2e9) == "\N{MINUS SIGN}3.200e9"
    assert numbers_like([0.0, 2e-7])(0.0) == "0"
    for low, high in [(0.0, 1.0), (-3e-7, 2e-7), (12.0, 98765.0)]:
        places = ticks(low, high)
        assert 2 <= len(places) <= 6
        assert low - 1e-12 <= places[0] < places[-1] <= high + 1e-9
    outcome, said = np.array([0, 1, 1, 0]), np.array([0.05, 0.95, 0.55, 0.52])
    assert calibration_error(outcome, said) == pytest.approx((0.05 + 0.05 + 0.07) / 4)
