"""Converters of predictors that are made neither of trees nor of other estimators."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cross_decomposition import PLSSVD, PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import CategoricalNB, ComplementNB, GaussianNB
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestCentroid,
    RadiusNeighborsClassifier,
)
from sklearn.neural_network import MLPClassifier
from sklearn.semi_supervised import LabelPropagation
from sklearn.svm import SVC, SVR

import stackfuse as sf
from stackfuse._export import convert
from stackfuse._export.checking import answers
from stackfuse._export.graph import graph as _graph
from tests.support.cases import (
    FAMILY_CLASSIFIERS,
    FAMILY_MULTI_REGRESSORS,
    FAMILY_REGRESSORS,
    shown,
)


@pytest.fixture(scope="module")
def flowers(iris):
    """Iris, measured so finely that no two rows are equally far from a third."""
    X, y = iris
    return np.abs(X + np.random.default_rng(0).normal(scale=1e-3, size=X.shape)), y


@pytest.fixture(scope="module")
def patients(diabetes):
    X, y = diabetes
    rng = np.random.default_rng(0)
    return (X + rng.normal(scale=1e-3, size=X.shape))[:160], y[:160] / 100


def with_extremes(X):
    """Return rows of which every other was trained on, then some far from all and some between."""
    return np.vstack([X, 5 * X[:8], np.zeros_like(X[:1]), X[:40].reshape(20, 2, -1).mean(axis=1)])


def assert_agrees(estimator, got, X, atol=2e-12):
    """Compare a graph's outputs with what the estimator itself returns."""
    for key, wanted in answers.expected_outputs(estimator, X).items():
        found = np.asarray(got[key])
        assert found.shape == wanted.shape
        if key.startswith("label"):
            assert_array_equal(found, wanted)
        else:
            scale = max(1.0, np.nanmax(np.abs(wanted)))
            assert_allclose(found, wanted, rtol=0, atol=atol * scale)


def assert_converts(estimator, X, atol=2e-12):
    assert_agrees(estimator, sf.to_keras(estimator)(X), X, atol)


def graph_of_all(estimators, X):
    """Return one model of many estimators, so that they are written and read at once."""
    import keras

    x = keras.Input(X.shape[1:], dtype="float64")
    outputs = [
        {name: convert(e, x, method) for name, method in _graph.output_methods(e).items()}
        for e in estimators
    ]
    return keras.Model(x, outputs)


def assert_all_agree_after_reload(estimators, X, path):
    import keras

    graph_of_all(estimators, X).save(path)
    parts = keras.models.load_model(path, safe_mode=True)(X)
    for estimator, got in zip(estimators, parts, strict=True):
        assert_agrees(estimator, got, X)


@pytest.mark.parametrize("n_classes", [3, 2])
def test_classifiers(flowers, n_classes, tmp_path):
    X, y = flowers[0], np.minimum(flowers[1], n_classes - 1)
    models = [clone(c).fit(X[::2], y[::2]) for c in FAMILY_CLASSIFIERS]
    assert_all_agree_after_reload(models, with_extremes(X), tmp_path / "all.keras")


@pytest.mark.filterwarnings("ignore:Singular matrix in solving dual problem")
@pytest.mark.filterwarnings("ignore:One or more samples have no neighbors")
def test_regressors(patients, tmp_path):
    X, y = patients
    models = [clone(r).fit(X[::2], y[::2]) for r in FAMILY_REGRESSORS]
    assert_all_agree_after_reload(models, with_extremes(X), tmp_path / "all.keras")


@pytest.mark.filterwarnings("ignore:One or more samples have no neighbors")
def test_regressors_of_two_columns(patients, tmp_path):
    X, y = patients
    Y = np.column_stack([y, X[:, 2] + X[:, 3] ** 2])
    models = [clone(r).fit(X[::2], Y[::2]) for r in FAMILY_MULTI_REGRESSORS]
    assert_all_agree_after_reload(models, with_extremes(X), tmp_path / "all.keras")


@pytest.mark.parametrize(
    "model",
    [
        RidgeClassifier(),
        MLPClassifier((4,), max_iter=300, tol=1e9, random_state=0),
        KNeighborsClassifier(4),
        RadiusNeighborsClassifier(0.5, weights="distance", outlier_label=[0, 1]),
    ],
    ids=str,
)
def test_two_columns_of_classes(flowers, model):
    X, y = flowers
    Y = np.column_stack([y > 0, X[:, 0] > 1]).astype(int)
    assert_converts(model.fit(X[::2], Y[::2]), with_extremes(X))


@pytest.mark.parametrize("model", [SVC(), KNeighborsClassifier(), GaussianNB()], ids=str)
def test_classes_that_are_strings(flowers, model):
    X, y = flowers
    assert_converts(model.fit(X, np.array(["u", "v", "w"])[y]), X)


@pytest.mark.parametrize(
    "model",
    [LinearDiscriminantAnalysis(), LinearDiscriminantAnalysis(solver="eigen", n_components=1)],
    ids=str,
)
def test_transformers(flowers, model):
    import keras

    X, y = flowers
    Y = np.eye(3)[y] + X[:, :1]
    models = [clone(model).fit(X, y), PLSRegression().fit(X, Y), PLSSVD().fit(X, Y)]
    x = keras.Input((4,), dtype="float64")
    got = keras.Model(x, [convert(m, x, "transform") for m in models])(X)
    for m, found in zip(models, got, strict=True):
        assert_allclose(found, m.transform(X), atol=1e-12)


def test_all_arithmetic_is_in_the_precision_of_the_graph(flowers):
    X, y = flowers
    for model in FAMILY_CLASSIFIERS[::2]:
        if isinstance(model, LabelPropagation):
            continue  # it needs float64
        graph = sf.to_keras(clone(model).fit(X, y), precision="float32")
        assert {tensor.dtype for tensor in graph.outputs} <= {"float32", "int64"}


def test_votes_that_are_tied():
    """A row in the middle of three classes: each pair has another winner, or none."""
    angles = np.array([0, 2, 4]) * np.pi / 3
    X = np.column_stack([np.cos(angles), np.sin(angles)]).round(6)
    rows = np.vstack([np.zeros((1, 2)), X, np.random.default_rng(0).normal(size=(200, 2)) * 0.02])
    for settings in ({}, {"break_ties": True}, {"decision_function_shape": "ovo"}):
        assert_converts(SVC(kernel="rbf", gamma=1.0, **settings).fit(X, [0, 1, 2]), rows)
    clouds = np.array([[-2.0, 0], [-1, 1], [1, 1], [2, 0]])
    between = np.array([[0.0, 3], [0, 0], [0, -1]])
    for model in (SVC(kernel="linear"), NearestCentroid(), GaussianNB(), KernelRidge()):
        assert_converts(model.fit(clouds, [0, 0, 1, 1]), between)


@pytest.mark.parametrize("loss", ["modified_huber", "log_loss"])
def test_shares_where_no_class_has_any(flowers, loss):
    X, y = flowers
    model = SGDClassifier(loss=loss, random_state=0).fit(X, y)
    model.intercept_ = model.intercept_ - 1e4
    assert_converts(model, X)
    assert_allclose(model.predict_proba(X[:1]), 1 / 3)


@pytest.mark.parametrize("out_of_bounds", ["clip", "nan"])
def test_isotonic_regression_on_and_beyond_its_knots(diabetes, out_of_bounds):
    X, y = diabetes
    model = IsotonicRegression(out_of_bounds=out_of_bounds).fit(X[:, 2], y)
    knots = model.X_thresholds_
    rows = np.concatenate([knots, np.nextafter(knots, 9), knots[1:] - np.diff(knots) / 3, [-9, 9]])
    got = np.asarray(sf.to_keras(model)(rows[:, None])["prediction"])
    assert_array_equal(got, model.predict(rows))
    assert np.isnan(got).any() == (out_of_bounds == "nan")


def test_categories_that_naive_bayes_has_not_seen(iris):
    X, y = iris
    X = (X - X.min(axis=0)).round()
    model = CategoricalNB().fit(X, y)
    assert_converts(model, X + 0.9)  # which is the same category
    unknown = sf.to_keras(model)(np.array([[99.0, 3, 5, 2], [-1, 3, 5, 2]]))["probabilities"]
    assert np.isnan(unknown).all()


def test_rows_at_the_radius():
    X = np.array([[0.0, 0], [3, 4], [6, 8], [0, 5]])
    model = RadiusNeighborsClassifier(5.0).fit(X, [0, 1, 2, 2])
    assert_converts(model, X)
    alone = sf.to_keras(model)(np.array([[100.0, 100], [0.0, 0.0]]))
    assert np.isnan(alone["probabilities"][0]).all()  # scikit-learn raises
    assert np.asarray(alone["label"]).tolist() == [-1, model.predict([[0.0, 0.0]])[0]]


def test_complement_naive_bayes_of_one_class(flowers):
    X, _ = flowers
    assert_converts(ComplementNB().fit(X, np.zeros(len(X), int)), X)


@pytest.mark.filterwarnings("ignore:Singular matrix in solving dual problem")
@pytest.mark.parametrize("kernel", ["chi2", "additive_chi2"])
def test_kernels_of_counts(flowers, kernel):
    X, y = flowers
    X = np.vstack([np.zeros((1, 4)), X[1:]])
    assert_converts(KernelRidge(99, kernel=kernel, gamma=0.5).fit(X[::2], y[::2]), X)


def test_rows_fitted_as_a_sparse_matrix(flowers):
    from scipy.sparse import csr_matrix

    X, y = flowers
    for model in (SVC(), SVR(kernel="linear"), KNeighborsRegressor(), NearestCentroid()):
        model.fit(csr_matrix(X[::2]), y[::2])
        if isinstance(model, SVC | SVR):
            got = sf.to_keras(model)(X)
            wanted = answers.expected_outputs(model, csr_matrix(X))
            assert_allclose(next(iter(got.values())), next(iter(wanted.values())), atol=1e-12)
        else:
            assert_converts(model, X)


@pytest.mark.parametrize("n_features", [1, 63, 65, 200])
def test_distances_in_any_number_of_features(n_features):
    X = np.random.default_rng(0).normal(size=(40, n_features))
    for metric in ("euclidean", "chebyshev"):
        assert_converts(KNeighborsRegressor(3, metric=metric).fit(X[::2], X[::2, 0]), X)


def metric_of_mine(a, b):
    return np.abs(a - b).sum()


def kernel_of_mine(a, b):
    return a @ b.T


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (KNeighborsClassifier(weights=lambda d: d + 1), "by your own function"),
        (KNeighborsClassifier(metric="cosine"), "with Normalizer"),
        (KNeighborsClassifier(metric=metric_of_mine), "A graph can measure by"),
        (RadiusNeighborsClassifier(outlier_label=7), "not a class of the training rows"),
        (GaussianProcessRegressor(Matern(nu=0.7), optimizer=None), "use 0.5, 1.5, 2.5 or inf"),
        (GaussianProcessClassifier(multi_class="one_vs_one", optimizer=None), "one_vs_rest"),
        (SVR(kernel=kernel_of_mine), "how many features it was fitted on"),
        (KernelRidge(kernel=kernel_of_mine), "a kernel of scikit-learn by its name"),
    ],
    ids=shown,
)
def test_what_has_no_counterpart_is_refused(flowers, model, message):
    with pytest.raises(sf.NotConvertible, match=message):
        sf.to_keras(model.fit(*flowers))


@pytest.mark.filterwarnings("ignore:.*probability:FutureWarning")
def test_libsvm_probabilities_are_refused(flowers):
    with pytest.raises(sf.NotConvertible, match="Wrap it in CalibratedClassifierCV"):
        sf.to_keras(SVC(probability=True).fit(*flowers))


def test_neighbours_at_equal_distances_are_refused_where_they_matter():
    X = np.array([[0.0], [1], [2], [3], [4], [5]])
    with pytest.raises(sf.NotConvertible, match="the neighbours 2 and 3 of training row 1"):
        sf.to_keras(KNeighborsClassifier(2).fit(X, [0, 0, 1, 1, 0, 0]))
    assert_converts(KNeighborsClassifier(2).fit(X, [0, 1, 0, 1, 0, 1]), X)
    assert_converts(KNeighborsClassifier(1).fit(X, [0, 0, 1, 1, 0, 0]), X)


def test_too_many_rows_are_refused():
    X = np.random.default_rng(0).normal(size=(50_001, 1))
    with pytest.raises(sf.NotConvertible, match="compares each row with 50001 training rows"):
        sf.to_keras(KNeighborsRegressor().fit(X, X[:, 0]))


def test_as_bases_and_meta_learner_of_a_stack(flowers, tmp_path):
    bases = [("nb", GaussianNB()), ("svm", SVC()), ("knn", KNeighborsClassifier())]
    final = MLPClassifier((3,), max_iter=300, tol=1e9, random_state=0)
    stack = sf.StackingClassifier(bases, final, cv=2, random_state=0).fit(*flowers)
    report = sf.export(stack, tmp_path / "stack.keras", verify=flowers[0])
    assert (report.max_difference or 0) < 1e-12
    regressor = sf.StackingRegressor([("svr", SVR()), ("ridge", Ridge())], KernelRidge(), cv=2)
    report = sf.export(regressor.fit(*flowers), tmp_path / "r.keras", verify=flowers[0])
    assert (report.max_difference or 0) < 1e-12
