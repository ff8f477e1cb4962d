"""A notebook's view of a stack, of out-of-fold predictions and of a report."""

import re

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import estimator_html_repr

import stackfuse as sf

NASTY = "<img src=x onerror=alert(1)>"
BASES = [("logistic", LogisticRegression(max_iter=500)), (NASTY, GaussianNB())]


def shown(thing) -> str:
    """Return the HTML as Jupyter asks for it."""
    if hasattr(thing, "_repr_mimebundle_"):
        return thing._repr_mimebundle_()["text/html"]
    return thing._repr_html_()


@pytest.fixture(scope="module")
def stack(iris):
    X, y = iris
    return sf.StackingClassifier(BASES, cv=3, random_state=0).fit(X, y)


def test_a_fitted_stack_shows_its_bases_best_first(stack):
    html = shown(stack)
    assert "sk-top-container" in html
    table = html[html.index("Bases, by their out-of-fold") :]
    cells = re.findall(r'data-value="([^"]*)"', table)
    by_loss = sorted(stack.oof_.scores.values(), key=lambda scores: scores["log_loss"].mean())
    wanted = [
        value
        for scores in by_loss
        for metric in ("log_loss", "accuracy")
        for value in (scores[metric].mean(), scores[metric].std(ddof=1) / np.sqrt(3))
    ]
    found = [float(cell) for k, cell in enumerate(cells) if k % 5 != 4]
    assert found == pytest.approx(wanted)
    weights = [float(cell) for cell in cells[4::5]]
    assert sorted(weights) == pytest.approx(sorted(stack.final_estimator_.weights_))
    assert "stack.report() tells whether stacking helps." in html
    assert "Bases, by their out-of-fold" in stack._repr_html_()


def test_an_unfitted_stack_shows_scikit_learns_diagram(stack):
    def without_ids(html):
        return re.sub(r"sk-(container|estimator)-id-\d+", "", html)

    unfitted = sf.StackingClassifier(BASES)
    assert without_ids(shown(unfitted)) == without_ids(estimator_html_repr(unfitted))
    inside = make_pipeline(StandardScaler(), stack)
    assert "Bases, by their out-of-fold" not in shown(inside)
    with sklearn.config_context(display="text"):
        assert not hasattr(stack, "_repr_html_")
        assert "text/html" not in stack._repr_mimebundle_()


def test_out_of_fold_predictions_show_scores_and_rows(stack):
    html = stack.oof_._repr_html_()
    assert "150 rows (150 predicted), 3 folds, 6 columns" in html
    for scores in stack.oof_.scores.values():
        assert f"{scores['log_loss'].mean():.4f}" in html
    assert f"{stack.oof_.predictions[4, 5]:.4f}" in html


def test_a_report_shows_its_verdict(stack):
    report = stack.report()
    html = report._repr_html_()
    assert report.verdict.split(":")[0] in html
    assert repr(report.stack.mean) in html


@pytest.mark.parametrize("of", [lambda s: s, lambda s: s.oof_, lambda s: s.report()])
def test_everything_is_escaped(stack, of):
    html = shown(of(stack))
    assert "<img" not in html
    assert "&lt;img src=x" in html


def test_other_stacks_show_themselves_too(diabetes, iris):
    X, y = diabetes
    bases = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=2))]
    stack = sf.StackingRegressor(bases, Ridge(), cv=3, passthrough=[0], refit=False).fit(X, y)
    html = shown(stack)
    assert "R2" in html
    assert "weight" not in html[html.index("Bases, by their out-of-fold") :]
    fitted = [("ridge", Ridge().fit(X, y)), ("tree", DecisionTreeRegressor().fit(X, y))]
    stack = sf.StackingRegressor(fitted, cv="prefit").fit(X, y)
    assert "fitted before" in shown(stack)
    assert stack.oof_._repr_html_()
