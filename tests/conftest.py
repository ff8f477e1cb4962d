"""Small data and small networks for all tests."""

import gc
from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.preprocessing import StandardScaler


@pytest.fixture(scope="session")
def iris():
    """Return 150 rows of 4 features, 3 classes, in a random order."""
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return StandardScaler().fit_transform(X)[order], y[order]


@pytest.fixture(scope="session")
def cancer():
    """Return 200 rows of 30 features, 2 classes with string labels."""
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X)[:200], np.array(["malignant", "benign"])[y[:200]]


@pytest.fixture(scope="session")
def diabetes():
    """Return 200 rows of 10 features and a number around 150."""
    X, y = load_diabetes(return_X_y=True)
    return X[:200] * 20, y[:200]


def pytest_collection_modifyitems(items):
    """Put files with slow tests first, then files with many tests, and examples in docstrings last.

    Files are given to whichever process is free. A long file at the end would keep one process
    busy while the others wait.
    """
    n_tests = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item):
        return item.path not in slow, isinstance(item, pytest.DoctestItem), -n_tests[item.path]

    items.sort(key=place)


def pytest_collection_finish():
    """Keep the search for garbage away from what was imported, which it would visit each time."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """Say how many of scikit-learn's estimators convert, once the sweep has run."""
    outcomes = Counter(
        outcome
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, outcome in getattr(report, "user_properties", ())
        if name == "sweep" and report.when == "call"
    )
    if outcomes:
        found = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        terminalreporter.write_line(f"scikit-learn's estimators x roles x tasks: {found}")
