"""Nearest neighbours: equal distances, many training rows, near duplicates."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.ensemble import BaggingClassifier
from sklearn.impute import KNNImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from stackfuse._cli import inspect
from stackfuse._export.checking.comparison import Comparison, RowsToCompare
from stackfuse._export.checking.tied_rows import TiedRows
from stackfuse._export.graph.build import Build
from stackfuse._export.graph.graph import build_graph
from stackfuse._export.tied_neighbors import averaged


@pytest.fixture(scope="module")
def whole():
    """Return whole numbers: nearly every row has equally far neighbours."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4, (150, 3)).astype(float)
    return X, rng.integers(0, 3, 150), rng.normal(size=150)


def shared_mean(X, y, row, k, p=2.0, by_distance=False):
    """Return the mean of the k nearest of y, in which equally far ones share; by hand."""
    distances = np.sum(np.abs(X - row) ** p, axis=1) ** (1 / p)
    last = np.sort(distances)[k - 1]
    near, equal = distances < last - 1e-9, np.abs(distances - last) <= 1e-9
    shares = near + equal * (k - near.sum()) / equal.sum()
    if by_distance:
        if (distances == 0).any():
            shares = shares * (distances == 0)
        else:
            shares = shares / distances
    return np.sum(shares[:, None] * y, axis=0) / shares.sum()


REGRESSORS = [
    (KNeighborsRegressor(7), {"k": 7}),
    (KNeighborsRegressor(7, weights="distance"), {"k": 7, "by_distance": True}),
    (KNeighborsRegressor(4, p=1, algorithm="brute"), {"k": 4, "p": 1}),
    (KNeighborsRegressor(70, p=3, weights="distance"), {"k": 70, "p": 3, "by_distance": True}),
]


@pytest.mark.parametrize(("model", "how"), REGRESSORS, ids=str)
@pytest.mark.parametrize("ending", [".keras", ".onnx"])
def test_equally_far_rows_share(whole, tmp_path, model, how, ending):
    X, _, y = whole
    asked = np.vstack([X[:20], X[:20] + 0.25])
    model.fit(X, y)
    with pytest.raises(sf.NotConvertible, match="ties='average'"):
        sf.to_keras(model)
    wanted = [shared_mean(X, y[:, None], row, **how)[0] for row in asked]
    graph = sf.to_keras(model, ties="average")
    assert_allclose(np.asarray(graph(asked)["prediction"]), wanted, rtol=0, atol=1e-13)
    report = sf.export(model, tmp_path / f"model{ending}", verify=asked, ties="average")
    usual = model.predict(asked)
    differ = np.abs(usual - wanted) > 1e-9
    assert differ.any()
    assert differ.sum() <= report.tied.n_rows <= len(asked)
    assert report.tied.max_difference >= np.abs(usual - wanted).max() - 1e-12
    assert f"neighbours in {report.tied.n_rows} rows" in str(report)
    told = inspect.read_manifest(tmp_path / f"model{ending}")["ties"]
    assert told == {"rule": "average", **vars(report.tied)}


def test_votes_are_shared_in_a_stack(whole, tmp_path):
    X, y, _ = whole
    neighbors = make_pipeline(StandardScaler(), KNeighborsClassifier(3))
    bagged = BaggingClassifier(KNeighborsClassifier(4, weights="distance"), 2, random_state=0)
    bases = [("near", neighbors), ("bagged", bagged), ("linear", LogisticRegression())]
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=2, random_state=0).fit(X, y)
    scaler = stack.named_estimators_["near"][0]
    report = sf.export(stack, tmp_path / "stack.onnx", verify=X, ties="average")
    assert report.tied.n_rows > 50
    assert report.tied.n_labels > 0
    fast = sf.compiled(stack, ties="average")
    votes = np.array(
        [shared_mean(scaler.transform(X), np.eye(3)[y], row, 3) for row in scaler.transform(X[:9])]
    )
    found = fast.transform(X[:9])[:, : votes.shape[1]]
    assert_allclose(found, votes, rtol=0, atol=1e-13)
    many = np.tile(X, (8, 1))  # more than are compiled
    assert_allclose(fast.predict_proba(many)[:9], fast.predict_proba(X[:9]), rtol=0, atol=1e-12)


def test_nothing_is_told_where_there_are_no_neighbors(whole, tmp_path):
    X, y, _ = whole
    model = LogisticRegression().fit(X, y)
    assert averaged(model) is model
    report = sf.export(model, tmp_path / "a.keras", verify=X, ties="average")
    assert report.tied is None
    assert inspect.read_manifest(tmp_path / "a.keras")["ties"] is None
    with pytest.raises(ValueError, match="ties must be 'refuse' or 'average', got 'mean'"):
        sf.to_keras(model, ties="mean")


def test_rows_without_a_choice_must_agree(whole):
    X, _, y = whole
    model = KNeighborsRegressor(7).fit(X, y)
    other = averaged(KNeighborsRegressor(7).fit(X, y + 0.01))
    rows = X + np.random.default_rng(1).uniform(0.1, 0.3, X.shape)
    compared = RowsToCompare(rows, None)
    graph = build_graph(other, rows, Build())
    with pytest.raises(sf.ParityError, match="ties='average' the graph disagrees"):
        TiedRows.of(model, other, Comparison.of(other, compared, graph, "float64"))


@pytest.mark.parametrize("ending", [".keras", ".onnx"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_imputed_values_are_shared_means(whole, tmp_path, ending, weights):
    X, _, y = whole
    X = X.copy()
    X[::5, 1] = np.nan
    model = make_pipeline(KNNImputer(n_neighbors=3, weights=weights), Ridge()).fit(X, y)
    with pytest.raises(sf.NotConvertible, match="ties='average'"):
        sf.to_keras(model)
    report = sf.export(model, tmp_path / f"model{ending}", verify=X, ties="average")
    assert report.tied.n_rows > 5
    graph = sf.to_keras(model[0], ties="average")
    filled = np.asarray(graph(X)["features"])
    donors = X[~np.isnan(X[:, 1])]
    for row in range(0, 50, 5):
        wanted = shared_mean(
            donors[:, [0, 2]], donors[:, 1:2], X[row, [0, 2]], 3, by_distance=weights == "distance"
        )
        assert_allclose(filled[row, 1], wanted[0], rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 30)) * 3 + 1000
    X[300:] = X[:300] + rng.normal(size=(300, 30)) * 1e-9  # nearly the same rows
    return X, rng.normal(size=600)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_near_duplicates_among_many_rows(many, tmp_path, weights):
    X, y = many
    model = KNeighborsRegressor(2, weights=weights, algorithm="kd_tree").fit(X, y)
    asked = X[::7] + np.random.default_rng(1).normal(size=X[::7].shape) * 1e-9
    graph = sf.to_keras(model)
    assert_allclose(np.asarray(graph(asked)["prediction"]), model.predict(asked), rtol=0, atol=1e-9)
    report = sf.export(model, tmp_path / "model.onnx", verify=asked)
    assert report.max_difference < 1e-9


def test_a_crowd_that_cannot_be_told_apart_is_refused():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 30))
    X[:40] = 50 + rng.normal(size=(40, 30)) * 1e-6
    y = rng.normal(size=600)
    model = KNeighborsRegressor(3, algorithm="kd_tree").fit(X, y)
    with pytest.raises(sf.NotConvertible, match="Rounding decides between them"):
        sf.to_keras(model)
    model.fit(X, np.where(np.arange(600) < 40, 1.0, y))  # of one target the choice is free
    found = np.asarray(sf.to_keras(model)(X)["prediction"])
    assert_allclose(found, model.predict(X), rtol=0, atol=1e-12)


MEMORY = """
import sys
import numpy as np
import stackfuse as sf
from sklearn.neighbors import KNeighborsClassifier
from stackfuse._core.fitting import memory_use
rng = np.random.default_rng(0)
X, y, asked = rng.normal(size=(4000, 200)), rng.integers(0, 3, 4000), rng.normal(size=(512, 200))
model = KNeighborsClassifier().fit(X, y)
graph = sf.to_keras(model, ties=sys.argv[1])
graph(asked[:2])
before = memory_use.used()[1]  # ru_maxrss would count what the parent held when it forked
found = np.asarray(graph(asked)["probabilities"])
after = memory_use.used()[1]
assert np.allclose(found, model.predict_proba(asked), rtol=0, atol=1e-12)
print((after - before) / 2**10 / 1e6)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ties", ["refuse", "average"])
def test_many_rows_take_little_memory(ties):
    """4,000 training rows of 200 features, asked about 512 rows: it took 6 GB."""
    command = [sys.executable, "-c", MEMORY, ties]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) < 1.0


@pytest.mark.parametrize(
    "model",
    [
        KMeans(4, n_init=1, random_state=0),
        MiniBatchKMeans(4, n_init=1, random_state=0),
        BisectingKMeans(4, random_state=0),
        NearestCentroid(),
    ],
    ids=str,
)
def test_the_nearest_center_of_rows_far_out(model):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)) + 1.0
    y = np.argmax(X, axis=1)
    model.fit(X, y)
    asked = np.vstack([X[:40] * 10.0**power for power in range(17)])
    output = "label" if isinstance(model, NearestCentroid) else "prediction"
    graph = sf.to_keras(model)
    found = np.asarray(graph(asked)[output])
    assert np.mean(found == model.predict(asked)) == 1.0


@pytest.mark.parametrize("ties", ["refuse", "average"])
def test_a_row_that_holds_nan_is_refused_and_stops_no_other(many, ties):
    X, y = many
    for rows in (X[:300], X[:30]):  # of a product of matrices, and of differences
        model = KNeighborsRegressor(12).fit(rows, y[: len(rows)])
        asked = rows[:4] + 0.5
        asked[1, 2] = np.nan
        found = np.asarray(sf.to_keras(model, ties=ties)(asked)["prediction"])
        kept = [0, 2, 3]
        assert np.isnan(found[1])
        assert_allclose(found[kept], model.predict(asked[kept]), rtol=0, atol=1e-12)
