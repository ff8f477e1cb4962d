"""Names of strangers are spelled out where they are shown: no terminal takes them for commands."""

import io
import unicodedata
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf

#: Sets the title of a terminal, rings, colours, clears the screen, and turns the writing around.
EVIL = "a\x1b]0;owned\x07\x1b[31m\x9b2J\u202eb"
SPELLED = r"a\x1b]0;owned\x07\x1b[31m\x9b2J\u202eb"


def commands_in(text: str) -> set[str]:
    """Return the characters of a text that a terminal may act on."""
    return {c for c in text if unicodedata.category(c)[0] == "C" and c not in "\n\t"}


@pytest.fixture(scope="module")
def evil(iris):
    """Return a frame with bad column names, and bad labels."""
    X, y = iris
    frame = pd.DataFrame(X, columns=[f"{EVIL}{k}" for k in range(4)])
    return frame, np.array([f"{EVIL}{k}" for k in range(3)])[y]


BASES = [(EVIL, LogisticRegression(max_iter=500)), (f"tree{EVIL}", DecisionTreeClassifier())]


@pytest.fixture(scope="module")
def stack(evil):
    return sf.StackingClassifier(BASES, cv=2, random_state=0).fit(*evil)


def _page(stack, rows) -> str:
    stack.report(rows).to_html("page.html", values_of=rows)
    with open("page.html") as file:
        return file.read()


SHOWN = {
    "the stack": lambda stack, rows: repr(stack),
    "the stack in a notebook": lambda stack, rows: stack._repr_html_(),
    "out-of-fold predictions": lambda stack, rows: repr(stack.oof_),
    "the same in a notebook": lambda stack, rows: stack.oof_._repr_html_(),
    "the same as a frame": lambda stack, rows: str(stack.oof_.to_frame()),
    "a report": lambda stack, rows: str(stack.report(rows)),
    "a report's contents": lambda stack, rows: repr(stack.report(rows)),
    "a report as a frame": lambda stack, rows: str(stack.report().to_frame()),
    "a report in a notebook": lambda stack, rows: stack.report()._repr_html_(),
    "a page": _page,
    "several inputs": lambda stack, rows: repr(sf.MultiInput(**{EVIL: rows})),
    "an export": lambda stack, rows: str(sf.export(stack, f"{EVIL}.keras", verify=rows)),
}


@pytest.mark.parametrize("what", SHOWN)
def test_what_is_shown(what, stack, evil, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = SHOWN[what](stack, evil[0])
    assert SPELLED in text.replace("\\\\", "\\")
    assert not commands_in(text)


def test_what_is_printed(evil, capsys):
    sf.StackingClassifier(BASES[:1], cv=2, verbose=1, random_state=0).fit(*evil)
    shown = capsys.readouterr()
    assert "owned" in shown.out
    assert not commands_in(shown.out + shown.err)


DISPLAYS = ["Leaderboard", "Weights", "ErrorCorrelation", "Calibration", "StackGraph"]


@pytest.mark.parametrize("name", DISPLAYS)
def test_what_is_drawn(name, stack):
    with mpl.rc_context({"svg.fonttype": "none"}):  # texts as texts
        display = getattr(sf, f"{name}Display").from_estimator(stack)
        drawn = io.StringIO()
        display.figure_.savefig(drawn, format="svg")
    assert SPELLED[:9] in drawn.getvalue()  # pictures shorten long names
    assert not commands_in(drawn.getvalue())


class Failing(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        raise ValueError(f"no {EVIL}")

    def predict(self, X):
        """Return what nobody asks for."""


def stack_of(*bases, **options):
    return sf.StackingClassifier([*bases, ("fine", LogisticRegression())], cv=2, **options)


WRONG = {
    "a method": lambda X, y: stack_of((EVIL, RidgeClassifier()), stack_method="predict_proba").fit(
        X, y
    ),
    "weights": lambda X, y: stack_of((EVIL, KNeighborsClassifier())).fit(
        X, y, sample_weight=np.ones(150)
    ),
    "two of a name": lambda X, y: stack_of(BASES[0], BASES[0]).fit(X, y),
    "a splitter": lambda X, y: sf.out_of_fold(BASES, X, y, cv=EVIL),
    "a class alone": lambda X, y: stack_of().fit(X, [EVIL] * 150),
    "labels": lambda X, y: stack_of().fit(X, [EVIL, 1] * 75),
    "columns": lambda X, y: stack_of(passthrough=[EVIL]).fit(X, y),
    "inputs": lambda X, y: sf.MultiInput(**{EVIL: X, "b": X[:3]}),
    "a model's file": lambda X, y: sf.KerasClassifier(f"{EVIL}.keras").fit(X, y),
    "joined files": lambda X, y: sf.fuse([f"{EVIL}.keras", f"{EVIL}.h5"]),
    "an ending": lambda X, y: sf.export(LogisticRegression().fit([[0], [1]], [0, 1]), f"x.{EVIL}"),
    "a folder": lambda X, y: sf.out_of_fold(BASES, X, y, cv=2).save(f"{EVIL}/oof.npz"),
    "a file": lambda X, y: sf.OutOfFold.load(f"{EVIL}.npz"),
    "a column": lambda X, y: sf.models.table_bases(pd.DataFrame({EVIL: [1, "a", 2] * 50}), y),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_said(what, evil):
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        WRONG[what](*evil)
    assert "owned" in str(caught.value)
    assert not commands_in(str(caught.value))


def test_what_is_warned_of(evil):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        stack_of((EVIL, Failing()), on_error="drop").fit(*evil)
    texts = [str(one.message) for one in told]
    assert any("owned" in text for text in texts)
    assert not commands_in("".join(texts))
