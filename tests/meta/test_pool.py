"""The default meta-learner: its three pools, their choice, and bases that it leaves out."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from stackfuse._meta import pool as _pool


def said_by_three(n_rows=600, n_classes=3, seed=0):
    """Return classes, and probabilities of three bases: good, shy and ignorant."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, n_classes, n_rows)
    noise = generator.normal(size=(n_rows, 3, n_classes))
    scores = noise + np.array([2.5, 1.0, 0.0])[:, None] * np.eye(n_classes)[y][:, None]
    scores *= np.array([0.6, 0.5, 1.0])[:, None]
    powers = np.exp(scores)
    return powers / powers.sum(axis=2, keepdims=True), y


def test_a_logarithmic_pool_is_the_penalised_logistic_regression_it_claims_to_be():
    said, y = said_by_three()
    meta = sf.PoolClassifier(pool="logarithmic").fit(said.reshape(600, -1), y)
    logs = np.log(np.clip(said, 0.5 / 600, 1))

    def loss(numbers):
        scores = np.einsum("k,nkc->nc", numbers[:3], logs) + numbers[3:]
        scores -= scores.max(axis=1, keepdims=True)
        chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        penalty = ((numbers[:3] - 1 / 3) ** 2).sum() + (numbers[3:] ** 2).sum()
        return log_loss(y, chances) + penalty / 600

    bounds = [(0, None)] * 3 + [(None, None)] * 3
    best = minimize(loss, np.full(6, 0.1), method="SLSQP", bounds=bounds, options={"ftol": 1e-14}).x
    assert_allclose(meta.weights_, best[:3], atol=2e-3)
    assert_allclose(meta.offset_, best[3:], atol=2e-3)
    chances = meta.predict_proba(said.reshape(600, -1))
    assert_allclose(chances.sum(axis=1), 1)
    scores = np.einsum("k,nkc->nc", meta.weights_, logs) + meta.offset_
    wanted = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert_allclose(chances, wanted, rtol=1e-9)


def test_a_linear_pool_is_a_convex_one_with_the_class_shares_as_one_more_base():
    said, y = said_by_three()
    shares = np.bincount(y) / 600
    everyone = np.concatenate([said, np.tile(shares, (600, 1))[:, None]], axis=1)
    wanted = sf.ConvexClassifier().fit(everyone.reshape(600, -1), y)
    meta = sf.PoolClassifier(pool="linear").fit(said.reshape(600, -1), y)
    assert_allclose(meta.weights_, wanted.weights_[:3], atol=1e-3)
    assert_allclose(meta.offset_, wanted.weights_[3] * shares, atol=1e-3)


def test_sums_of_numbers_are_least_squares():
    generator = np.random.default_rng(0)
    y = generator.normal(3, 2, 800)
    said = np.column_stack([0.5 * y + generator.normal(0, s, 800) for s in (0.3, 0.6)])
    meta = sf.PoolRegressor(pool="free").fit(said, y)
    free = LinearRegression(positive=True).fit(said, y)
    assert_allclose(meta.weights_, free.coef_, rtol=0.05)  # the prior is worth one row
    assert_allclose(meta.offset_, free.intercept_, atol=0.05)
    assert_allclose(meta.predict(said), said @ meta.weights_ + meta.offset_[0])
    convex = sf.PoolRegressor(pool="convex").fit(said, y)
    wanted = sf.ConvexRegressor().fit(np.column_stack([said, np.full(800, y.mean())]), y).weights_
    assert_allclose(convex.weights_, wanted[:2], atol=1e-9)
    assert_allclose(convex.offset_, wanted[2] * y.mean(), atol=1e-9)
    assert sf.PoolRegressor().fit(said, y).pool_ == "free"


def test_a_base_that_is_sure_and_wrong_is_not_believed():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 200)
    sure = np.where(y == 1, 1.0, 0.0)
    sure[:2] = 1 - sure[:2]
    meta = sf.PoolClassifier(pool="logarithmic").fit(sure[:, None], y)
    assert meta.floor_ == 0.5 / 200
    chances = meta.predict_proba(np.array([[0.0], [1.0], [1e-9]]))
    assert_allclose(chances[0], chances[2])
    assert 0.9 < chances[1, 1] < 0.999


def test_the_choice_is_that_of_cross_validation():
    said, y = said_by_three()
    X = said.reshape(600, -1)
    meta = sf.PoolClassifier().fit(X, y)
    assert meta.pool_ == min(meta.losses_, key=meta.losses_.__getitem__) == "logarithmic"
    for pool, loss in meta.losses_.items():
        alone = sf.PoolClassifier(pool=pool)
        found = -cross_val_score(alone, X, y, cv=10, scoring="neg_log_loss").mean()
        assert loss == pytest.approx(found, rel=0.02)
    with pytest.raises(ValueError, match="pool must be 'auto', 'constant', 'linear' or 'logarith"):
        sf.PoolClassifier(pool="log").fit(X, y)
    with pytest.raises(ValueError, match="got 'linear'"):
        sf.PoolRegressor(pool="linear").fit(X, y)


def test_weights_of_rows_count_as_repetitions_and_their_scale_means_nothing():
    said, y = said_by_three(300)
    X = said.reshape(300, -1)
    weight = np.random.default_rng(1).integers(0, 3, 300)
    for pool in ("constant", "linear", "logarithmic"):
        meta = sf.PoolClassifier(pool=pool).fit(X, y, sample_weight=weight)
        times = np.repeat(np.arange(300), weight)
        again = sf.PoolClassifier(pool=pool).fit(X[times], y[times])
        assert_allclose(
            meta.predict_proba(X), again.predict_proba(X), atol=0.04
        )  # the prior counts rows
        scaled = clone(meta).fit(X, y, sample_weight=weight * 1e-3)
        assert_allclose(meta.predict_proba(X), scaled.predict_proba(X), atol=1e-4)


def test_labels_and_several_outputs():
    generator = np.random.default_rng(0)
    Y = generator.integers(0, 2, (400, 2))
    knows = np.clip(0.25 + 0.5 * Y + generator.normal(0, 0.1, (400, 2)), 0.01, 0.99)
    X = np.hstack([knows, generator.uniform(0.3, 0.7, (400, 2))])
    meta = sf.PoolClassifier().fit(X, Y)
    assert meta.pool_ == "logarithmic"
    odds = np.log(X) - np.log(1 - X)
    total = odds[:, :2] * meta.weights_[0] + odds[:, 2:] * meta.weights_[1] + meta.offset_
    assert_allclose(meta.predict_proba(X), 1 / (1 + np.exp(-total)), rtol=1e-9)
    for pool in ("constant", "linear"):
        chances = sf.PoolClassifier(pool=pool).fit(X, Y).predict_proba(X)
        assert chances.shape == (400, 2)
        assert ((chances > 0) & (chances < 1)).all()
    # Outputs count alike: the scale of the second does not decide.
    Y = generator.normal(size=(400, 2)) * [1, 1000]
    first = Y + generator.normal(size=(400, 2)) * [0.1, 2000]
    second = Y + generator.normal(size=(400, 2)) * [2, 100]
    weights = sf.PoolRegressor().fit(np.hstack([first, second]), Y).weights_
    assert 0.5 < weights[0] / weights[1] < 2


class Told(ClassifierMixin, BaseEstimator):
    """A classifier that counts how often it is asked, and knows nothing."""

    asked = 0

    def fit(self, X, y):
        self.classes_, self.n_features_in_ = np.unique(y), X.shape[1]
        self.share_ = np.bincount(np.searchsorted(self.classes_, y)) / len(y)
        return self

    def predict_proba(self, X):
        type(self).asked += 1
        return np.tile(1 / len(self.classes_), (len(X), len(self.classes_)))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@pytest.mark.parametrize("meta", [sf.ConvexClassifier(), sf.PoolClassifier(pool="logarithmic")])
def test_a_base_of_weight_zero_is_not_asked_and_is_not_in_the_graph(meta, tmp_path):
    X, y = load_wine(return_X_y=True)
    bases = [
        ("linear", make_pipeline(StandardScaler(), LogisticRegression())),
        ("told", Told()),
        ("bayes", GaussianNB()),
    ]
    stack = sf.StackingClassifier(bases, meta, cv=3, random_state=0).fit(X, y)
    assert stack.final_estimator_.weights_[1] == 0
    assert stack.bases_read() == [0, 2]
    before = Told.asked
    said = stack.predict_proba(X)
    assert_allclose(stack.predict(X), said.argmax(axis=1))
    assert Told.asked == before
    table = stack.transform(X)
    assert Told.asked == before + 1
    assert_allclose(said, stack.final_estimator_.predict_proba(table))
    # Nothing knows what Told does, and no graph needs to.
    report = sf.export(stack, tmp_path / "stack.keras", verify=X)
    assert report.max_difference < 1e-6
    assert_allclose(sf.compiled(stack).predict_proba(X), said, atol=1e-9)


def test_a_base_that_hardly_varies_has_weight_zero_and_its_mean_is_in_the_offset():
    said, y = said_by_three()
    generator = np.random.default_rng(0)
    idle = np.array([0.5, 0.3, 0.2]) + generator.normal(0, 1e-4, (600, 3))  # as of five folds
    X = np.hstack([said[:, :2].reshape(600, -1), idle])
    meta = sf.PoolClassifier(pool="logarithmic").fit(X, y)
    assert meta.weights_[2] == 0 < min(meta.weights_[:2])
    logs = np.log(X.reshape(600, 3, 3)).transpose(0, 2, 1)  # rows, classes, bases
    chances = meta.predict_proba(X)
    scores = logs[:, :, :2] @ meta.weights_[:2] + meta.offset_
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    assert_allclose(chances, powers / powers.sum(axis=1, keepdims=True), rtol=1e-9)
    two = sf.PoolClassifier(pool="logarithmic").fit(X[:, :6], y)  # of another prior mean
    assert_allclose(chances, two.predict_proba(X[:, :6]), atol=0.01)
    numbers = generator.normal(3, 2, 800)
    columns = [numbers + generator.normal(0, 1, 800), np.full(800, 7.0)]
    sums = sf.PoolRegressor(pool="free").fit(np.column_stack(columns), numbers)
    assert sums.weights_[1] == 0
    line = LinearRegression().fit(columns[0][:, None], numbers).predict(columns[0][:, None])
    assert_allclose(sums.predict(np.column_stack(columns)), line, atol=0.02)


@pytest.mark.parametrize(("strength", "seed", "is_idle"), [(5, 6, True), (6, 2, False)])
def test_a_base_is_idle_if_the_loss_hardly_grows_without_it(strength, seed, is_idle, monkeypatch):
    """Where the pool is sure, even a weight of a tenth may change little."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, 600)
    scores = generator.normal(size=(600, 2, 3)) * np.array([1.5, 1.0])[:, None]
    scores[:, 0] += strength * np.eye(3)[y]
    powers = np.exp(scores)
    X = (powers / powers.sum(axis=2, keepdims=True)).reshape(600, 6)
    losses, weights = [], []
    for limit in (0.0, 1.0):  # then the part of the loss is the limit
        monkeypatch.setattr(_pool, "_IDLE_LOSS", limit)
        meta = sf.PoolClassifier(pool="logarithmic").fit(X, y)
        losses.append(log_loss(y, meta.predict_proba(X)))
        weights.append(meta.weights_[1])
    assert weights[0] > 0.07
    assert (weights[1] == 0) == is_idle
    assert abs(losses[1] / losses[0] - 1) < 0.002


@pytest.mark.parametrize("ending", [".keras", ".onnx"])
def test_nothing_beats_the_constant_and_the_stack_is_it(ending, tmp_path):
    generator = np.random.default_rng(0)
    X, y = (
        generator.normal(size=(400, 3)),
        generator.choice(["a", "b", "c"], 400, p=[0.6, 0.3, 0.1]),
    )
    bases = [("forest", RandomForestClassifier(10, random_state=0)), ("bayes", GaussianNB())]
    stack = sf.StackingClassifier(bases, cv=3, random_state=0).fit(X, y)
    assert stack.final_estimator_.pool_ == "constant"
    constant = DummyClassifier(strategy="prior").fit(X, y)
    assert_allclose(stack.predict_proba(X), constant.predict_proba(X), atol=1e-12)
    assert_allclose(stack.predict_proba(X[:1]), constant.predict_proba(X[:1]), atol=1e-12)
    numbers = generator.normal(5, 1, 400)
    regressor = sf.StackingRegressor([("knn", KNeighborsRegressor()), ("tree", Ridge())], cv=3)
    regressor.fit(X, numbers)
    assert regressor.final_estimator_.pool_ == "constant"
    assert_allclose(regressor.predict(X), DummyRegressor().fit(X, numbers).predict(X))
    for number, fitted in enumerate((stack, regressor)):
        assert sf.export(fitted, tmp_path / f"{number}{ending}", verify=X).max_difference < 1e-6
        assert fitted.report().verdict.startswith("No base predicts better than a constant")


def test_a_stack_is_as_good_as_its_pool():
    X, y = load_diabetes(return_X_y=True)
    bases = [("knn", KNeighborsRegressor(10)), ("ridge", Ridge(0.1))]
    stack = sf.StackingRegressor(bases, cv=5, random_state=0).fit(X, y)
    meta = sf.PoolRegressor().fit(stack.oof_.predictions, y)
    assert_allclose(stack.final_estimator_.weights_, meta.weights_)
    wanted = stack.transform(X) @ meta.weights_ + meta.offset_[0]
    assert_allclose(stack.predict(X), wanted)


class Blend(RegressorMixin, sf.ColumnsMixin, BaseEstimator):
    """A meta-learner of the user's own, which reads the first base alone."""

    def __init__(self, columns=None):
        self.columns = columns

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def columns_read(self):
        return [0]

    def predict(self, X):
        return X[:, 0]


def test_a_meta_learner_of_ones_own_may_leave_bases_out():
    X, y = load_diabetes(return_X_y=True)
    bases = [("ridge", Ridge()), ("knn", KNeighborsRegressor())]
    stack = sf.StackingRegressor(bases, Blend(), cv=3).fit(X, y)
    assert stack.bases_read() == [0]
    assert_allclose(stack.predict(X), Ridge().fit(X, y).predict(X))
