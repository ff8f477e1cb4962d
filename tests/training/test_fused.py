"""The fused engine computes what the loop computes: SequentialEngine is the definition."""

import tracemalloc
from collections import OrderedDict
from typing import Any

import keras
import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, RepeatedKFold, ShuffleSplit, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from stackfuse._core.errors import CannotTrainSideBySide
from stackfuse._oof.engines import (
    SequentialEngine,
    SideBySideEngine,
)
from stackfuse._oof.folds import (
    draw_folds,
    whole,
)
from stackfuse._oof.jobs import FoldFit
from stackfuse._training.program import Program
from stackfuse._training.side_by_side.loop import SideBySide
from tests.support.cases import shown
from tests.support.folds import fit_folds
from tests.support.networks import build_regressor

L = keras.layers


def small(*layers, units=3, activation="softmax", shape=(4,)):
    def build():
        return keras.Sequential(
            [keras.Input(shape), *[layer() for layer in layers], L.Dense(units, activation)]
        )

    return build


def compare(estimator, X, y, cv: Any = 3, *, rtol=2e-5, method="predict_proba", **options):
    """Fit on every fold and on all rows by both engines; everything that is left must agree."""
    folds = [*draw_folds(cv, X, y, classifier=method != "predict"), whole(len(y))]
    settings = {"method": method, "seeds": list(range(len(folds))), **options}
    fused = fit_folds(SideBySideEngine(), estimator, X, y, folds, **settings)
    loop = fit_folds(SequentialEngine(), estimator, X, y, folds, **settings)
    for k, (one, other) in enumerate(zip(fused.predictions[:-1], loop.predictions)):
        pairs = zip(one, other) if isinstance(one, list) else [(one, other)]
        for a, b in pairs:
            assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=f"fold {k}")
    for one, other in zip(fused.estimators, loop.estimators):
        for a, b in zip(one.model_.variables, other.model_.variables):
            assert_allclose(a.numpy(), b.numpy(), rtol=rtol, atol=rtol, err_msg=a.path)
        for a, b in zip(one._fitted.optimizer_state, other._fitted.optimizer_state):
            assert_allclose(a, b, rtol=1e-3, atol=rtol)
        assert one.history_.keys() == other.history_.keys()
        for name in one.history_:
            assert_allclose(one.history_[name], other.history_[name], rtol=1e-4, atol=1e-5)
    return fused


def dense(units=8):
    return L.Dense(units, "relu")


MODELS = {
    "dense": small(dense),
    "dropout": small(dense, lambda: L.Dropout(0.3), lambda: L.GaussianNoise(0.1)),
    "batch normalization": small(L.BatchNormalization, dense, L.BatchNormalization),
    "layer normalization": small(dense, L.LayerNormalization),
    "regularized": small(lambda: L.Dense(8, kernel_regularizer="l2", activity_regularizer="l1")),
    "frozen layer": small(lambda: L.Dense(8, trainable=False), dense),
    "reshaped convolution": small(
        lambda: L.Reshape((2, 2, 1)), lambda: L.Conv2D(4, 2, padding="same"), L.Flatten
    ),
    "pooled convolution": small(
        lambda: L.Reshape((4, 1)), lambda: L.Conv1D(4, 2), L.MaxPooling1D, L.Flatten
    ),
    "recurrent": small(lambda: L.Reshape((4, 1)), lambda: L.LSTM(4, dropout=0.2)),
    "gated": small(lambda: L.Reshape((2, 2)), lambda: L.Bidirectional(L.GRU(3))),
    "depthwise": small(lambda: L.Reshape((4, 1)), lambda: L.SeparableConv1D(3, 2), L.Flatten),
}


OPTIMIZERS = [
    "sgd",
    "rmsprop",
    "adagrad",
    "adadelta",
    "adamax",
    "nadam",
    "ftrl",
    "lion",
    keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipvalue=0.1),
    keras.optimizers.AdamW(0.01, weight_decay=0.1),
    keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.8)),
    keras.optimizers.Adam(0.01, amsgrad=True, clipvalue=0.002),
]


def name_of(optimizer) -> str:
    return optimizer if isinstance(optimizer, str) else type(optimizer).__name__


@pytest.mark.parametrize("kind", MODELS)
def test_models(iris, kind):
    compare(sf.KerasClassifier(MODELS[kind], epochs=3, batch_size=16), *iris)


def test_attention(iris):
    def build():
        inputs = keras.Input((4,))
        words = L.Reshape((4, 1))(inputs)
        words = L.MultiHeadAttention(2, 3)(L.Dense(4)(words), L.Dense(4)(words))
        return keras.Model(inputs, L.Dense(3, "softmax")(L.Flatten()(words)))

    compare(sf.KerasClassifier(build, epochs=2), *iris)


def test_several_inputs_and_outputs(iris):
    X, y = iris

    def build():
        left, right = (keras.Input((2,), name=name) for name in ("left", "right"))
        hidden = L.Dense(8, "relu")(L.Concatenate()([left, right]))
        return keras.Model(
            {"left": left, "right": right}, [L.Dense(3, "softmax")(hidden), L.Dense(2)(hidden)]
        )

    inputs = sf.MultiInput(left=X[:, :2], right=X[:, 2:])
    Y = np.column_stack([y, X[:, 0] > 0]).astype(int)
    folds = [(np.arange(100), np.arange(100, 150)), (np.arange(50, 150), np.arange(50))]
    compare(sf.KerasClassifier(build, epochs=2), inputs, Y, folds)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
def test_optimizers(iris, optimizer):
    compare(sf.KerasClassifier(MODELS["dense"], optimizer=optimizer, epochs=3), *iris)


@pytest.mark.parametrize(
    "settings",
    [
        {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}},
        {"validation_split": 0.2},
        {"shuffle": False},
        {"batch_size": 1000},
        {"batch_size": 7},
        {"loss": "categorical_crossentropy", "metrics": ["accuracy", "AUC"]},
        {"metrics": ["accuracy"], "validation_split": 0.3, "validation_batch_size": 5},
        {"loss": keras.losses.CategoricalFocalCrossentropy(label_smoothing=0.1)},
    ],
    ids=shown,
)
def test_settings(iris, settings):
    compare(sf.KerasClassifier(MODELS["dropout"], epochs=3, **settings), *iris)


def test_a_learning_rate_that_a_callback_lowered_before_is_not_taken_over(iris):
    X, y = iris
    build = small(lambda: L.Dense(6, "tanh"))
    lower = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-6)
    sf.KerasClassifier(build, callbacks=[lower], random_state=0).fit(X, y)  # the same program
    compare(sf.KerasClassifier(build, epochs=3), X, y)


def test_sample_weights(iris):
    weight = np.random.default_rng(0).uniform(0.1, 2, 150)
    fit_params = {"sample_weight": weight}
    for split in (0.0, 0.3):
        network = sf.KerasClassifier(MODELS["dense"], epochs=3, validation_split=split)
        compare(network, *iris, fit_params=fit_params)


@pytest.mark.parametrize("restore", [True, False])
def test_each_replica_stops_by_its_own_rows(iris, restore):
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=restore)
    network = sf.KerasClassifier(
        MODELS["dropout"], optimizer__learning_rate=0.1, epochs=12, validation_split=0.3
    )
    fused = compare(network.set_params(callbacks=[stop]), *iris, cv=4)
    assert len({len(history["loss"]) for history in fused.histories}) > 1


@pytest.mark.parametrize(
    "cv",
    [TimeSeriesSplit(3), ShuffleSplit(2, random_state=0), RepeatedKFold(n_splits=3, n_repeats=3)],
)
def test_replicas_of_unequal_length_and_more_than_one_group(iris, cv):
    compare(sf.KerasClassifier(MODELS["dropout"], epochs=2, batch_size=16), *iris, cv=cv)


@pytest.mark.parametrize(
    ("n_processors", "sizes", "n_states"),
    [(1, [5], [1]), (2, [3, 2], [1, 1]), (3, [2, 1], [2, 1]), (8, [1], [5]), (3, None, None)],
    ids=["one", "two", "three", "more than replicas", "code of one's own"],
)
def test_a_graph_for_every_processor(iris, monkeypatch, n_processors, sizes, n_states):
    monkeypatch.setattr(
        "stackfuse._training.side_by_side.eligibility.joblib.cpu_count", lambda: n_processors
    )
    monkeypatch.setattr("stackfuse._training.program._programs", OrderedDict())
    own = [] if sizes else [lambda: L.Lambda(lambda x: x * 2)]
    build = small(*own, dense, L.BatchNormalization, lambda: L.Dropout(0.3))
    stop = keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
    settings = {"optimizer__learning_rate": 0.05, "validation_split": 0.3, "callbacks": [stop]}
    network = sf.KerasClassifier(build, epochs=12, **settings)
    fits = compare(network, *iris, cv=4)
    assert len({len(history["loss"]) for history in fits.histories}) > 1
    if sizes:
        assert [len(graph.forwards) for graph in graphs_of(fits).values()] == sizes
        assert [len(graph.states) for graph in graphs_of(fits).values()] == n_states


def test_as_many_replicas_as_rows(iris):
    """More than eight groups of eight replicas."""
    X, y = iris
    network = sf.KerasClassifier(MODELS["dense"], epochs=1)
    stack = sf.StackingClassifier([("net", network)], cv=LeaveOneOut(), random_state=0)
    fused = stack.set_params(engine="fused").fit(X[:70], y[:70]).oof_.predictions
    loop = stack.set_params(engine="sequential").fit(X[:70], y[:70]).oof_.predictions
    assert_allclose(fused, loop, atol=1e-5)


def test_regression(diabetes):
    X, y = diabetes
    network = sf.KerasRegressor(build_regressor, epochs=3)
    compare(network, X, y, method="predict", rtol=1e-4)
    compare(network, X, np.column_stack([y, -y]), method="predict", rtol=1e-4)


def test_heads_as_bases(iris):
    compare(sf.FusionClassifier(epochs=3), *iris, rtol=1e-9)


def test_float64_policies_and_frames(iris):
    import pandas as pd

    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    compare(sf.KerasClassifier(MODELS["dense"], epochs=2), frame, y)


@pytest.mark.parametrize("kind", ["sparse", "mapped", "several inputs"])
@pytest.mark.parametrize("block", [1, 2**22])
def test_rows_that_are_read_piece_by_piece(iris, tmp_path, monkeypatch, kind, block):
    monkeypatch.setattr("stackfuse._training.side_by_side.loop.BLOCK_BYTES", block)
    X, y = iris
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    sparse = scipy.sparse.csr_matrix(np.where(X > 0, X, 0))

    def build():
        left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
        hidden = L.Dense(8, "relu")(L.Concatenate()([left, right]))
        return keras.Model([left, right], L.Dense(3, "softmax")(hidden))

    network = sf.KerasClassifier(MODELS["dropout"], epochs=2, batch_size=16, validation_split=0.3)
    network.set_params(validation_batch_size=7)
    if kind == "several inputs":
        network.set_params(model=build)
        X = sf.MultiInput(left=mapped, right=sparse)
    else:
        X = sparse if kind == "sparse" else mapped
    weight = np.random.default_rng(0).uniform(0.1, 2, 150)
    compare(network, X, y, cv=TimeSeriesSplit(3), fit_params={"sample_weight": weight})


@pytest.mark.parametrize("n_processors", [1, 4])
def test_a_mapped_file_is_never_in_memory_as_a_whole(tmp_path, monkeypatch, n_processors):
    """The arrays made meanwhile stay far below the size of the file, 48 MB."""
    monkeypatch.setattr(
        "stackfuse._training.side_by_side.eligibility.joblib.cpu_count", lambda: n_processors
    )
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "float64", (60000, 100))
    X[:] = rng.normal(size=X.shape)
    y = (X[:, 0] > 0).astype(int)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    network = sf.KerasClassifier(small(units=1, activation="sigmoid", shape=(100,)))
    network.set_params(batch_size=500, validation_split=0.3, validation_batch_size=500)
    folds = [*draw_folds(3, X, y, classifier=True), whole(len(y))]
    settings = {"method": "predict_proba", "seeds": [0, 1, 2, 3]}
    wanted = fit_folds(SideBySideEngine(), network, np.array(X), y, folds, **settings)
    tracemalloc.start()
    try:
        fits = fit_folds(SideBySideEngine(), network, mapped, y, folds, **settings)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for one, other in zip(fits.predictions[:3], wanted.predictions):
        assert_array_equal(one, other)
    assert peak < 15e6, f"{peak / 1e6:.0f} MB"


def test_a_fold_that_lacks_a_class(iris):
    X, y = iris
    order = np.argsort(y, kind="stable")
    folds = [(order[:100], order[100:]), (order[50:], order[:50])]

    def build(meta):
        return keras.Sequential([keras.Input((4,)), L.Dense(meta["n_classes_"], "softmax")])

    fits = compare(sf.KerasClassifier(build, epochs=2), X, y, folds)  # the refit has three units
    assert fits.predictions[0].shape == (50, 2)


@pytest.mark.parametrize("weights", ["balanced", {0: 2.0, 1: 1.0, 2: 0.5}])
@pytest.mark.parametrize("own_code", [False, True])
def test_classes_have_no_weights_in_validation(iris, weights, own_code):
    class Own(L.Dense):
        def call(self, inputs):
            return super().call(inputs) * 2

    def build():
        dense = Own if own_code else L.Dense
        return keras.Sequential([keras.Input((4,)), dense(4, "relu"), L.Dense(3, "softmax")])

    network = sf.KerasClassifier(build, epochs=2, validation_split=0.2, class_weight=weights)
    fits = compare(network, *iris, cv=3)
    assert all("val_loss" in history for history in fits.histories)


def pooled_words(**settings):
    """Return a builder; a batch holds the same word many times over."""

    def build():
        words = keras.Input((5,), dtype="int32")
        embedded = L.Embedding(6, 3, **settings)(words)
        return keras.Model(words, L.Dense(1, "sigmoid")(L.GlobalAveragePooling1D()(embedded)))

    return build


def twice_the_words():
    words = keras.Input((5,), dtype="int32")
    embedding = L.Embedding(6, 3)
    pooled = L.GlobalAveragePooling1D()(embedding(words))
    pooled = L.Add()([pooled, L.Flatten()(embedding(words[:, :1]))])
    return keras.Model(words, L.Dense(1, "sigmoid")(pooled))


def words_in_order():
    words = keras.Input((5,), dtype="int32")
    layers = [L.Embedding(6, 3, mask_zero=True), L.LSTM(4), L.Dense(1, "sigmoid")]
    return keras.Sequential([words, *layers])


@pytest.fixture(scope="module")
def texts():
    X = np.random.default_rng(0).integers(0, 6, (90, 5))
    return X, (X.sum(axis=1) > 12).astype(int)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
def test_embeddings(texts, optimizer):
    network = sf.KerasClassifier(pooled_words(), optimizer=optimizer, epochs=3, batch_size=16)
    compare(network, *texts)


@pytest.mark.parametrize(
    "build",
    [pooled_words(embeddings_regularizer="l2"), twice_the_words, words_in_order],
    ids=["regularized", "two uses", "LSTM"],
)
def test_models_of_words(texts, build):
    compare(sf.KerasClassifier(build, epochs=3, batch_size=16), *texts)


@pytest.mark.parametrize("settings", [{"centered": True}, {"epsilon": 0.0}], ids=str)
def test_embeddings_whose_rows_keras_mixes_up_are_declined(texts, settings):
    optimizer = keras.optimizers.RMSprop(**settings)
    with pytest.raises(CannotTrainSideBySide, match="may divide a sparse gradient by zero"):
        compare(sf.KerasClassifier(pooled_words(), optimizer=optimizer), *texts)


def decaying_in_part():
    model = MODELS["dense"]()
    optimizer = keras.optimizers.AdamW(weight_decay=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


AVERAGES = {"optimizer": keras.optimizers.SGD(0.1, use_ema=True)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": decaying_in_part}, "exclude_from_weight_decay treats weights"),
        ({"optimizer": "adafactor"}, "the optimizer Adafactor looks at whole tensors"),
        ({"optimizer": "muon"}, "the optimizer Muon looks at whole tensors"),
        ({"optimizer__loss_scale_factor": 8.0}, "loss_scale_factor works only in model.fit"),
        (
            {"optimizer__gradient_accumulation_steps": 2, "optimizer__clipnorm": 1.0},
            "clips gradients that are added up",
        ),
        ({"callbacks": [keras.callbacks.SwapEMAWeights()], **AVERAGES}, "callback SwapEMAWeights"),
        ({"run_eagerly": True}, "run_eagerly and jit_compile work only in model.fit"),
        ({"fit__validation_freq": 2}, "fit__validation_freq works only in model.fit"),
    ],
    ids=shown,
)
def test_what_cannot_be_fused_is_declined_and_done_in_the_loop(iris, change, reason):
    X, y = iris
    network = sf.KerasClassifier(MODELS["dense"], epochs=2).set_params(**change)
    X = np.random.default_rng(0).integers(0, 10, (150, 4))
    folds = draw_folds(3, X, y, classifier=True)
    settings = {"method": "predict_proba", "seeds": [0, 1, 2]}
    with pytest.raises(CannotTrainSideBySide, match=reason):
        fit_folds(SideBySideEngine(), network, X, y, folds, **settings)
    loop = fit_folds(SequentialEngine(), network, X, y, folds, **settings)
    auto = fit_folds(SideBySideEngine(SequentialEngine()), network, X, y, folds, **settings)
    assert_array_equal(auto.predictions, loop.predictions)


def test_other_estimators_are_declined(iris):
    folds = draw_folds(3, *iris, classifier=True)
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    for estimator in (LogisticRegression(), pipe):
        with pytest.raises(CannotTrainSideBySide, match="is not a stackfuse network"):
            fit_folds(
                SideBySideEngine(), estimator, iris[0], iris[1], folds, method="predict_proba"
            )


@pytest.mark.parametrize("refit", [True, False])
def test_stacks_by_both_engines(iris, tmp_path, refit):
    X, y = iris
    bases = [
        ("net", sf.KerasClassifier(MODELS["dropout"], epochs=4)),
        ("lr", LogisticRegression()),
    ]
    settings = {"cv": 3, "random_state": 0, "refit": refit}
    loop = sf.StackingClassifier(bases, engine="sequential", **settings).fit(X, y)
    auto = sf.StackingClassifier(bases, memory=tmp_path, **settings)
    for _ in range(2):
        auto.fit(X, y)
        assert_allclose(auto.predict_proba(X), loop.predict_proba(X), atol=1e-4)
    only = sf.StackingClassifier(bases[:1], engine="fused", **settings).fit(X, y)
    assert_allclose(only.oof_.predictions, loop.oof_.predictions[:, :3], atol=1e-5)
    with pytest.raises(
        CannotTrainSideBySide,
        match=r"(?s)LogisticRegression is not a stackfuse network.*'lr' failed",
    ):
        sf.StackingClassifier(bases, engine="fused", **settings).fit(X, y)


def graphs_of(fits) -> dict:
    program = Program.of(fits.estimators[0].model_)
    assert program is not None
    return program.replica_graphs


def test_auto_fuses_where_it_pays(iris):
    X, y = iris
    folds = draw_folds(2, X, y, classifier=True)
    auto = SideBySideEngine(SequentialEngine())
    build = small(lambda: L.Reshape((4, 1)), lambda: L.GRU(2))
    few = sf.KerasClassifier(build, epochs=2)  # 3 steps an epoch
    fit_folds(SequentialEngine(), few, X, y, folds[:1], method="predict_proba")  # is compiled now
    fits = fit_folds(auto, few, X, y, folds, method="predict_proba")
    assert not graphs_of(fits)
    many = few.set_params(epochs=80)
    fits = fit_folds(auto, many, X, y, folds, method="predict_proba")
    assert graphs_of(fits)
    again = fit_folds(auto, few.set_params(epochs=1), X, y, folds, method="predict_proba")
    assert len(again.histories[0]["loss"]) == 1


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize(
    ("build", "n_epochs"),  # of 4 steps each, for 2 replicas
    [
        (small(lambda: L.Dense(5, "selu")), 1),
        (small(*8 * [lambda: L.Dense(5, "selu")]), 14),
        (small(L.BatchNormalization, L.BatchNormalization), 7),
        (small(lambda: L.Reshape((4, 1)), lambda: L.GRU(2)), 31),
    ],
    ids=["dense", "deep", "states", "recurrent"],
)
def test_auto_weighs_what_a_graph_takes_to_be_traced(
    iris, monkeypatch, build, is_compiled, n_epochs
):
    X, y = iris
    trained = []
    monkeypatch.setattr(SideBySide, "train", lambda self: trained.append(self))
    monkeypatch.setattr("stackfuse._oof.engines.paused_fit.train", lambda training: None)
    loop = SequentialEngine()
    nothing = FoldFit(None, None, None)
    monkeypatch.setattr(
        loop, "run_jobs", lambda jobs, data: ((k, nothing) for k, _ in enumerate(jobs))
    )
    folds = draw_folds(2, X, y, classifier=True)
    monkeypatch.setattr("stackfuse._training.program._programs", OrderedDict())
    for epochs in (n_epochs - 1, n_epochs) if n_epochs > 1 else (1,):
        network = sf.KerasClassifier(build, epochs=epochs, batch_size=20)
        program = Program.of(network.initialize(X, y).model_)
        assert program is not None
        program.model.train_function = "function" if is_compiled else None
        fit_folds(SideBySideEngine(loop), network, X, y, folds, method="predict_proba")
        assert bool(trained) == (epochs == n_epochs)


def test_a_replica_that_diverges_tells_its_fold(iris):
    X, y = iris
    folds = draw_folds(3, X, y, classifier=True)
    network = sf.KerasClassifier(MODELS["dense"], optimizer="sgd", optimizer__learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="diverged") as caught:
        fit_folds(SideBySideEngine(), network, X, y, folds, method="predict_proba")
    assert caught.value.__notes__ == ["on fold 0"]


def test_an_error_tells_its_fold_where_that_is_known(iris, monkeypatch):
    X, y = iris
    folds = draw_folds(3, X, y, classifier=True)
    stop = keras.callbacks.EarlyStopping(patience=9)
    network = sf.KerasClassifier(MODELS["dense"], validation_split=0.2, callbacks=[stop], epochs=2)
    calls = iter(range(9))

    def fails(self, epoch, logs=None):
        if next(calls) == 1:
            raise RuntimeError("the second replica")

    with monkeypatch.context() as patched:
        patched.setattr(keras.callbacks.EarlyStopping, "on_epoch_end", fails)
        patched.setattr("stackfuse._training.side_by_side.eligibility.joblib.cpu_count", lambda: 1)
        with pytest.raises(RuntimeError, match="the second replica") as caught:
            fit_folds(SideBySideEngine(), network, X, y, folds, method="predict_proba")
    assert caught.value.__notes__ == ["on fold 1"]
    compare(network, X, y)  # nothing is left over


def test_an_error_within_the_graph_is_not_blamed_on_a_fold(iris):
    X = np.zeros((150, 4), int)
    X[7] = 99  # no such word
    # An index that the model computes is found out by TensorFlow alone.
    words = small(lambda: L.Rescaling(1.0), lambda: L.Embedding(10, 2), L.Flatten)
    folds = draw_folds(3, X, iris[1], classifier=True)
    with pytest.raises(Exception, match="got the index 99") as caught:
        fit_folds(
            SideBySideEngine(), sf.KerasClassifier(words), X, iris[1], folds, method="predict"
        )
    assert caught.value.__notes__ == [""]


@pytest.mark.parametrize("split", [0.0, 0.3])
def test_a_graph_is_for_sequences_of_one_length(split):
    build = small(lambda: L.GRU(4), units=1, activation="linear", shape=(None, 1))
    rng = np.random.default_rng(0)
    for length in (5, 7, 3, 5):
        X = rng.normal(size=(60, length, 1))
        network = sf.KerasRegressor(build, epochs=2, validation_split=split)
        fits = compare(network, X, X[:, -1, 0], method="predict")
    assert len(graphs_of(fits)) == 3


def test_a_graph_refuses_rows_of_another_shape(monkeypatch):
    monkeypatch.setattr(
        "stackfuse._training.side_by_side.loop.fed_with", lambda training: "anything"
    )
    build = small(lambda: L.GRU(4), units=1, activation="linear", shape=(None, 2))
    network, y = sf.KerasRegressor(build), np.zeros(20)
    fit_folds(SideBySideEngine(), network, np.zeros((20, 5, 2)), y, [whole(20)], method="predict")
    with pytest.raises(ValueError, match=r"takes shape \(None, 5, 2\), but got \(20, 7, 2\)"):
        fit_folds(
            SideBySideEngine(), network, np.zeros((20, 7, 2)), y, [whole(20)], method="predict"
        )


def test_the_graphs_of_a_model_that_are_kept_are_few(monkeypatch):
    monkeypatch.setattr("stackfuse._training.side_by_side.loop.MOST_GRAPHS", 2)
    build = small(L.GlobalAveragePooling1D, units=1, activation="linear", shape=(None, 2))
    for length in (5, 7, 3, 5):
        X = np.random.default_rng(0).normal(size=(60, length, 2))
        fits = compare(sf.KerasRegressor(build), X, X[:, -1, 0], method="predict")
        assert len(graphs_of(fits)) <= 2


def test_weights_of_several_dtypes_and_sizes(iris):
    layers = [lambda: L.Dense(200, "tanh"), lambda: L.Dense(100, "tanh", dtype="float16")]
    network = sf.KerasClassifier(small(*layers), epochs=3, optimizer="nadam")
    compare(network.set_params(optimizer__epsilon=1e-3), *iris, rtol=5e-3)


def test_training_goes_on_from_a_fused_fit(iris):
    X, y = iris
    fits = compare(sf.KerasClassifier(MODELS["dropout"], epochs=2), X, y)
    network = fits.estimators[-1]
    apart = sf.KerasClassifier(MODELS["dropout"], epochs=2, random_state=network.random_state)
    apart.fit(X, y).partial_fit(X, y)
    assert_allclose(network.partial_fit(X, y).predict_proba(X), apart.predict_proba(X), atol=1e-5)
