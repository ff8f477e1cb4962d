"""Habits of people with their networks, in a stack whose settings are all left alone.

Some of it cannot be trained side by side. The stack finds that out by itself, before it trains
anything, and its numbers are those of a loop, bit for bit.
"""

import itertools
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers as L
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from stackfuse._oof.jobs import derived_seed

ROWS = np.random.default_rng(0).permutation(150)[:60]
X, y = (array[ROWS] for array in load_iris(return_X_y=True))
FRAME = pd.DataFrame(X, columns=["a", "b", "c", "d"])
SIZE = X[:, 2]  # a number to predict


def build():
    return keras.Sequential([keras.Input((4,)), L.Dense(3, "softmax")])


def build_number():
    return keras.Sequential([keras.Input((4,)), L.Dense(1)])


def of(*layers):
    """Return a builder of a model with these hidden layers, which are made anew."""

    def build():
        return keras.Sequential(
            [
                keras.Input((4,)),
                *(make() for make in layers),
                L.Dense(3, "softmax", dtype="float32"),
            ]
        )

    return build


class Halve(keras.callbacks.Callback):
    """Halves the weights after every epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([0.5 * value for value in self.model.get_weights()])


class Scaled(L.Layer):
    """Code of the user's own, which can be trained side by side."""

    def call(self, x):
        return 0.5 * x


class Counted(L.Layer):
    """Code of the user's own that computes something else with every call."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.n_calls = 0

    def call(self, x):
        self.n_calls += 1
        return x * (1.0 + self.n_calls / 16)


class OwnStep(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def own_step():
    return OwnStep([keras.Input((4,)), L.Dense(3, "softmax")])


def compiled_without_decay_of_biases():
    model = build()
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


BACKBONE = keras.Sequential([keras.Input((4,)), L.Dense(4, "relu")])
BACKBONE.trainable = False


def frozen_backbone():
    return keras.Sequential([keras.Input((4,)), BACKBONE, L.Dense(3, "softmax")])


def other_sizes():
    """Return a model whose size depends on the seed of the fold."""
    units = int(np.random.randint(2, 9))
    return keras.Sequential([keras.Input((4,)), L.Dense(units, "relu"), L.Dense(3, "softmax")])


def by_weight(**settings):
    return {f"optimizer__{name}": value for name, value in settings.items()}


CALLBACKS = {
    "ReduceLROnPlateau": lambda _: keras.callbacks.ReduceLROnPlateau("loss", patience=0),
    "LearningRateScheduler": lambda _: keras.callbacks.LearningRateScheduler(
        lambda epoch: 0.1 / (1 + epoch)
    ),
    "ModelCheckpoint": lambda folder: keras.callbacks.ModelCheckpoint(folder / "best.keras"),
    "TerminateOnNaN": lambda _: keras.callbacks.TerminateOnNaN(),
    "CSVLogger": lambda folder: keras.callbacks.CSVLogger(folder / "log.csv"),
    "BackupAndRestore": lambda folder: keras.callbacks.BackupAndRestore(folder / "backup"),
    "LambdaCallback": lambda _: keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: None),
    "one's own": lambda _: Halve(),
    "a class": lambda _: keras.callbacks.TerminateOnNaN,
    "several": lambda folder: [
        keras.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.CSVLogger(folder / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
    ],
    "by name": lambda _: {"stop": keras.callbacks.EarlyStopping("loss"), "halve": Halve()},
}

SETTINGS = {
    "clipnorm": by_weight(clipnorm=0.1),
    "clipvalue": by_weight(clipvalue=0.01),
    "global_clipnorm": by_weight(global_clipnorm=0.1),
    "use_ema": by_weight(use_ema=True, ema_momentum=0.9),
    "SwapEMAWeights": {
        **by_weight(use_ema=True),
        "callbacks": keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
    },
    "gradient accumulation": by_weight(gradient_accumulation_steps=2),
    "loss scale": by_weight(loss_scale_factor=128.0),
    "Adafactor": {"optimizer": keras.optimizers.Adafactor(0.1)},
    "Muon": {"optimizer": keras.optimizers.Muon(0.01)},
    "Lamb": {"optimizer": keras.optimizers.Lamb(0.1)},
    "LossScaleOptimizer": {
        "optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    },
    "schedule": {
        "optimizer": keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5))
    },
    "weights without decay": {"model": compiled_without_decay_of_biases, "optimizer": "adam"},
    "validation_freq": {"fit__validation_freq": 2, "validation_split": 0.2},
    "validation": {
        "validation_split": 0.2,
        "callbacks": [keras.callbacks.ReduceLROnPlateau(patience=0)],
    },
    "verbose": {"verbose": 2},
    "run_eagerly": {"compile__run_eagerly": True, "epochs": 1},
    "jit_compile": {"compile__jit_compile": True},
    "steps_per_execution": {"compile__steps_per_execution": 2},
    "constraint": {"model": of(lambda: L.Dense(4, kernel_constraint="max_norm"))},
    "mixed_float16": {"model": of(lambda: L.Dense(4, "relu", dtype="mixed_float16"))},
    "normalization and dropout": {
        "model": of(L.BatchNormalization, lambda: L.Dropout(0.5)),
        **by_weight(clipnorm=1.0),
    },
    "train_step": {"model": own_step},
    "warm_start": {"warm_start": True, **by_weight(clipnorm=1.0)},
    "class_weight": {"class_weight": "balanced", **by_weight(clipnorm=1.0)},
    "frozen backbone": {"model": frozen_backbone},
    "other sizes": {"model": other_sizes, "epochs": 200},
    "counted calls": {"model": of(Counted)},
    "no epochs": {"epochs": 0},
}


def network(model=build, **settings):
    return sf.KerasClassifier(model, **{"epochs": 2, "batch_size": 16, **settings})


def assert_same(stack, other, rows=X, other_rows=None):
    other_rows = rows if other_rows is None else other_rows
    assert stack.failures_ == other.failures_ == {}
    assert_array_equal(stack.oof_.predictions, other.oof_.predictions)
    assert stack.oof_.histories == other.oof_.histories
    assert_array_equal(stack.predict(rows), other.predict(other_rows))
    if hasattr(stack, "predict_proba"):
        assert_array_equal(stack.predict_proba(rows), other.predict_proba(other_rows))


def check(net):
    """Compare a stack of one network with one in a loop, and with a clone fitted on one fold."""
    bases = [("net", net)]
    stack = sf.StackingClassifier(bases, random_state=0, on_error="drop").fit(X, y)
    loop = sf.StackingClassifier(bases, random_state=0, engine="sequential").fit(FRAME, y)
    assert_same(stack, loop, X, FRAME)
    train, test = stack.oof_.folds[1]
    seed = derived_seed(derived_seed(0, "net", 1), "random_state")
    alone = clone(net).set_params(random_state=seed).fit(X[train], y[train])
    assert_array_equal(stack.oof_.predictions[test], alone.predict_proba(X[test]))


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks(name, tmp_path):
    check(network(callbacks=CALLBACKS[name](tmp_path)))


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name):
    check(network(**SETTINGS[name]))


def stack_of(*bases, kind=sf.StackingClassifier, **settings):
    return kind([(f"net{k}", base) for k, base in enumerate(bases)], random_state=0, **settings)


CLIPPED = network(optimizer="adafactor", optimizer__clipnorm=0.1)  # looks at whole tensors
WATCHED = network(optimizer="adafactor", callbacks=[Halve()])
SIDE_BY_SIDE = network(of(Scaled))


def test_networks_that_decline_beside_one_that_does_not():
    bases = CLIPPED, SIDE_BY_SIDE, WATCHED, LogisticRegression()
    stack = stack_of(*bases, on_error="drop").fit(FRAME, y)
    loop = stack_of(*bases, engine="sequential").fit(FRAME, y)
    assert stack.failures_ == {}
    for name in ("net0", "net2", "net3"):
        one, other = (s.oof_.select([name]).predictions for s in (stack, loop))
        assert_array_equal(one, other)
    one, other = (s.oof_.select(["net1"]).predictions for s in (stack, loop))
    np.testing.assert_allclose(one, other, atol=1e-5)  # trained side by side: up to rounding


def test_regression():
    net = sf.KerasRegressor(build_number, epochs=2, optimizer__clipnorm=0.1)
    other = clone(net).set_params(callbacks=[Halve()])
    settings = {"kind": sf.StackingRegressor}
    stack = stack_of(net, other, **settings).fit(FRAME, SIZE)
    loop = stack_of(net, other, engine="sequential", **settings).fit(X, SIZE)
    assert_same(stack, loop, FRAME, X)


def test_out_of_fold():
    bases = [("net", CLIPPED), ("watched", WATCHED)]
    loop, auto, many = (
        sf.out_of_fold(bases, X, y, random_state=0, engine=engine, n_jobs=n_jobs)
        for engine, n_jobs in (("sequential", None), ("auto", None), ("auto", 2))
    )
    assert_array_equal(auto.predictions, loop.predictions)
    assert_array_equal(many.predictions, loop.predictions)


@pytest.fixture(scope="module")
def loop():
    return stack_of(CLIPPED, WATCHED, engine="sequential").fit(X, y)


@pytest.mark.parametrize("settings", [{"verbose": 1}, {"n_jobs": 2}, {"memory": True}], ids=str)
def test_other_settings_of_the_stack(loop, settings, tmp_path, capsys):
    settings = {"memory": tmp_path} if "memory" in settings else settings
    stack = stack_of(CLIPPED, WATCHED, **settings).fit(X, y)
    assert_same(stack, loop)
    assert ("base net1" in capsys.readouterr().out) == ("verbose" in settings)
    if "memory" in settings:
        assert_same(stack_of(CLIPPED, WATCHED, **settings).fit(X, y), loop)


@pytest.mark.parametrize("verbose", [0, 1])
def test_inside_a_pipeline_and_a_stack(verbose, capsys):
    stack, loop = stack_of(CLIPPED, verbose=verbose), stack_of(CLIPPED, engine="sequential")
    pipe = make_pipeline("passthrough", stack).fit(FRAME, y)
    assert_array_equal(pipe.predict_proba(FRAME), clone(loop).fit(X, y).predict_proba(X))
    assert ("base net0" in capsys.readouterr().out) == bool(verbose)
    assert_same(stack_of(stack, cv=2).fit(X, y), stack_of(loop, cv=2).fit(X, y))


def test_inside_a_search():
    stack, loop = stack_of(CLIPPED, verbose=1), stack_of(CLIPPED, engine="sequential")
    meta = {"final_estimator": [None, LogisticRegression()]}
    search = GridSearchCV(stack, meta, cv=2, error_score="raise").fit(X, y)
    loop.set_params(**search.best_params_).fit(X, y)
    assert_array_equal(search.predict_proba(X), loop.predict_proba(X))


def test_a_network_inside_a_pipeline():
    scaled = make_pipeline(StandardScaler(), CLIPPED)
    stack = stack_of(scaled, verbose=1).fit(FRAME, y)
    assert_same(stack, stack_of(scaled, engine="sequential").fit(FRAME, y), FRAME)


class Fails(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise RuntimeError("the disk is full")


def test_a_callback_that_fails_is_named_with_its_fold():
    bases = network(callbacks=[Fails()]), CLIPPED
    with pytest.raises(RuntimeError, match=r"(?s)the disk is full.*'net0' failed on fold 0"):
        stack_of(*bases).fit(X, y)
    with pytest.warns(UserWarning, match="'net0' failed on fold 0 and is dropped"):
        stack = stack_of(*bases, on_error="drop").fit(X, y)
    assert list(stack.failures_) == ["net0"]
    loop = stack_of(*bases, on_error="drop", engine="sequential")
    with pytest.warns(UserWarning, match="'net0' failed on fold 0 and is dropped"):
        loop.fit(X, y)
    assert_array_equal(stack.predict_proba(X), loop.predict_proba(X))


EVENTS: list[str] = []


class Noting(keras.callbacks.Callback):
    """Notes what happens, in the order in which it does."""

    def on_train_begin(self, logs=None):
        EVENTS.append("begin")

    def on_epoch_end(self, epoch, logs=None):
        EVENTS.append(f"epoch {epoch}")


def noting():
    EVENTS.append("build")
    warnings.warn("built", UserWarning, stacklevel=2)
    return build()


def test_a_network_that_declines_is_built_and_trained_once_a_fold():
    notes = []
    for engine in ("auto", "sequential"):
        EVENTS.clear()
        net = network(noting, callbacks=[Noting()], optimizer="adafactor")
        with pytest.warns(UserWarning, match="^built$") as warned:
            stack_of(net, engine=engine).fit(X, y)
        notes.append(list(EVENTS))
        assert len(warned) == 6
    assert notes[0] == notes[1] == ["build", "begin", "epoch 0", "epoch 1"] * 6


@pytest.mark.parametrize("model", [build, of(Counted), other_sizes], ids=lambda f: f.__name__)
def test_numpys_global_random_state_is_left_where_a_loop_leaves_it(model):
    left = []
    for engine in ("auto", "sequential"):
        np.random.seed(3)  # networks without a random state are seeded from it
        net = network(model, epochs=2 if model is not other_sizes else 200, shuffle=False)
        oof = sf.out_of_fold([("net", net)], X, y, cv=3, engine=engine)
        left.append((oof.predictions, np.random.get_state(legacy=False)["state"]["key"]))
    assert_array_equal(left[0][0], left[1][0])
    assert_array_equal(left[0][1], left[1][1])


class Tasks:
    """A callback of scikit-learn that notes which tasks begin and end."""

    max_propagation_depth = None

    def __init__(self):
        self.begun, self.ended = [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(path_of(context))

    def on_fit_task_end(self, estimator, context):
        self.ended.append(path_of(context))


def path_of(context):
    """Return the names and numbers of a task and those around it."""
    name = context.source_task_name or context.task_name, context.task_id
    return name if context.parent is None else (*path_of(context.parent), *name)


@pytest.mark.parametrize(
    "net",
    [CLIPPED, WATCHED, network(of(Counted)), network(epochs=0), SIDE_BY_SIDE],
    ids=["clipnorm", "callback", "counted calls", "no epochs", "side by side"],
)
def test_every_task_begins_once_and_ends(net):
    auto, loop = Tasks(), Tasks()
    stack_of(net).set_callbacks(auto).fit(X, y)
    stack_of(net, engine="sequential").set_callbacks(loop).fit(X, y)
    assert sorted(map(str, auto.begun)) == sorted(map(str, auto.ended))
    assert len(set(auto.begun)) == len(auto.begun)
    assert sorted(map(str, auto.begun)) == sorted(map(str, loop.begun))
    if net is not SIDE_BY_SIDE:
        assert auto.begun == loop.begun
        assert auto.ended == loop.ended


def test_scores_of_a_network_during_its_fit_are_those_of_its_fold():
    logs = []
    for engine in ("fused", "sequential"):
        monitor = ScoringMonitor(scoring="neg_log_loss")
        stack_of(clone(SIDE_BY_SIDE).set_callbacks(monitor), engine=engine).fit(X, y)
        found = monitor.get_logs()
        scores = [log.data_as_pandas["neg_log_loss"].to_numpy() for log in runs_of(found)]
        logs.append(np.sort(list(itertools.chain(*scores))))
    np.testing.assert_allclose(*logs, atol=1e-5)


def runs_of(logs):
    return list(logs.values()) if hasattr(logs, "values") else [logs]
