"""Stacking of features: what networks give their last layers, in one frame."""

import pickle

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, KFold, RepeatedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from stackfuse._keras.penultimate import penultimate
from stackfuse._oof import fitting
from stackfuse._oof.alignment import Alignment
from tests.support.parity import assert_parity

layers = keras.layers


def small(meta, units=6):
    """Return a network with one hidden layer."""
    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            layers.Dense(units, "tanh"),
            layers.Dense(meta["n_classes_"], "softmax"),
        ]
    )


def regression(meta, units=6):
    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            layers.Dense(units, "relu"),
            layers.Dense(meta["n_outputs_"]),
        ]
    )


def turned(meta):
    """Return one and the same network, of which the hidden layer is turned by chance."""
    rng = np.random.default_rng(0)
    kernel, last = rng.normal(size=(4, 6)), rng.normal(size=(6, 3))
    shift = np.random.normal(size=6)  # seeded by the random state of the estimator
    turn = np.linalg.qr(np.random.normal(size=(6, 6)))[0]
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(6), layers.Dense(3, "softmax")],
    )
    model.set_weights([kernel @ turn, shift, turn.T @ last, -shift @ turn.T @ last])
    return model


def network(**params):
    return sf.KerasClassifier(small, epochs=2, batch_size=16, **params)


def hidden_of(model, X):
    """Return what the last layer of a Sequential model with one hidden layer is given."""
    kernel, bias = model.get_weights()[:2]
    return np.tanh(X @ kernel.astype(float) + bias)


@pytest.fixture(scope="module")
def stack(iris):
    X, y = iris
    bases = [("net", network()), ("forest", RandomForestClassifier(5))]
    methods = {"net": "features"}
    return sf.StackingClassifier(bases, cv=3, stack_method=methods, random_state=0).fit(X, y)


def test_features_are_what_the_last_layer_is_given(iris):
    X, y = iris
    net = network(random_state=0).fit(X, y)
    features = net.features(X)
    assert features.dtype == np.float64
    assert_allclose(features, hidden_of(net.model_, X), atol=1e-6)


def test_alignment_finds_the_turn():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(40, 5))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    features = reference @ turn.T + rng.normal(size=5)
    alignment = Alignment.between(features[:20], reference[:20])
    assert_allclose(alignment.rotation, turn, atol=1e-12)
    assert_allclose(alignment(features), reference, atol=1e-12)


@pytest.mark.parametrize("cv", [KFold(2), RepeatedKFold(n_splits=3, n_repeats=2)])
def test_turned_fold_models_give_the_features_of_the_refitted_one(iris, cv):
    X, y = iris
    base = sf.KerasClassifier(turned, epochs=0)
    stack = sf.StackingClassifier([("net", base)], cv=cv, stack_method="features", random_state=0)
    stack.fit(X, y)
    refitted = stack.estimators_[0].features(X)
    assert_allclose(stack.oof_.predictions, refitted, atol=1e-6 * abs(refitted).max())
    apart = base.set_params(random_state=1).fit(X, y).features(X)
    assert abs(apart - refitted).max() > 1


@pytest.mark.parametrize("engine", ["sequential", "fused"])
def test_columns_are_the_formula(iris, engine):
    X, y = iris
    options = {"cv": 3, "stack_method": "features", "engine": engine, "random_state": 0}
    stack = sf.StackingClassifier([("net", network())], **options).fit(X, y)
    kept = sf.StackingClassifier([("net", network())], refit=False, **options).fit(X, y)
    refitted = hidden_of(stack.estimators_[0].model_, X)
    folds = [kept.fold_estimators_[0][0], *(e.estimator for e in kept.fold_estimators_[0][1:])]
    for fold, model in zip(stack.oof_.folds, folds):
        own = hidden_of(model.model_, X)
        a, b = own[fold.train], refitted[fold.train]
        u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
        expected = (own[fold.test] - a.mean(0)) @ u @ vt + b.mean(0)
        assert_allclose(stack.oof_.predictions[fold.test], expected, atol=2e-5)
    assert_allclose(stack.transform(X), refitted, atol=1e-5)


def test_unaligned_features_are_worse(monkeypatch):
    X, y = load_digits(return_X_y=True)
    X, y, new, truth = X[:800] / 16, y[:800], X[800:] / 16, y[800:]
    base = sf.KerasClassifier(small, units=16, epochs=15, batch_size=64)
    stack = sf.StackingClassifier(
        [("net", base)], LogisticRegression(max_iter=5000), cv=3, stack_method="features"
    ).set_params(random_state=0)
    aligned = stack.fit(X, y).predict_proba(new)
    monkeypatch.setattr(fitting, "in_one_frame", lambda fits, jobs, X: fits)
    unaligned = clone(stack).fit(X, y).predict_proba(new)
    alone = stack.estimators_[0].predict_proba(new)
    loss = [log_loss(truth, chances) for chances in (aligned, alone, unaligned)]
    assert loss[0] < loss[1] < loss[2] / 2, loss
    right = [np.mean(chances.argmax(axis=1) == truth) for chances in (aligned, unaligned)]
    assert right[0] > 0.75 > 0.25 > right[1], right


def test_stack_is_used_like_any_other(stack, iris):
    X, y = iris
    table = stack.transform(X)
    assert table.shape == (150, 6 + 3)
    assert_allclose(table[:, :6], stack.estimators_[0].features(X))
    names = stack.get_feature_names_out()
    ends = [name.removeprefix("stackingclassifier_") for name in names[[0, 5, 6]]]
    assert ends == ["net0", "net5", "forest0"]
    assert stack.oof_.to_frame().columns[:2].tolist() == ["net_0", "net_1"]
    assert stack.oof_.scores["net"] == {}
    assert isinstance(stack.final_estimator_, LogisticRegression)
    again = pickle.loads(pickle.dumps(stack))
    np.testing.assert_array_equal(again.predict_proba(X), stack.predict_proba(X))
    assert clone(stack).stack_method == {"net": "features"}
    assert stack.score(X, y) > 0.9


def test_report(stack):
    report = stack.report()
    assert report.metric == "log-loss"
    net, forest = report.bases
    assert np.isnan(net.score.mean)
    assert forest.score.mean > 0
    assert report.best is forest
    assert net.weight + forest.weight == pytest.approx(1)
    assert "log-loss" in str(report)


def test_report_of_features_alone(iris):
    X, y = iris
    stack = sf.StackingClassifier([("net", network())], cv=3, stack_method="features")
    assert "No base is scored" in str(stack.fit(X, y).report())


def test_in_one_graph(stack, iris, tmp_path):
    X, y = iris
    scaled = [("net", make_pipeline(StandardScaler(), network()))]
    options = {"cv": 3, "stack_method": "features", "random_state": 0}
    stacks = [
        stack,
        sf.StackingClassifier(scaled, passthrough=True, **options).fit(X, y),
        sf.StackingClassifier(scaled, refit=False, **options).fit(X, y),
    ]
    assert_parity(stacks, X, tmp_path / "graphs.keras", tolerance=1e-6)


def test_export_is_verified(stack, iris, tmp_path):
    X, _ = iris
    report = sf.export(stack, tmp_path / "stack.keras", verify=X)
    assert report.max_difference is not None
    assert report.max_difference < 1e-6
    outputs = keras.models.load_model(tmp_path / "stack.keras", safe_mode=True)(X)
    assert_allclose(outputs["probabilities"], stack.predict_proba(X), atol=1e-6)


def test_regression_of_several_columns(diabetes, tmp_path):
    X, y = diabetes
    Y = np.column_stack([y, -y])
    bases = [("net", sf.KerasRegressor(regression, epochs=2)), ("ridge", Ridge())]
    stack = sf.StackingRegressor(bases, cv=3, stack_method={"net": "features"}, random_state=0)
    stack.fit(X, Y)
    assert stack.oof_.predictions.shape == (200, 6 + 2)
    assert_parity([stack], X, tmp_path / "graph.keras", tolerance=1e-6)
    assert stack.report().metric == "R2"


def test_fits_are_kept_and_found(iris, tmp_path):
    X, y = iris
    base = [("net", network())]
    options = {"cv": 3, "stack_method": "features", "random_state": 0}
    plain = sf.StackingClassifier(base, **options).fit(X, y)
    stored = sf.StackingClassifier(base, memory=tmp_path, **options)
    first = stored.fit(X, y).oof_.predictions
    markers = sorted(tmp_path.rglob("done.json"))
    assert len(markers) == 4
    times = [marker.stat().st_mtime_ns for marker in markers]
    second = clone(stored).fit(X, y).oof_.predictions
    assert [marker.stat().st_mtime_ns for marker in markers] == times
    for predictions in (first, second):
        assert_allclose(predictions, plain.oof_.predictions, atol=1e-5)


def test_sample_weights_reach_network_and_meta_learner(iris):
    X, y = iris
    weight = np.where(y == 2, 0.0, 1.0)
    base = [("net", network())]
    stack = sf.StackingClassifier(base, cv=3, stack_method="features", random_state=0)
    assert set(stack.fit(X, y, sample_weight=weight).predict(X)) <= {0, 1}


def test_fitted_bases(iris):
    X, y = iris
    net = network(random_state=0).fit(X[:60], y[:60])
    stack = sf.StackingClassifier([("net", net)], cv="prefit", stack_method="features")
    stack.fit(X[60:], y[60:])
    assert_allclose(stack.oof_.predictions, hidden_of(net.model_, X[60:]), atol=1e-6)


def test_search_as_base(iris):
    X, y = iris
    inner = GridSearchCV(network(random_state=0), {"units": [6]}, cv=2)
    stack = sf.StackingClassifier([("net", inner)], cv=2, random_state=0)
    methods = ["auto", {"net": "features"}]
    widths = [stack.set_params(stack_method=m).fit(X, y).transform(X).shape[1] for m in methods]
    assert widths == [3, 6]


def test_out_of_fold(iris):
    X, y = iris
    oof = sf.out_of_fold(
        [("net", sf.KerasClassifier(turned, epochs=0))],
        X,
        y,
        cv=3,
        stack_method="features",
        random_state=0,
    )
    again = sf.StackingClassifier(
        [("net", sf.KerasClassifier(turned, epochs=0))],
        cv=3,
        stack_method="features",
        refit=False,
        random_state=0,
    ).fit(X, y)
    assert_allclose(oof.predictions, again.transform(X), atol=1e-4)
    with pytest.raises(ValueError, match="aligned to a model that was fitted then"):
        sf.StackingClassifier([("net", network())], cv=oof, stack_method="features").fit(X, y)


# ------------------------------------------------------------------ what features are


def conv():
    x = keras.Input((4, 4, 1))
    h = layers.Conv2D(2, 3, activation="relu", name="conv")(x)
    return keras.Model(
        x, layers.Activation("softmax")(layers.Dense(3)(layers.Flatten()(h)))
    ), "conv"


def convolutional_to_the_end():
    x = keras.Input((4, 4, 1))
    h = layers.Conv2D(2, 3, name="conv")(x)
    return keras.Model(x, layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(h))), "conv"


def nested():
    body = keras.Sequential([keras.Input((5,)), layers.Dense(4, "relu", name="hidden")])
    head = keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), layers.Dense(3, "softmax")])
    return keras.Sequential([keras.Input((5,)), body, head]), (body, "hidden")


def all_nested():
    whole = keras.Sequential(
        [keras.Input((5,)), layers.Dense(4, "relu", name="hidden"), layers.Dense(3)]
    )
    return keras.Sequential([keras.Input((5,)), whole, layers.Softmax()]), (whole, "hidden")


@pytest.mark.parametrize("make", [conv, convolutional_to_the_end, nested, all_nested])
def test_what_the_last_layer_is_given(make):
    model, where = make()
    owner, name = where if isinstance(where, tuple) else (model, where)
    rows = np.random.default_rng(0).normal(size=(3, *model.inputs[0].shape[1:])).astype("float32")
    hidden = keras.Model(owner.inputs[0], owner.get_layer(name).output)(rows)
    assert_allclose(penultimate(model)(rows), np.reshape(hidden, (3, -1)), atol=1e-6)


def test_several_inputs_and_outputs():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    left, right = layers.Dense(4, name="left")(a), layers.Dense(2, name="right")(b)
    both = layers.Concatenate()([left, right])
    model = keras.Model({"a": a, "b": b}, [layers.Dense(1)(left), layers.Dense(1)(both)])
    rows = {"a": np.ones((2, 2), "float32"), "b": np.ones((2, 3), "float32")}
    hidden = keras.Model({"a": a, "b": b}, [left, both])(rows)
    assert_allclose(penultimate(model)(rows), np.hstack(hidden), atol=1e-6)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = layers.Dense(3, "softmax")

    def call(self, x):
        return self.last(x)


def one_layer(meta):
    return keras.Sequential([keras.Input((4,)), layers.Flatten(), layers.Dense(3, "softmax")])


def of_any_length():
    x = keras.Input((None, 2))
    return keras.Model(x, layers.GlobalMaxPooling1D()(layers.Dense(3)(layers.Dense(2)(x))))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Subclassed, "Only its own code knows its last layer"),
        (lambda: one_layer(None), "the inputs of that layer, are X itself. Add a hidden layer"),
        (of_any_length, "no features of a fixed size.*Pool over"),
    ],
)
def test_networks_without_features_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        penultimate(model())


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "features",
            "'forest' is a RandomForestClassifier, which has none. Name the networks only",
        ),
        ({"forest": "features"}, "'forest' is a RandomForestClassifier"),
        ({"nte": "features"}, r"names 'nte', .*\['net', 'forest'\]. Did you mean 'net'"),
        ("activations", "'predict' or 'features', or a dict of these"),
    ],
)
def test_wrong_methods_are_told_before_anything_is_fitted(iris, method, message):
    bases = [("net", sf.KerasClassifier(None)), ("forest", RandomForestClassifier())]
    with pytest.raises(ValueError, match=message):
        sf.StackingClassifier(bases, stack_method=method).fit(*iris)


def test_one_layer_is_refused_with_the_base_and_the_fold(iris):
    base = [("net", sf.KerasClassifier(one_layer))]
    with pytest.raises(ValueError, match=r"(?s)with weights only.*'net' failed on fold 0"):
        sf.StackingClassifier(base, cv=2, stack_method="features").fit(*iris)


def test_too_few_rows_to_align(iris):
    base = [("net", network(units=80))]
    with pytest.raises(ValueError, match=r"(?s)75 training rows are too few to align 80.*fold 0"):
        sf.StackingClassifier(base, cv=2, stack_method="features").fit(*iris)


def test_features_are_not_weighed(iris):
    bases = [("net", network())]
    with pytest.raises(
        ValueError, match="'net' contributes features, but this meta-learner weighs predictions"
    ):
        sf.StackingClassifier(bases, sf.ConvexClassifier(), cv=2, stack_method="features").fit(
            *iris
        )
