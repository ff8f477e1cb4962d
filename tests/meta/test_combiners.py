"""Convex, greedy and discrete combinations: their weights, their columns, and what they refuse."""

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, make_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import stackfuse as sf
from stackfuse._oof.prediction_columns import Column

TRUTH = np.array([0.5, 0.3, 0.0, 0.2])
CLASSIFIERS = [
    sf.ConvexClassifier(),
    sf.ConvexClassifier(link="logit"),
    sf.ConvexClassifier(per_class=True),
    sf.GreedyClassifier(),
    sf.GreedyClassifier(scoring="accuracy", link="logit", n_bags=3, random_state=0),
    sf.BestClassifier(),
]


def opinions(n_rows, n_classes, seed=0):
    """Return what four bases say, each in its own way; shape (n_rows, 4, n_classes)."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(n_classes, 0.4), size=(n_rows, len(TRUTH)))


def drawn(chances, seed=1):
    """Draw a class for each row of probabilities."""
    rng = np.random.default_rng(seed)
    return (chances.cumsum(axis=1) < rng.uniform(size=(len(chances), 1))).sum(axis=1)


def loss_by_hand(weights, said, y):
    """Return the log-loss of an average, with softmax weights to keep them on the simplex."""
    weights = np.exp(weights) / np.exp(weights).sum()
    return -np.log(np.einsum("nkc,k->nc", said, weights)[np.arange(len(y)), y]).mean()


# ---------------------------------------------------------------------------- known weights


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_super_learner_recovers_a_convex_truth(n_classes):
    said = opinions(40_000, n_classes)
    y = drawn(np.einsum("nkc,k->nc", said, TRUTH))
    X = said[:, :, 1] if n_classes == 2 else said.reshape(len(y), -1)
    meta = sf.ConvexClassifier().fit(X, y)
    assert_allclose(meta.weights_, TRUTH, atol=0.01)
    wanted = np.einsum("nkc,k->nc", said, meta.weights_)
    assert_allclose(meta.predict_proba(X), wanted, atol=1e-14)


def test_it_recovers_weights_of_log_odds():
    said = opinions(40_000, 3)
    logs = np.einsum("nkc,k->nc", np.log(np.clip(said, 1e-7, 1)), TRUTH)
    chances = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    meta = sf.ConvexClassifier(link="logit").fit(said.reshape(len(said), -1), drawn(chances))
    assert_allclose(meta.weights_, TRUTH, atol=0.01)


def test_it_recovers_weights_per_class():
    said = opinions(60_000, 3)
    truth = np.column_stack([TRUTH, TRUTH[::-1], np.full(4, 0.25)])
    blend = (said * truth).sum(axis=1)
    y = drawn(blend / blend.sum(axis=1, keepdims=True))
    meta = sf.ConvexClassifier(per_class=True).fit(said.reshape(len(y), -1), y)
    assert_allclose(meta.weights_, truth, atol=0.02)
    assert_allclose(meta.weights_.sum(axis=0), 1)


def test_the_loss_is_as_low_as_another_solver_finds():
    said = opinions(300, 3)
    y = drawn(np.einsum("nkc,k->nc", said, TRUTH))
    meta = sf.ConvexClassifier().fit(said.reshape(300, -1), y)
    best = minimize(loss_by_hand, np.zeros(4), args=(said, y), method="Nelder-Mead", tol=1e-10)
    assert log_loss(y, meta.predict_proba(said.reshape(300, -1))) == pytest.approx(best.fun)
    assert (meta.weights_ >= 0).all()
    assert meta.weights_.sum() == pytest.approx(1)


def test_a_base_that_says_never_to_what_happens():
    """Beside it a weak base needs some weight, just enough not to be surprised."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    sure = np.where(rng.uniform(size=300) < 0.97, y, 1 - y).astype(float)
    X = np.column_stack([sure, np.full(300, 0.5)])
    weight = sf.ConvexClassifier().fit(X, y).weights_[1]
    weights = np.linspace(1e-4, 0.5, 5000)
    chances = X @ [1 - weights, weights]
    losses = -np.log(np.where(y[:, None] == 1, chances, 1 - chances)).mean(axis=0)
    assert losses[0] == pytest.approx(log_loss(y, chances[:, 0]))
    assert weight == pytest.approx(weights[np.argmin(losses)], abs=2e-4)


@pytest.mark.parametrize("columns", [1, 2])
def test_least_squares_recovers_a_convex_truth(columns):
    rng = np.random.default_rng(0)
    said = rng.normal(5, 2, size=(5000, 4, columns))
    y = np.einsum("nko,k->no", said, TRUTH) + rng.normal(scale=0.1, size=(5000, columns))
    y = y[:, 0] if columns == 1 else y
    meta = sf.ConvexRegressor().fit(said.reshape(5000, -1), y)
    assert_allclose(meta.weights_, TRUTH, atol=0.01)
    assert meta.predict(said.reshape(5000, -1)).shape == y.shape
    each = sf.ConvexRegressor(per_output=True).fit(said.reshape(5000, -1), y)
    assert_allclose(each.weights_, np.repeat(TRUTH[:, None], columns, axis=1), atol=0.02)


def test_least_squares_is_exact_where_the_truth_is_no_convex_combination():
    rng = np.random.default_rng(0)
    X = rng.normal([0, 1, 1e3], size=(50, 3))
    y = X @ [-1.0, 0.7, 0.9]
    found = sf.ConvexRegressor().fit(X, y).weights_
    grid = rng.dirichlet(np.ones(3), size=20_000)
    losses = np.square(X @ grid.T - y[:, None]).mean(axis=0)
    assert np.square(X @ found - y).mean() <= losses.min()
    assert found.sum() == pytest.approx(1)


def test_weights_of_rows_are_repetitions():
    said = opinions(200, 2)[:, :, 1]
    y = drawn(np.column_stack([1 - said @ TRUTH, said @ TRUTH]))
    times = np.random.default_rng(2).integers(0, 4, 200)
    repeated = np.repeat(said, times, axis=0), np.repeat(y, times)
    for meta in (sf.ConvexClassifier(), sf.GreedyClassifier(), sf.BestClassifier()):
        weighted = clone(meta).fit(said, y, sample_weight=times).weights_
        assert_allclose(weighted, clone(meta).fit(*repeated).weights_, atol=1e-6)


# ---------------------------------------------------------------------------- selection


def reference_selection(said, y, score, n_rounds):
    """Select with replacement, written down once more: start from the best prefix."""
    order = sorted(range(said.shape[1]), key=lambda k: -score(y, said[:, k]))
    starts = [order[: n + 1] for n in range(len(order))]
    taken = max(starts, key=lambda s: score(y, said[:, s].mean(axis=1)))
    path = [taken]
    for _ in range(n_rounds):
        trials = [[*path[-1], k] for k in range(said.shape[1])]
        path.append(max(trials, key=lambda s: score(y, said[:, s].mean(axis=1))))
    best = max(path, key=lambda s: score(y, said[:, s].mean(axis=1)))
    return np.bincount(best, minlength=said.shape[1]) / len(best)


@pytest.mark.parametrize(
    ("scoring", "score"),
    [(None, lambda y, p: -log_loss(y, p)), ("roc_auc", roc_auc_score)],
)
def test_greedy_selection_is_that_of_the_paper(scoring, score):
    said = opinions(150, 2)[:, :, 1]
    y = drawn(np.column_stack([1 - said @ TRUTH, said @ TRUTH]))
    meta = sf.GreedyClassifier(scoring=scoring, n_rounds=15).fit(said, y)
    assert_allclose(meta.weights_, reference_selection(said, y, score, 15))


def test_greedy_selection_is_close_to_the_convex_optimum():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4))
    y = X @ TRUTH
    meta = sf.GreedyRegressor(n_rounds=100).fit(X, y)
    assert_allclose(meta.weights_, TRUTH, atol=0.02)
    by_error = sf.GreedyRegressor(scoring="neg_mean_squared_error", n_rounds=100).fit(X, y)
    assert_array_equal(by_error.weights_, meta.weights_)


def test_bags_draw_parts_of_the_bases():
    X = np.random.default_rng(0).normal(size=(100, 4))
    meta = sf.GreedyRegressor(n_bags=200, bag_fraction=0.5, n_rounds=1, random_state=0)
    weights = meta.fit(X, X[:, 0]).weights_
    assert 0.4 < weights[0] < 0.75  # it is in half of the bags, and then takes nearly all
    assert (weights[1:] > 0.03).all()
    assert_array_equal(clone(meta).fit(X, X[:, 0]).weights_, weights)


def test_the_best_is_the_best_by_the_metric_that_was_asked_for():
    y = np.array([0, 0, 0, 1, 1, 1])
    ranks = np.array([0.1, 0.2, 0.3, 0.4, 0.45, 0.49])  # perfect order, few right labels
    labels = np.array([0.4, 0.4, 0.6, 0.6, 0.6, 0.6])
    X = np.column_stack([ranks, labels])
    assert sf.BestClassifier(scoring="roc_auc").fit(X, y).best_ == "x0"
    best = sf.BestClassifier(scoring="accuracy").fit(X, y)
    assert best.best_ == "x1"
    assert_allclose(best.scores_, [3 / 6, 5 / 6])
    assert_allclose(best.predict_proba(X)[:, 1], labels)


# ---------------------------------------------------------------------------- columns


def test_a_stack_tells_what_the_columns_are(iris):
    X, y = iris
    bases = [("nb", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=2, random_state=0))]
    stack = sf.StackingClassifier(bases, sf.ConvexClassifier(), cv=3, random_state=0).fit(X, y)
    meta = stack.final_estimator_
    assert meta.bases_ == ["nb", "tree"]
    weights = meta.weights_
    nb, tree = (stack.named_estimators_[name].predict_proba(X) for name in ("nb", "tree"))
    assert_allclose(stack.predict_proba(X), weights[0] * nb + weights[1] * tree, atol=1e-14)
    again = sf.ConvexClassifier(columns=stack.oof_.columns)
    assert_array_equal(again.fit(stack.oof_.predictions, y).weights_, weights)


def test_it_is_told_inside_searches_and_pipelines_too(iris):
    X, y = iris
    bases = [("nb", GaussianNB()), ("knn", KNeighborsClassifier())]
    search = GridSearchCV(sf.ConvexClassifier(), {"link": ["identity", "logit"]}, cv=2)
    stack = sf.StackingClassifier(bases, search, cv=3).fit(X, y)
    assert stack.final_estimator_.best_estimator_.bases_ == ["nb", "knn"]
    pipeline = make_pipeline(FunctionTransformer(), sf.GreedyClassifier())
    stack = sf.StackingClassifier(bases, pipeline, cv=3).fit(X, y)
    assert stack.final_estimator_[-1].bases_ == ["nb", "knn"]
    assert pipeline[-1].columns is None


def test_scores_become_probabilities(iris):
    X, y = iris
    bases = [("svm", LinearSVC(random_state=0)), ("nb", GaussianNB())]
    stack = sf.StackingClassifier(bases, sf.ConvexClassifier(), cv=3).fit(X, y)
    scaler, logistic = (step for _, step in stack.final_estimator_.calibrators_[0].steps)
    scores = stack.oof_.predictions[:, :3]
    wanted = LogisticRegression(tol=1e-8).fit(scaler.transform(scores), y)
    assert_allclose(logistic.coef_, wanted.coef_, rtol=1e-6)
    assert stack.final_estimator_.calibrators_[1] is None
    assert stack.score(X, y) > 0.9


def test_a_table_of_which_nothing_is_known():
    said = opinions(100, 3)
    y = drawn(said[:, 0])
    meta = sf.ConvexClassifier().fit(said.reshape(100, -1), y)
    assert meta.bases_ == ["x0", "x3", "x6", "x9"]
    meta.fit(np.log(said[:, :, 0]), y)  # four columns, three classes: scores
    assert [block.places for block in meta.blocks_] == [(0,), (1,), (2,), (3,)]
    assert None not in meta.calibrators_
    meta.fit(said[:, :, 1], y == 1)
    assert meta.calibrators_ == [None] * 4


@pytest.mark.parametrize("meta", CLASSIFIERS, ids=str)
def test_multilabel(meta, iris):
    X, y = iris
    Y = np.eye(3, dtype=int)[y]
    bases = [("knn", KNeighborsClassifier()), ("lr", MultiOutputClassifier(LogisticRegression()))]
    stack = sf.StackingClassifier(bases, meta, cv=3).fit(X, Y)
    assert stack.predict_proba(X).shape == Y.shape
    assert stack.score(X, Y) > 0.8
    shape = (2, 3) if getattr(meta, "per_class", False) else (2,)
    assert stack.final_estimator_.weights_.shape == shape


def test_labels_by_themselves_are_problems_of_two_classes():
    said = opinions(400, 2)[:, :, 1]
    other = said[:, ::-1]
    table = np.stack([said, other], axis=2).reshape(400, -1)  # base by base
    Y = np.column_stack([drawn(np.column_stack([1 - p @ TRUTH, p @ TRUTH])) for p in (said, other)])
    meta = sf.ConvexClassifier(per_class=True).fit(table, Y)
    for label, table_of_label in enumerate((said, other)):
        single = sf.ConvexClassifier().fit(table_of_label, Y[:, label])
        assert_allclose(meta.weights_[:, label], single.weights_, atol=1e-6)


@pytest.mark.parametrize("meta", [sf.ConvexClassifier(), sf.GreedyClassifier()], ids=str)
def test_pickle_and_search(meta):
    said = opinions(200, 2)[:, :, 1]
    y = np.array(["no", "yes"])[drawn(np.column_stack([1 - said @ TRUTH, said @ TRUTH]))]
    search = GridSearchCV(meta, {"link": ["identity", "logit"]}, scoring="neg_log_loss", cv=3)
    search.fit(said, y)
    twin = pickle.loads(pickle.dumps(search))
    assert_array_equal(twin.predict(said), search.predict(said))
    odds = np.log(search.predict_proba(said)[:, 1] / search.predict_proba(said)[:, 0])
    assert_allclose(search.decision_function(said), odds, atol=1e-4)


def probabilities(width=4):
    return opinions(30, 2)[:, :width, 1]


Y2 = np.arange(30) % 2
Y3 = np.arange(30) % 3


@pytest.mark.parametrize(
    ("meta", "X", "y", "message"),
    [
        (
            sf.ConvexClassifier(),
            probabilities(),
            Y3,
            "4 columns, which is not a multiple of the 3 cl",
        ),
        (
            sf.ConvexRegressor(),
            probabilities(3),
            np.eye(30)[:, :2],
            "not a multiple of the 2 columns",
        ),
        (sf.ConvexClassifier(), probabilities(3), np.eye(2)[Y2], "not a multiple of the 2 labels"),
        (sf.ConvexClassifier(), 3 * probabilities(), np.eye(2)[Y2], "which are not probabilities"),
        (sf.ConvexClassifier(link="log"), probabilities(), Y2, "link must be 'identity' or 'logi"),
        (sf.GreedyClassifier(n_rounds=0), probabilities(), Y2, "n_rounds must be"),
        (sf.GreedyClassifier(bag_fraction=2), probabilities(), Y2, "bag_fraction must be above 0"),
        (
            sf.ConvexClassifier(columns=[]),
            probabilities(),
            Y2,
            "columns describes 0 columns, but X",
        ),
        (
            sf.ConvexClassifier(columns=[Column("a", "predict", 0)] * 4),
            probabilities(),
            Y3,
            "'a' contributes class labels or numbers",
        ),
        (
            sf.ConvexClassifier(columns=[Column("a", "predict_proba", 0)] * 4),
            probabilities(),
            Y3,
            "'a' contributes 4 columns of predict_proba, but y has 3 classes",
        ),
        (
            sf.ConvexClassifier(columns=[Column("a", "predict_proba", 1)] * 4),
            2 * probabilities(),
            np.eye(4)[np.arange(30) % 4],
            "takes probabilities from 'a', but X holds",
        ),
        (
            sf.ConvexClassifier(columns=[Column("a", "decision_function", 1)] * 4),
            probabilities(),
            np.eye(4)[np.arange(30) % 4],
            "contributes decision_function, which is not a probability of a label",
        ),
    ],
)
def test_what_is_no_table_of_predictions_is_refused(meta, X, y, message):
    with pytest.raises(ValueError, match=message):
        meta.fit(X, y)


def test_numbers_that_were_probabilities_in_fit_must_be_so_later():
    meta = sf.ConvexClassifier().fit(probabilities(), Y2)
    with pytest.raises(ValueError, match=r"takes probabilities from 'x0', but X holds -1"):
        meta.predict(-np.ones((1, 4)))


def test_columns_of_x_are_refused(iris):
    stack = sf.StackingClassifier([("nb", GaussianNB())], sf.ConvexClassifier(), passthrough=True)
    with pytest.raises(ValueError, match="4 columns of X are passed through"):
        stack.fit(*iris)


# ---------------------------------------------------------------------------- the graph


def graph_of(stack, path, X):
    """Export, read the file with nothing but Keras, and return the outputs for X."""
    import keras

    sf.export(stack, path, verify=X)
    outputs = keras.models.load_model(path, safe_mode=True)(np.asarray(X, np.float64))
    return {key: np.asarray(value) for key, value in outputs.items()}


@pytest.mark.parametrize(
    ("meta", "data"), [(m, ["iris", "cancer"][k % 2]) for k, m in enumerate(CLASSIFIERS)], ids=str
)
def test_classifiers_are_exported(meta, data, request, tmp_path):
    X, y = request.getfixturevalue(data)
    bases = [
        ("svm", LinearSVC(random_state=0)),
        ("lr", LogisticRegression()),
        ("forest", RandomForestClassifier(4, random_state=0)),  # probabilities with many ties
    ]
    stack = sf.StackingClassifier(bases, meta, cv=3, random_state=0).fit(X, y)
    got = graph_of(stack, tmp_path / "stack.keras", X)
    assert_allclose(got["probabilities"], stack.predict_proba(X), atol=1e-14)
    assert_array_equal(stack.classes_[got["label"]], stack.predict(X))


@pytest.mark.parametrize(
    "meta", [sf.ConvexRegressor(), sf.GreedyRegressor(), sf.BestRegressor()], ids=str
)
def test_regressors_are_exported(meta, diabetes, tmp_path):
    X, y = diabetes
    bases = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))]
    stack = sf.StackingRegressor(bases, meta, cv=3).fit(X, y)
    got = graph_of(stack, tmp_path / "stack.keras", X)
    assert_allclose(got["prediction"], stack.predict(X), rtol=1e-14)


@pytest.mark.parametrize("meta", CLASSIFIERS[:3], ids=str)
def test_ties_stay_ties_in_the_graph(meta, tmp_path):
    votes = np.array([[0, 0], [0.5, 0.5], [1, 0], [0, 1], [0.25, 0.75], [1, 1]] * 4)
    meta = clone(meta).fit(votes, [0, 1, 0, 1, 0, 1] * 4)
    meta.weights_[...] = 0.5
    got = graph_of(meta, tmp_path / "meta.keras", votes)
    assert_array_equal(got["label"], meta.predict(votes))
    assert_array_equal(meta.predict(votes)[1:5], [0, 0, 0, 0])


@pytest.mark.parametrize("link", ["identity", "logit"])
def test_labels_are_exported(link, tmp_path):
    said = opinions(60, 3)
    X = said.reshape(60, -1)
    meta = sf.ConvexClassifier(link=link, per_class=True).fit(X, (said[:, 0] > 0.3).astype(int))
    got = graph_of(meta, tmp_path / "meta.keras", X)
    assert_allclose(got["probabilities"], meta.predict_proba(X), atol=1e-14)
    assert_array_equal(got["label"], meta.predict(X))


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_base_without_a_finite_score_loses(lost, value):
    rng = np.random.default_rng(0)
    y = rng.normal(size=30)
    X = y[:, None] + rng.normal(size=(30, 3)) * [0.1, 0.2, 0.3]
    bad = X[:, lost]

    def measure(y_true, y_pred):
        return value if np.array_equal(y_pred, bad) else -np.mean((y_true - y_pred) ** 2)

    scoring = make_scorer(measure)
    left = np.delete(np.arange(3), lost)
    best = sf.BestRegressor(scoring=scoring).fit(X, y)
    assert_array_equal(best.weights_, np.eye(3)[left[0]])
    tried: list[dict[str, Any]] = [{}, {"sorted_start": False}, {"n_bags": 4, "random_state": 0}]
    for settings in tried:
        greedy = sf.GreedyRegressor(scoring=scoring, **settings).fit(X, y)
        assert greedy.weights_[lost] == 0
        assert_allclose(greedy.weights_.sum(), 1)
    nothing = make_scorer(lambda y_true, y_pred: value)
    for meta in (sf.BestRegressor(scoring=nothing), sf.GreedyRegressor(scoring=nothing)):
        with pytest.raises(ValueError, match="is NaN or infinite for every base"):
            meta.fit(X, y)
