"""Pipelines of imbalanced-learn: their samplers change the rows of fit alone."""

import numpy as np
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from tests.support.parity import assert_parity
from tests.support.searches import net


@pytest.fixture(scope="module")
def unbalanced(iris):
    X, y = iris
    kept = np.r_[0:50, 50:60, 100:104]
    return X[kept], y[kept]


def test_samplers_do_nothing_when_rows_are_predicted(unbalanced, iris, tmp_path):
    X, y = unbalanced
    models = [
        make_pipeline(RandomOverSampler(random_state=0), LogisticRegression()),
        make_pipeline(StandardScaler(), RandomUnderSampler(random_state=0), PCA(2), net(epochs=1)),
    ]
    assert_parity([models[0].fit(X, y)], iris[0], tmp_path / "one.keras")
    assert_parity([models[1].fit(X, y)], iris[0], tmp_path / "two.keras", 1e-6)


@pytest.mark.parametrize("ending", [".keras", ".onnx"])
def test_a_stack_over_samplers(unbalanced, iris, tmp_path, ending):
    X, y = unbalanced
    sampled = make_pipeline(RandomOverSampler(random_state=0), RandomForestClassifier(5))
    bases = [("sampled", sampled), ("net", make_pipeline(RandomOverSampler(random_state=0), net()))]
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=2, random_state=0).fit(X, y)
    report = sf.export(stack, tmp_path / f"stack{ending}", verify=iris[0])
    assert report.max_difference < 1e-5
