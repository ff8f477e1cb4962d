"""Networks inside of pipelines and other estimators, trained side by side, against scikit-learn."""

import gc
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
import sklearn
from greenlet import getcurrent, greenlet
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import make_classification, make_regression
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import stackfuse as sf

X, y = make_classification(90, 6, n_informative=4, random_state=0)
X *= np.arange(1, 7)
FRAME = pd.DataFrame(X, columns=list("abcdef")).assign(kind=np.where(X[:, 0] > 0, "u", "v"))
NUMBERS = make_regression(90, 6, noise=5, random_state=0)


def build(meta, width=4):
    inputs = keras.Input((meta["n_features_in_"],))
    hidden = keras.layers.Dense(width, "relu")(inputs)
    outputs = [1, "sigmoid"] if meta["classes_"] is not None else [1]
    return keras.Model(inputs, keras.layers.Dense(*outputs)(hidden))


def network(epochs=2, **params):
    return sf.KerasClassifier(build, epochs=epochs, random_state=1, **params)


def open_fits():
    """Return the coroutines that are not done, but for that of the thread."""
    gc.collect()
    return [g for g in gc.get_objects() if isinstance(g, greenlet) and g and g is not getcurrent()]


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)


class OwnFit(sf.KerasClassifier):
    """A network with a fit of its own, which calls that of its class."""

    def fit(self, X, y):
        return super().fit(X / 10, y)

    def predict_proba(self, X):
        return super().predict_proba(X / 10)


COLUMNS = make_column_transformer(
    (StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["kind"]), remainder="drop"
)
CASES = {
    "pipeline": (scaled(network()), X),
    "two scalers": (scaled(scaled(network(validation_split=0.2))), X),
    "columns of a frame": (make_pipeline(COLUMNS, network()), FRAME),
    "frozen scaler": (make_pipeline(FrozenEstimator(StandardScaler().fit(X)), network()), X),
    "calibrated": (CalibratedClassifierCV(scaled(network()), cv=2), X),
    "bags": (BaggingClassifier(scaled(network()), 2, random_state=0), X),
    "vote": (
        VotingClassifier(
            [("n", scaled(network())), ("f", RandomForestClassifier(3, random_state=0))],
            voting="soft",
        ),
        X,
    ),
    "one against the rest": (OneVsRestClassifier(scaled(network())), X),
    "a fit of its own": (OwnFit(build, epochs=2, random_state=1), X),
}


@pytest.mark.parametrize("name", CASES)
def test_networks_within_are_trained_side_by_side(name):
    estimator, rows = CASES[name]
    stack = sf.StackingClassifier(
        [("base", estimator)], DummyClassifier(), cv=3, engine="fused"
    ).fit(rows, y)
    assert stack.engine_ == {"base": "side by side"}
    alone = cross_val_predict(estimator, rows, y, cv=3, method="predict_proba")
    assert_allclose(stack.oof_.predictions[:, -1], alone[:, -1], atol=5e-5)
    whole = clone(estimator).fit(rows, y)
    assert_allclose(stack.estimators_[0].predict_proba(rows), whole.predict_proba(rows), atol=5e-5)


def with_callbacks():
    """Return a network as people have it, long enough for a graph to pay."""
    lower = keras.callbacks.ReduceLROnPlateau("loss", patience=1)
    stop = keras.callbacks.EarlyStopping("loss", patience=3)
    return scaled(network(40, callbacks=[lower, stop], optimizer__clipnorm=1.0))


@pytest.mark.parametrize("rows", [X, FRAME[list("abcdef")]], ids=["array", "frame"])
def test_a_default_stack_of_a_pipeline_with_callbacks(rows):
    estimator = with_callbacks()
    stack = sf.StackingClassifier([("base", estimator)]).fit(rows, y)
    assert stack.engine_ == {"base": "side by side"}
    alone = cross_val_predict(estimator, rows, y, method="predict_proba")
    assert_allclose(stack.oof_.predictions[:, -1], alone[:, -1], atol=5e-5)


def test_a_default_stack_of_a_pipeline_with_callbacks_in_a_search():
    stack = sf.StackingClassifier([("base", with_callbacks())])
    grid = {"final_estimator": [LogisticRegression()]}
    together = GridSearchCV(stack, grid, cv=2).fit(X, y)
    apart = GridSearchCV(clone(stack).set_params(engine="sequential"), grid, cv=2).fit(X, y)
    assert together.best_estimator_.engine_ == {"base": "side by side"}
    probabilities = [search.predict_proba(X) for search in (together, apart)]
    assert_allclose(*probabilities, atol=5e-5)
    assert together.best_score_ == pytest.approx(apart.best_score_)


def test_under_a_transformed_target():
    rows, numbers = NUMBERS
    regressor = sf.KerasRegressor(build, epochs=3, random_state=0)
    estimator = TransformedTargetRegressor(scaled(regressor), transformer=StandardScaler())
    oof = sf.out_of_fold([("base", estimator)], rows, numbers, cv=3, engine="fused")
    assert_allclose(oof.predictions[:, 0], cross_val_predict(estimator, rows, numbers, cv=3), 1e-4)


def test_a_search_within_goes_on_after_a_fit_that_diverges():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn tells of every fit that failed
        grid = {"optimizer__learning_rate": [1e30, 0.01], "width": [4]}
        search = GridSearchCV(network(), grid, cv=2, error_score=0.0)
        together = sf.StackingClassifier(
            [("base", search)], LogisticRegression(), cv=3, engine="fused", refit=False
        ).fit(X, y)
        apart = clone(together).set_params(engine="sequential").fit(X, y)
    assert apart.engine_ == {"base": "one by one"}
    for one, other in zip(together.fold_estimators_[0], apart.fold_estimators_[0], strict=True):
        scores = other.cv_results_["mean_test_score"]
        assert scores[0] == 0.0
        assert scores[1] > 0.0
        assert_allclose(one.cv_results_["mean_test_score"], scores, atol=1e-6)
    assert_allclose(together.oof_.predictions, apart.oof_.predictions, atol=5e-5)


def test_folds_of_other_widths_are_fitted_one_by_one():
    words = [f"w{k}" if k < 30 else "w0" for k in range(90)]
    words = pd.DataFrame({"word": words, "size": X[:, 0]})
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["word"]),
        remainder=StandardScaler(),
    )
    estimator = make_pipeline(encoder, network(epochs=20))
    folds = [(np.arange(n, 90), np.arange(n)) for n in (20, 28, 30)]
    assert len({words.word[train].nunique() for train, _ in folds}) == len(folds)
    stack = sf.StackingClassifier([("base", estimator)], LogisticRegression(), cv=folds)
    stack.fit(words, y)
    assert stack.engine_ == {"base": "one by one: no other network has its architecture"}
    expected = [clone(estimator).fit(words.loc[t], y[t]) for t, _ in folds]
    covered = np.mean([m.predict_proba(words[:20])[:, 1] for m in expected], axis=0)
    assert_allclose(stack.oof_.predictions[:20, -1], covered, atol=5e-5)


class NoisyScaler(TransformerMixin, BaseEstimator):
    """Sets what is set for the whole thread, and what it finds set is noted."""

    def fit(self, X, y=None):
        warnings.warn("scaled", UserWarning, stacklevel=2)
        return self

    def transform(self, X):
        return np.asarray(X) / 10

    def __sklearn_is_fitted__(self):
        return True


class Quiet(BaseEstimator):
    """Fits within ``with`` statements, in which its fits are stopped; looks what holds after."""

    _estimator_type = "classifier"

    def __init__(self, inner, seen=None):
        self.inner = inner
        self.seen = seen

    def fit(self, X, y):
        place = f"fold of {X[0, 0]}"
        with warnings.catch_warnings(), sklearn.config_context(working_memory=len(X)):
            warnings.filterwarnings("ignore", message=place)
            self.inner_ = clone(self.inner).fit(X, y)
            self.kept_ = sklearn.get_config()["working_memory"] == len(X)
            self.filter_ = sum(place in str(entry[1]) for entry in warnings.filters)
        self.after_ = sum("fold of" in str(entry[1]) for entry in warnings.filters)
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)

    predict = None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        return tags


def test_what_is_set_around_a_fit_holds_for_this_fit_alone():
    before = list(warnings.filters), sklearn.get_config()
    stack = sf.StackingClassifier(
        [("base", Quiet(scaled(network())))],
        LogisticRegression(),
        cv=3,
        engine="fused",
        refit=False,
    ).fit(X, y)
    for quiet in stack.fold_estimators_[0]:
        assert quiet.kept_
        assert quiet.filter_ == 1
        assert quiet.after_ == 0
    assert (list(warnings.filters), sklearn.get_config()) == before


class FailsOnFew(NoisyScaler):
    def fit(self, X, y=None):
        if len(X) < 60:
            raise OSError("too few rows")
        return self


def test_a_transformer_that_fails_is_named_with_its_fold_and_no_fit_stays_open():
    estimator = make_pipeline(FailsOnFew(), network())
    folds = [(np.arange(60), np.arange(60, 90)), (np.arange(50), np.arange(50, 90))]
    stack = sf.StackingClassifier(
        [("base", estimator)], LogisticRegression(), cv=folds, engine="fused"
    )
    with pytest.raises(OSError, match="too few rows") as failure:
        stack.fit(X, y)
    assert failure.value.__notes__ == ["Base estimator 'base' failed on fold 1."]
    del failure
    assert not open_fits()


class Interrupt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


def test_an_interrupt_ends_all_fits():
    estimator = scaled(network(callbacks=[Interrupt()]))
    stack = sf.StackingClassifier([("base", estimator)], LogisticRegression(), cv=3)
    with pytest.raises(KeyboardInterrupt):
        stack.fit(X, y)
    assert not hasattr(stack, "engine_")
    assert not open_fits()


def test_what_ran_is_said_of_every_base_and_with_verbose_in_a_line(capsys):
    optimizer = keras.optimizers.Adafactor()
    bases = [
        ("scaled", scaled(network(epochs=40))),
        ("factored", network(optimizer=optimizer)),
        ("forest", RandomForestClassifier(3, random_state=0)),
    ]
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=3, verbose=1).fit(X, y)
    assert stack.engine_ == {
        "scaled": "side by side",
        "factored": "one by one: the optimizer Adafactor looks at whole tensors",
        "forest": "one by one",
    }
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == (
        "Base estimators were fitted: scaled side by side, factored one by one: the optimizer "
        "Adafactor looks at whole tensors, forest one by one."
    )


def test_numpys_random_state_is_drawn_from_as_in_a_loop():
    drawn = []
    for engine in ("fused", "sequential"):
        np.random.seed(3)
        estimator = scaled(sf.KerasClassifier(build, epochs=1))
        drawn.append(sf.out_of_fold([("base", estimator)], X, y, cv=3, engine=engine).predictions)
        drawn.append(np.random.random())
    assert_allclose(drawn[0], drawn[2], atol=5e-5)
    assert_array_equal(drawn[1], drawn[3])


@pytest.mark.parametrize("engine", ["fused", "sequential"])
def test_files_of_callbacks_are_named_after_the_fold(engine, tmp_path):
    path = tmp_path / "fold {fold}, epoch {epoch}.weights.h5"
    saved = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    logged = keras.callbacks.CSVLogger(tmp_path / "{fold}.csv")
    estimator = scaled(network(callbacks=[saved, logged]))
    stack = sf.StackingClassifier([("b", estimator)], LogisticRegression(), cv=2, engine=engine)
    stack.fit(X, y)
    folds = ["0", "1", "all"]
    weights = [f"fold {fold}, epoch {epoch}.weights.h5" for fold in folds for epoch in (1, 2)]
    assert {p.name for p in tmp_path.iterdir()} == {*weights, *(f"{fold}.csv" for fold in folds)}
    trained = stack.estimators_[0][-1].model_
    copy = keras.models.clone_model(trained)
    copy.load_weights(tmp_path / "fold all, epoch 2.weights.h5")
    for one, other in zip(copy.get_weights(), trained.get_weights(), strict=True):
        assert_array_equal(one, other)


class Noting(keras.callbacks.Callback):
    """Notes every training that begins."""

    def __init__(self, begun):
        super().__init__()
        self.begun = begun

    def on_train_begin(self, logs=None):
        self.begun.append(self.params["epochs"])

    def __deepcopy__(self, memo):
        return Noting(self.begun)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (LogisticRegression(), "not a stackfuse network"),
        (network(optimizer="adafactor"), "looks at whole tensors"),
        (scaled(network(run_eagerly=True)), "run_eagerly"),
    ],
    ids=["no network", "optimizer", "pipeline"],
)
def test_fused_refuses_before_any_base_is_trained(refused, reason):
    begun = []
    bases = [("good", network(callbacks=[Noting(begun)])), ("bad", refused)]
    with pytest.raises(ValueError, match=rf"(?s){reason}.*'bad' failed"):
        sf.StackingClassifier(bases, engine="fused", cv=3).fit(X, y)
    assert not begun
    sf.StackingClassifier(bases[:1], engine="fused", cv=3).fit(X, y)
    assert begun == [2] * 4
