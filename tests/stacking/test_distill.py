"""One small model from a stack: what it is taught, computed by numpy and scikit-learn."""

import pickle
import warnings
from typing import ClassVar

import keras
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import GridSearchCV, KFold, TimeSeriesSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import stackfuse as sf
from stackfuse._stacking.distilling.made_up import mixed

META = LogisticRegression(max_iter=1000)
BASES = [("nb", GaussianNB()), ("knn", KNeighborsClassifier())]
IRIS, FLOWERS = load_iris(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(150)
IRIS, FLOWERS = IRIS[ORDER], np.array(["setosa", "versicolor", "virginica"])[FLOWERS[ORDER]]
DIABETES, PROGRESS = (part[:120] for part in load_diabetes(return_X_y=True))
PLAIN = {"augment": 0, "score": False}


def build(meta):
    classes, n_labels = meta["n_classes_"], meta["n_outputs_"]
    several = meta["target_type_"] == "multilabel-indicator"
    link = None if classes is None else "sigmoid" if several else "softmax"
    n_units = n_labels if classes is None or several else classes
    last = keras.layers.Dense(n_units, activation=link)
    return keras.Sequential([keras.Input((meta["n_features_in_"],)), last])


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers what it is fitted on."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        self.seen_ = X, y, sample_weight
        return self

    def chances_of(self, X):
        """Return the weights of the labels of each row of X."""
        seen, y, weight = self.seen_
        assert weight is not None
        table = np.array(
            [[weight[(seen == row).all(1) & (y == k)].sum() for k in self.classes_] for row in X]
        )
        return table / table.sum(axis=1, keepdims=True)


def by_hand(stack, y):
    """Return what the meta-learner says out of fold, with scikit-learn alone."""
    table = stack.oof_.predictions
    said = np.zeros((len(y), len(np.unique(y))))
    for train, test in stack.oof_.folds:
        said[test] = clone(META).fit(table[train], y[train]).predict_proba(table[test])
    return said


@pytest.fixture(scope="module")
def flowers():
    return sf.StackingClassifier(BASES, META, cv=3).fit(IRIS, FLOWERS)


@pytest.fixture(scope="module")
def progress():
    bases = [("ridge", Ridge()), ("knn", KNeighborsRegressor())]
    return sf.StackingRegressor(bases, LinearRegression(), cv=KFold(3)).fit(DIABETES, PROGRESS)


def test_rows_of_fit_teach_what_was_said_of_them_out_of_fold(flowers):
    rows = np.unique(IRIS, axis=0, return_index=True)[1]  # some flowers are equal
    said = by_hand(flowers, FLOWERS)
    certain = (FLOWERS[:, None] == flowers.classes_).astype(float)
    for alpha in (0, 0.25, 1):
        student = sf.distill(flowers, Recorder(), IRIS, alpha=alpha, **PLAIN)
        wanted = alpha * certain + (1 - alpha) * said
        several = [(IRIS == IRIS[row]).all(1).sum() > 1 for row in rows]
        single = rows[~np.array(several)]
        assert_allclose(student.chances_of(IRIS[single]), wanted[single], atol=3e-3)
        assert student.classes_.tolist() == flowers.classes_.tolist()


def test_other_rows_teach_what_the_stack_says_of_them(flowers):
    others = IRIS[:20] + 0.03
    student = sf.distill(flowers, Recorder(), others, **PLAIN)
    assert_allclose(student.chances_of(others), flowers.predict_proba(others), atol=3e-3)
    both = sf.distill(flowers, Recorder(), np.vstack([IRIS, others]), alpha=0, **PLAIN)
    assert_allclose(both.chances_of(others), flowers.predict_proba(others), atol=3e-3)
    single = [k for k in range(30) if (IRIS == IRIS[k]).all(1).sum() == 1]
    assert_allclose(both.chances_of(IRIS[single]), by_hand(flowers, FLOWERS)[single], atol=3e-3)


def test_a_regressor_learns_numbers(progress):
    said = np.zeros(len(PROGRESS))
    table = progress.oof_.predictions
    for train, test in progress.oof_.folds:
        said[test] = LinearRegression().fit(table[train], PROGRESS[train]).predict(table[test])
    tree = DecisionTreeRegressor(max_depth=3, random_state=0)
    student = sf.distill(progress, tree, DIABETES, alpha=0.5, **PLAIN)
    wanted = clone(tree).fit(DIABETES, (said + PROGRESS) / 2).predict(DIABETES)
    assert_allclose(student.predict(DIABETES), wanted)
    weight = np.random.default_rng(0).uniform(size=len(PROGRESS))
    bases = [("ridge", Ridge()), ("tree", tree)]
    stack = sf.StackingRegressor(bases, cv=3).fit(DIABETES, PROGRESS, sample_weight=weight)
    student = sf.distill(stack, tree, DIABETES, alpha=1, sample_weight=weight, **PLAIN)
    wanted = clone(tree).fit(DIABETES, PROGRESS, sample_weight=weight).predict(DIABETES)
    assert_allclose(student.predict(DIABETES), wanted)
    inside = make_pipeline(StandardScaler(), tree)
    scaled = TransformedTargetRegressor(inside, func=np.negative, inverse_func=np.negative)
    student = sf.distill(stack, scaled, DIABETES, alpha=1, sample_weight=weight, **PLAIN)
    assert_allclose(student.predict(DIABETES), wanted)


def test_a_network_learns_probabilities_behind_its_scaler(flowers, tmp_path):
    network = sf.KerasClassifier(build, epochs=3, random_state=0)
    student = sf.distill(flowers, make_pipeline(StandardScaler(), network), IRIS, alpha=0, **PLAIN)
    scaler = StandardScaler().fit(IRIS)
    alone = clone(network).fit_probabilities(
        scaler.transform(IRIS), by_hand(flowers, FLOWERS), flowers.classes_
    )
    wanted = alone.predict_proba(scaler.transform(IRIS))
    assert_allclose(student.predict_proba(IRIS), wanted, atol=1e-6)
    assert_array_equal(student.predict(IRIS), flowers.classes_[wanted.argmax(axis=1)])
    assert_allclose(pickle.loads(pickle.dumps(student)).predict_proba(IRIS), wanted, atol=1e-6)
    sf.export(student, tmp_path / "student.keras")
    graph = keras.models.load_model(tmp_path / "student.keras")
    outputs = graph(IRIS.astype("float32"))
    assert_allclose(outputs["probabilities"], wanted, atol=1e-5)
    assert clone(student).fit(IRIS, FLOWERS).predict(IRIS).dtype == FLOWERS.dtype


@pytest.mark.parametrize(
    ("given", "wanted"), [({}, 0.0), ({"dropout": 0.5}, 0.5), ({"model__dropout": 0.5}, 0.5)]
)
def test_a_builder_of_numbers_leaves_dropout_out_unless_it_is_set(progress, given, wanted):
    network = sf.models.regressor(sf.models.mlp, width=2, epochs=1, random_state=0, **given)
    student = make_pipeline(StandardScaler(), network)
    taught = sf.distill(progress, student, DIABETES, **PLAIN)[-1].model_
    rates = [layer.rate for layer in taught.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [wanted] * 2
    assert network.get_params().get("dropout") == given.get("dropout")  # that of the user stays


def test_a_builder_of_probabilities_keeps_dropout(flowers):
    network = sf.models.classifier(sf.models.mlp, width=2, epochs=1, random_state=0)
    taught = sf.distill(flowers, network, IRIS, **PLAIN).model_
    assert [layer.rate for layer in taught.layers if isinstance(layer, keras.layers.Dropout)] == [
        0.1
    ] * 2


class Keeper(keras.callbacks.Callback):
    """Keeps the weights after each epoch where a test can find them."""

    kept: ClassVar[list] = []

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.model.get_weights())


def test_networks_end_with_the_average_of_their_last_epochs(progress):
    network = sf.KerasRegressor(build, epochs=7, random_state=0)
    scaled = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), network), transformer=StandardScaler()
    )
    student = sf.distill(progress, scaled, DIABETES, alpha=1, **PLAIN)  # the labels alone
    plain = clone(scaled).fit(DIABETES, PROGRESS, kerasregressor__callbacks=[Keeper()])
    mean = Keeper.kept[0]
    for t, newest in enumerate(Keeper.kept, 1):
        part = 1 / max(t / 4, 1)
        mean = [old + part * (new - old) for old, new in zip(mean, newest, strict=True)]
    weights, shift = mean
    wanted = (StandardScaler().fit_transform(DIABETES) @ weights + shift)[:, 0]
    wanted = wanted * PROGRESS.std() + PROGRESS.mean()
    assert_allclose(student.predict(DIABETES), wanted, rtol=1e-4)
    assert np.abs(plain.predict(DIABETES) - wanted).max() > 0.1
    again = clone(student).fit(DIABETES, PROGRESS)  # trained as usual
    assert_allclose(again.predict(DIABETES), plain.predict(DIABETES), rtol=1e-5)


def test_what_is_lost_is_scored_on_rows_that_no_model_has_seen(flowers):
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    told = sf.distill(flowers, tree, IRIS, alpha=0, augment=2, random_state=0).distillation_
    train, test = flowers.oof_.folds[0]
    said = by_hand(flowers, FLOWERS)
    y = FLOWERS[test]
    assert told.stack.loss == pytest.approx(log_loss(y, said[test]))
    on_labels = clone(tree).fit(IRIS[train], FLOWERS[train]).predict_proba(IRIS[test])
    assert told.on_labels.loss == pytest.approx(log_loss(y, on_labels))
    rows = np.repeat(IRIS[train], 3, axis=0)
    weight = np.where(said < 1e-3, 0, said)[train]
    twin = clone(tree).fit(rows, np.tile(flowers.classes_, len(train)), weight.ravel())
    assert told.student.loss == pytest.approx(log_loss(y, twin.predict_proba(IRIS[test])), rel=1e-3)
    assert told.difference == pytest.approx(told.student.loss - told.stack.loss)
    gain = told.on_labels.loss - told.stack.loss
    assert told.kept == pytest.approx((told.on_labels.loss - told.student.loss) / gain)
    assert (told.n_rows, told.n_made_up, told.n_scored, told.n_twin) == (450, 300, 50, 100)
    assert 0 < told.student.milliseconds < told.stack.milliseconds
    assert 0 < told.student.kilobytes < told.stack.kilobytes
    assert "Scored on 50 rows" in str(told)
    assert f"which learnt 100 rows, loses {told.difference:.4f}" in str(told)
    assert "much better than its twin" in str(told)
    alone = sf.distill(flowers, tree, IRIS, alpha=0, augment=0).distillation_
    assert "much better than its twin" not in str(alone)
    assert list(told.to_frame().index) == ["stack", "student", "on labels"]


def test_numbers_are_scored_by_r2(progress):
    told = sf.distill(progress, Ridge(), DIABETES, augment=0).distillation_
    train, test = progress.oof_.folds[0]
    alone = Ridge().fit(DIABETES[train], PROGRESS[train])
    wanted = 1 - r2_score(PROGRESS[test], alone.predict(DIABETES[test]))
    assert told.on_labels.loss == pytest.approx(wanted)


def test_rows_are_made_up_from_neighbours():
    frame = pd.DataFrame({"a": IRIS[:40, 0], "b": np.arange(40) % 3, "c": list("xyxz") * 10})
    frame["d"] = pd.Categorical(frame["c"])
    frame["e"] = pd.to_datetime("2026-01-01") + pd.to_timedelta(np.arange(40) * 7, "D")
    frame.loc[3, ["a", "e"]] = np.nan
    rows, sources = mixed(frame, 3, np.random.default_rng(0))
    assert_array_equal(rows.dtypes, frame.dtypes)
    assert all(rows[name].isin(frame[name]).all() for name in frame)
    assert len(rows) == len(sources) == 120
    table = IRIS[:40] + np.random.default_rng(0).normal(scale=1e-6, size=(40, 4))  # none are equal
    scaled = table / table.std(axis=0)
    apart = ((scaled[:, None] - scaled) ** 2).sum(axis=2)
    near = apart.argsort(axis=1)[:, 1:11]  # the first is the row itself
    one, another = np.nonzero(~np.eye(10, dtype=bool))
    rows, sources = mixed(table, 20, np.random.default_rng(0))
    ordered = np.sort(table, axis=0)
    borders = np.vstack([np.full(4, -np.inf), (ordered[1:] + ordered[:-1]) / 2, np.full(4, np.inf)])
    by_difference = []
    for row, source in zip(rows, sources, strict=True):
        swapped = (row == table[near[source]]) | (row == table[source])
        ways = table[near[source, one]] - table[near[source, another]]
        place = (ordered < row).sum(axis=0)
        ends = np.stack([borders[place + k, range(4)] - table[source] for k in (0, 1)])
        ends = np.sort(ends[:, None] / ways, axis=0)  # lengths at which each column has its value
        from_, to = np.maximum(ends[0].max(axis=1), 0), np.minimum(ends[1].min(axis=1), 1.5)
        by_difference.append((from_ <= to).any())
        assert by_difference[-1] or swapped.all(axis=1).any()
    assert 0.4 < np.mean(by_difference) < 0.65  # those that take all their own values are both
    alone = mixed(table[:1], 2, np.random.default_rng(0))[0]
    assert_array_equal(alone, table[[0, 0]])


def test_rows_by_differences_keep_what_columns_have_in_common():
    numbers = np.random.default_rng(0).permutation(np.arange(200.0))
    table = np.column_stack([numbers, -3 * numbers, numbers > 100])
    rows, sources = mixed(table, 25, np.random.default_rng(0))
    together = rows[:, 1] == -3 * rows[:, 0]
    assert together.mean() == pytest.approx(0.75, abs=0.02)  # 0.5, and half of the rest
    near = np.array([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5])
    two = np.abs(near[:, None] - near).sum() / 90  # the mean difference of two neighbours
    wanted = 0.5 * 0.5 * np.abs(near).mean() + 0.5 * 0.75 * two
    assert np.abs(rows[:, 0] - numbers[sources]).mean() == pytest.approx(wanted, abs=0.1)


def test_words_and_infinities_are_those_of_near_rows():
    frame = pd.DataFrame({"a": np.arange(40.0), "b": list("xy") * 20, "c": np.inf})
    frame["d"] = pd.Categorical(np.arange(40) % 2)
    frame.loc[7, "c"] = 1e308
    rows, sources = mixed(frame, 30, np.random.default_rng(0))
    own = (rows["b"] == frame["b"].to_numpy()[sources]).mean()
    assert 0.5 < own < 1
    assert ((rows["b"] == "y") == (rows["d"] == 1)).mean() > 0.6  # by differences, nearly always
    assert all(rows[name].isin(frame[name]).all() for name in frame)


def test_a_missing_date_leaves_the_others_apart():
    years = np.repeat([2000, 2020], 50)
    frame = pd.DataFrame({"when": pd.to_datetime([f"{year}-01-01" for year in years])})
    frame["a"] = np.random.default_rng(0).uniform(size=100)
    frame.loc[99, "when"] = pd.NaT
    rows, sources = mixed(frame, 20, np.random.default_rng(0))
    known = rows["when"].notna().to_numpy() & (sources != 99)
    assert (rows["when"].dt.year.to_numpy()[known] == years[sources[known]]).all()


def test_frames_with_text_and_rows_that_are_made_up_from_nothing():
    frame = pd.DataFrame(IRIS, columns=list("abcd"))
    frame["kind"] = np.where(frame["a"] > 5.5, "long", "short")
    encode = ColumnTransformer([("text", OneHotEncoder(), ["kind"])], remainder="passthrough")
    bases = [
        ("nb", make_pipeline(encode, GaussianNB())),
        ("tree", make_pipeline(encode, DecisionTreeClassifier(max_depth=2))),
    ]
    stack = sf.StackingClassifier(bases, META, cv=3, random_state=0).fit(frame, FLOWERS)
    tree = make_pipeline(encode, DecisionTreeClassifier(max_depth=3))
    student = sf.distill(stack, tree, frame, random_state=0)
    assert student.distillation_.n_scored == 50  # the rows of fit were known
    assert student.score(frame, FLOWERS) > 0.9
    assert not hasattr(sf.distill(stack, tree, frame[:5], **PLAIN), "distillation_")
    student = sf.distill(stack, tree, random_state=0)
    assert student.distillation_.n_scored == 0
    assert student.distillation_.n_made_up == student.distillation_.n_rows == 4500
    assert "Not scored" in str(student.distillation_)
    assert student.score(frame, FLOWERS) > 0.6


@pytest.mark.parametrize("dtype", ["S4", object])
def test_words_in_bytes(dtype):
    words = np.array([[b"red"], [b"gr\xfcn"], [b"blue"]] * 20, dtype)
    y = (words[:, 0] == b"red").astype(int)
    model = make_pipeline(OrdinalEncoder(), DecisionTreeClassifier())
    stack = sf.StackingClassifier([("tree", model)], cv=2, random_state=0).fit(words, y)
    student = sf.distill(stack, model)
    assert_array_equal(student.predict(words), y)
    assert isinstance(student[0].categories_[0][0], bytes)
    with pytest.raises(sf.NotConvertible, match=r"an array of strings.* Use the stack itself"):
        sf.compiled(stack)


def test_labels_and_several_numbers():
    labels = np.column_stack([IRIS[:, 0] > 5.5, IRIS[:, 1] > 3]).astype(int)
    bases = [("knn", KNeighborsClassifier()), ("tree", DecisionTreeClassifier(max_depth=2))]
    stack = sf.StackingClassifier(bases, sf.ConvexClassifier(), cv=3, random_state=0)
    stack.fit(IRIS, labels)
    network = sf.KerasClassifier(build, epochs=3, random_state=0)
    student = sf.distill(stack, network, IRIS, random_state=0)
    assert student.predict(IRIS).shape == (150, 2)
    assert student.distillation_.stack.loss < student.distillation_.student.loss
    with pytest.raises(ValueError, match="cannot learn the probabilities of several labels"):
        sf.distill(stack, DecisionTreeClassifier(), IRIS)
    two = np.column_stack([PROGRESS, -PROGRESS + 3])
    bases = [("ridge", Ridge()), ("knn", KNeighborsRegressor())]
    stack = sf.StackingRegressor(bases, cv=3).fit(DIABETES, two)
    student = sf.distill(stack, Ridge(), DIABETES)
    train, test = stack.oof_.folds[0]
    wanted = 1 - r2_score(
        two[test], Ridge().fit(DIABETES[train], two[train]).predict(DIABETES[test])
    )
    assert student.distillation_.on_labels.loss == pytest.approx(wanted)


def test_kinds_of_stacks():
    tree = DecisionTreeRegressor(max_depth=3, random_state=0)
    bases = [("ridge", Ridge()), ("knn", KNeighborsRegressor())]
    over_time = sf.StackingRegressor(bases, cv=TimeSeriesSplit(4)).fit(DIABETES, PROGRESS)
    student = sf.distill(over_time, Recorded(), DIABETES, alpha=0, **PLAIN)
    first = ~over_time.oof_.mask
    assert_allclose(student.seen_[1][first], PROGRESS[first])  # nothing was said of these
    passing = sf.StackingRegressor(bases, passthrough=True, refit=False, cv=3)
    passing.fit(DIABETES, PROGRESS)
    scaled = TransformedTargetRegressor(tree, transformer=StandardScaler())
    student = sf.distill(passing, scaled, DIABETES, augment=0)
    assert student.distillation_.n_scored == 40
    search = GridSearchCV(passing, {"knn__n_neighbors": [3, 5]}, cv=2).fit(DIABETES, PROGRESS)
    assert sf.distill(search, tree, DIABETES, augment=0).distillation_.n_scored == 40


class Recorded(Ridge):
    """Remembers what it is fitted on."""

    def fit(self, X, y, sample_weight=None):
        self.seen_ = X, y, sample_weight
        return super().fit(X, y)


def test_several_inputs():
    X = sf.MultiInput(left=IRIS[:, :2], right=IRIS[:, 2:])
    left = make_pipeline(sf.Pick("left"), GaussianNB())
    right = make_pipeline(sf.Pick("right"), GaussianNB())
    stack = sf.StackingClassifier([("left", left), ("right", right)], cv=3).fit(X, FLOWERS)
    tree = make_pipeline(sf.Pick("right"), DecisionTreeClassifier(max_depth=3))
    student = sf.distill(stack, tree, X)
    assert student.distillation_.n_made_up == 0
    assert student.score(X, FLOWERS) > 0.9
    with pytest.raises(ValueError, match="Use augment=0"):
        sf.distill(stack, tree, X, augment=1)


def test_equal_calls_give_equal_students_and_change_nothing(flowers):
    tree, before = DecisionTreeClassifier(), flowers.predict_proba(IRIS)
    one, other = (sf.distill(flowers, tree, IRIS, random_state=3) for _ in range(2))
    assert_array_equal(one.predict_proba(IRIS), other.predict_proba(IRIS))
    assert one.distillation_.student.loss == other.distillation_.student.loss
    assert not hasattr(tree, "classes_")
    assert_array_equal(flowers.predict_proba(IRIS), before)


def test_rows_of_fit_in_another_order_are_told(flowers):
    with pytest.warns(UserWarning, match="Pass the X of fit"):
        sf.distill(flowers, Recorder(), IRIS[::-1], **PLAIN)
    with pytest.warns(UserWarning, match="Pass the X of fit"):
        sf.distill(flowers, Recorder(), IRIS[:100], **PLAIN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sf.distill(flowers, Recorder(), IRIS + 0.01, **PLAIN)


@pytest.mark.parametrize(
    ("student", "given", "error", "said"),
    [
        (DecisionTreeRegressor(), {}, TypeError, "teaches a classifier, got the student"),
        (DecisionTreeClassifier, {}, TypeError, "student must be a classifier"),
        (KNeighborsClassifier(), {}, ValueError, "KNeighborsClassifier.fit takes no sample_weight"),
        (DecisionTreeClassifier(), {"alpha": 2}, ValueError, "alpha must be a number from 0 to 1"),
        (DecisionTreeClassifier(), {"augment": -1}, ValueError, "augment must be 'auto' or"),
        (DecisionTreeClassifier(), {"score": "no"}, ValueError, "score must be True or False"),
        (DecisionTreeClassifier(), {"sample_weight": [1]}, ValueError, "X has 150 rows"),
        (
            sf.KerasClassifier(build, class_weight="balanced"),
            {},
            ValueError,
            "Use class_weight=None",
        ),
    ],
)
def test_what_has_no_meaning_is_told(flowers, student, given, error, said):
    with pytest.raises(error, match=said):
        sf.distill(flowers, student, IRIS, **given)


def test_stacks_that_cannot_teach_are_told(flowers):
    tree = DecisionTreeClassifier()
    with pytest.raises(ValueError, match="Pass X too"):
        sf.distill(flowers, tree, sample_weight=np.ones(150))
    with pytest.raises(TypeError, match=r"distill\(pipeline\[-1\]\)"):
        sf.distill(make_pipeline(StandardScaler(), flowers), tree, IRIS)
    labels_only = sf.StackingClassifier(BASES, LinearSVC(), cv=3).fit(IRIS, FLOWERS)
    with pytest.raises(ValueError, match="refit_final"):
        sf.distill(labels_only, tree, IRIS)
