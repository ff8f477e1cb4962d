"""Estimators that cannot be converted, or not to a format, say why before anything else."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import stackfuse as sf
from stackfuse._export import exporting
from stackfuse._export.checking import comparison
from stackfuse._export.graph import graph

ITERATES = "LatentDirichletAllocation cannot be converted .* repeats an approximation"


@pytest.fixture(scope="module")
def counts(iris):
    X, y = iris
    return np.abs(X).round(), y


@pytest.fixture(scope="module")
def topics(counts):
    """A pipeline that no graph computes."""
    model = make_pipeline(LatentDirichletAllocation(2, random_state=0), LogisticRegression())
    return model.fit(*counts)


@pytest.fixture
def no_work(monkeypatch):
    """Whatever takes time, or asks for rows, fails."""

    def fail(*args, **kwargs):
        raise AssertionError("work is done before the reason is said")

    monkeypatch.setattr(graph, "convert", fail)
    monkeypatch.setattr(comparison.RowsToCompare, "of", fail)
    monkeypatch.setattr(exporting, "check_graph", fail)
    monkeypatch.setattr(RandomForestClassifier, "predict_proba", fail)


@pytest.mark.parametrize("ask", ["export", "to_keras", "compiled"])
def test_a_base_that_cannot_be_converted_is_named_before_any_work(
    counts, topics, ask, tmp_path, request
):
    bases = [("forest", RandomForestClassifier(5)), ("topics", topics)]
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=2, random_state=0).fit(*counts)
    request.getfixturevalue("no_work")
    asks = {
        "export": lambda: sf.export(stack, tmp_path / "stack.keras"),
        "to_keras": lambda: sf.to_keras(stack),
        "compiled": lambda: sf.compiled(stack),
    }
    with pytest.raises(sf.NotConvertible, match=ITERATES):
        asks[ask]()
    assert not list(tmp_path.iterdir())


def test_no_rows_are_asked_for_first(counts, topics, no_work, tmp_path):
    path = tmp_path / "model.keras"
    with pytest.raises(sf.NotConvertible, match=ITERATES):
        sf.export(topics, path)
    search = GridSearchCV(topics, {"logisticregression__C": [1.0]}, cv=2)
    search.best_estimator_ = topics
    with pytest.raises(sf.NotConvertible, match=ITERATES):
        sf.export(search, path)
    words = CountVectorizer().fit(["a bb", "cc d"])  # does not say how many columns it takes
    for ask in (lambda: sf.export(words, path), lambda: sf.to_keras(words)):
        with pytest.raises(sf.NotConvertible, match=r"CountVectorizer cannot .* cuts texts"):
            ask()
    with pytest.raises(sf.NotConvertible, match=r"KernelDensity cannot .* is not a classifier"):
        sf.to_keras(KernelDensity().fit(counts[0]))


def test_what_is_no_estimator_is_a_type_error(tmp_path):
    with pytest.raises(TypeError, match="a fitted estimator, got the class LogisticRegression"):
        sf.export(LogisticRegression, tmp_path / "model.keras")
    with pytest.raises(TypeError, match="fitted scikit-learn estimator, got 3"):
        sf.to_keras(3)


def test_a_reason_inside_of_a_converter_comes_before_rows(tmp_path):
    """Words reach an encoder only with rows, and the message says so."""
    frame = pd.DataFrame({"word": ["a", "b", "c"] * 5})
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(frame, np.arange(15) % 2)
    with pytest.raises(sf.NotConvertible, match="pass rows of it as X= or verify="):
        sf.export(model, tmp_path / "model.keras")


def test_a_format_says_what_it_cannot_carry_before_rows_are_compared(tmp_path, monkeypatch):
    frame = pd.DataFrame({"word": ["a", "b", "c"] * 10})
    encode = make_pipeline(OneHotEncoder(), LogisticRegression())
    stack = sf.StackingClassifier([("encode", encode)], LogisticRegression(), cv=2, random_state=0)
    stack.fit(frame, np.arange(30) % 2)

    def fail(*args, **kwargs):
        raise AssertionError("rows are compared before the format was asked")

    monkeypatch.setattr(comparison.RowsToCompare, "of", fail)
    paths = [tmp_path / "stack.keras", tmp_path / "stack.tflite"]
    with pytest.raises(sf.NotConvertible, match="takes strings in 'word', and LiteRT has"):
        sf.export(stack, paths)
    assert not list(tmp_path.iterdir())
