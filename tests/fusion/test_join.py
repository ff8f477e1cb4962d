import copy
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers as L
from numpy.testing import assert_allclose, assert_array_equal

import stackfuse as sf

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype("float32")
X2 = RNG.normal(size=(12, 4)).astype("float32")


def net(
    units=1, activation=None, loss=None, *, features=4, hidden=6, name="net", style="functional"
):
    """Return a small network; all have layers of the same names."""
    body = [
        L.Dense(hidden, "tanh", name="hidden"),
        L.Dropout(0.5, name="dropout"),
        L.Dense(units, activation, name="out", bias_initializer="normal"),
    ]
    start = keras.Input((features,), name="rows" if style == "functional" else None)
    if style == "sequential":
        model = keras.Sequential([start, *body], name=name)
    elif style == "nested":
        inner = keras.Sequential([keras.Input((features,)), *body[:2]], name="inner")
        model = keras.Sequential([start, inner, body[2]], name=name)
    else:
        y = start
        for layer in body:
            y = layer(y)
        model = keras.Model(start, y, name=name)
    if loss:
        model.compile("adam", loss, metrics=["mse"])
    return model


BCE, MSE = "binary_crossentropy", "mse"
BCE_LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)
SCCE_LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def softmax(x):
    e = np.exp(np.asarray(x, np.float64))
    return e / e.sum(axis=-1, keepdims=True)


def out(model, *x):
    return np.asarray(model(*x), np.float64)


def reloaded(model, folder):
    model.save(folder / "joined.keras")
    return keras.models.load_model(folder / "joined.keras", safe_mode=True)


# The three classic examples, from files.


@pytest.fixture(params=["keras", "h5", "keras2.h5"])
def saved(request, tmp_path):
    """Return a function that saves models, with a compiled metric that does not load from .h5."""

    def save(*models):
        paths = []
        for k, model in enumerate(models):
            path = tmp_path / f"{k}.{request.param.split('.')[-1]}"
            model.save(path)
            if request.param == "keras2.h5":
                as_keras_2(path)
            paths.append(path)
        return paths

    return save


def as_keras_2(path):
    """Rewrite the configuration of a file as Keras 2 wrote it, with a metric that is gone."""
    with h5py.File(path, "r+") as file:
        model = json.loads(file.attrs["model_config"])
        for layer in model["config"]["layers"]:
            config = layer["config"]
            for new in ("module", "registered_name", "build_config"):
                layer.pop(new, None)
            config["dtype"] = "float32"
            if "batch_shape" in config:
                config["batch_input_shape"] = config.pop("batch_shape")
            for key, value in config.items():
                if isinstance(value, dict) and "class_name" in value:
                    config[key] = {"class_name": value["class_name"], "config": value["config"]}
            if "inbound_nodes" in layer:
                old = []
                for node in layer["inbound_nodes"]:
                    history = node["args"][0]["config"]["keras_history"]
                    old.append([[*history, {}]])
                layer["inbound_nodes"] = old
        for end in ("input_layers", "output_layers"):
            if end in model["config"]:
                model["config"][end] = [model["config"][end]]
        file.attrs["model_config"] = json.dumps(model)
        training = json.loads(file.attrs["training_config"])
        training["metrics"] = [[{"class_name": "MeanMetricWrapper", "config": {"fn": "gone"}}]]
        if isinstance(training["loss"], dict):
            training["loss"]["config"]["reduction"] = "auto"  # which Keras 3 refuses
        file.attrs["training_config"] = json.dumps(training)
        file.attrs["keras_version"] = "2.15.0"


@pytest.mark.parametrize("inputs", ["shared", "separate"])
def test_concatenating_two_classifiers_under_a_head(saved, inputs):
    models = [net(1, "sigmoid", BCE, style=style) for style in ("functional", "sequential")]
    head = [L.Dense(64, "relu"), L.Dense(1, "sigmoid")]
    joined = sf.fuse(saved(*models), "concat", head=head, inputs=inputs)
    x = X if inputs == "shared" else [X, X2]
    hidden = np.maximum(
        np.hstack([out(models[0], X), out(models[1], X if inputs == "shared" else X2)])
        @ head[0].kernel.numpy()
        + head[0].bias.numpy(),
        0,
    )
    wanted = sigmoid(hidden @ head[1].kernel.numpy() + head[1].bias.numpy())
    assert_allclose(joined(x), wanted, atol=1e-6)
    assert len(joined.inputs) == (1 if inputs == "shared" else 2)
    assert len(joined.trainable_weights) == 4


@pytest.mark.parametrize("inputs", ["shared", "separate"])
def test_multiplying_two_regressors(saved, inputs, tmp_path):
    models = [net(1, None, MSE, style=style) for style in ("sequential", "nested")]
    if "2." in str(saved(*models)[0]):
        pytest.skip("the nested model was written in the format of Keras 3")
    joined = sf.fuse(saved(*models), "multiply", inputs=inputs)
    second = X if inputs == "shared" else X2
    wanted = out(models[0], X) * out(models[1], second)
    x = X if inputs == "shared" else [X, X2]
    assert_allclose(joined(x), wanted, rtol=1e-5)
    assert_allclose(reloaded(joined, tmp_path)(x), wanted, rtol=1e-5)


def test_averaging_features_under_a_softmax(saved):
    models = [net(10, "softmax", "categorical_crossentropy") for _ in range(3)]
    head = L.Dense(10, "softmax")
    joined = sf.fuse(saved(*models), "average", layer=-2, head=head)
    features = [
        np.tanh(X @ m.get_layer("hidden").kernel.numpy() + m.get_layer("hidden").bias.numpy())
        for m in models
    ]
    wanted = softmax(np.mean(features, axis=0) @ head.kernel.numpy() + head.bias.numpy())
    assert_allclose(joined(X), wanted, atol=1e-6)
    joined.compile("adam", "sparse_categorical_crossentropy")
    before = [w.numpy() for w in joined.non_trainable_weights if "seed" not in w.path]
    joined.fit(X, np.arange(12) % 10, epochs=2, verbose=0)
    after = [w.numpy() for w in joined.non_trainable_weights if "seed" not in w.path]
    assert all(np.array_equal(*pair) for pair in zip(before, after))
    assert np.abs(out(joined, X) - wanted).max() > 1e-4


def test_what_an_old_file_says_of_its_loss_is_heard(saved):
    logits = [net(1, None, BCE_LOGITS), net(1, None, "binary_crossentropy")]
    with pytest.raises(ValueError, match=r"models\[1\].*without an activation and was trained"):
        sf.fuse(saved(*logits), "average")
    models = [net(1, None, BCE_LOGITS), net(1, "sigmoid", BCE)]
    joined = sf.fuse(saved(*models), "average")
    wanted = (sigmoid(out(models[0], X)) + out(models[1], X)) / 2
    assert_allclose(joined(X), wanted, atol=1e-6)


# Meaning.


def pair(one, other):
    return [net(**one), net(**other)]


SIGMOID = {"units": 1, "activation": "sigmoid"}
SOFTMAX2 = {"units": 2, "activation": "softmax"}
SOFTMAX = {"units": 3, "activation": "softmax"}
LOGIT = {"units": 1, "loss": BCE_LOGITS}
LOGITS = {"units": 3, "loss": SCCE_LOGITS}
LABELS = {"units": 3, "activation": "sigmoid"}
NUMBER = {"units": 1, "loss": MSE}


def two_columns(p):
    return np.hstack([1 - p, p])


def normalized(p):
    return p / p.sum(axis=-1, keepdims=True)


MEANINGS = {
    "logits with probabilities": (LOGITS, SOFTMAX, "average", lambda a, b: (softmax(a) + b) / 2),
    "one logit with a probability": (LOGIT, SIGMOID, "average", lambda a, b: (sigmoid(a) + b) / 2),
    "logits alone stay logits": (LOGITS, LOGITS, "average", lambda a, b: (a + b) / 2),
    "logits may be added": (LOGITS, LOGITS, "add", lambda a, b: a + b),
    "sigmoid with softmax": (
        SIGMOID,
        SOFTMAX2,
        "average",
        lambda a, b: (two_columns(a) + b) / 2,
    ),
    "logit with softmax": (
        LOGIT,
        SOFTMAX2,
        "multiply",
        lambda a, b: normalized(two_columns(sigmoid(a)) * b),
    ),
    "product of softmaxes": (SOFTMAX, SOFTMAX, "multiply", lambda a, b: normalized(a * b)),
    "product of logits": (
        LOGITS,
        LOGITS,
        "multiply",
        lambda a, b: normalized(softmax(a) * softmax(b)),
    ),
    "product of sigmoids": (
        SIGMOID,
        SIGMOID,
        "multiply",
        lambda a, b: a * b / (a * b + (1 - a) * (1 - b)),
    ),
    "product of labels": (
        LABELS,
        LABELS,
        "multiply",
        lambda a, b: a * b / (a * b + (1 - a) * (1 - b)),
    ),
    "geometric": (SOFTMAX, SOFTMAX, "geometric", lambda a, b: normalized(np.sqrt(a * b))),
    "geometric of sigmoids": (
        SIGMOID,
        LOGIT,
        "geometric",
        lambda a, b: normalized(np.sqrt(two_columns(a) * two_columns(sigmoid(b))))[:, 1:],
    ),
    "maximum of softmaxes": (
        SOFTMAX,
        SOFTMAX,
        "maximum",
        lambda a, b: normalized(np.maximum(a, b)),
    ),
    "maximum of sigmoids": (SIGMOID, SIGMOID, "maximum", np.maximum),
    "numbers are multiplied as they are": (NUMBER, NUMBER, "multiply", lambda a, b: a * b),
}


@pytest.mark.parametrize("case", MEANINGS)
def test_outputs_are_joined_on_one_scale(case, tmp_path):
    one, other, how, formula = MEANINGS[case]
    models = pair(one, other)
    joined = sf.fuse(models, how)
    wanted = formula(*(out(model, X) for model in models))
    assert joined.output.shape[1:] == wanted.shape[1:]
    assert_allclose(joined(X), wanted, rtol=2e-5, atol=1e-6)
    assert_array_equal(reloaded(joined, tmp_path)(X), joined(X))


@pytest.mark.parametrize(
    ("one", "other", "how", "message"),
    [
        (
            SOFTMAX,
            {"units": 4, "activation": "softmax"},
            "average",
            r"\(None, 3\).*\(None, 4\).*same",
        ),
        (SOFTMAX, LABELS, "average", "softmax.*sigmoid.*not the same classes"),
        (NUMBER, SIGMOID, "average", "regression.*probability.*cannot combine them"),
        (NUMBER, {"units": 1, "activation": "relu"}, "multiply", "regression.*features"),
        (NUMBER, {"units": 1}, "average", r"models\[1\].*without an activation, without a loss"),
        ({"units": 1}, {"units": 1}, "average", "kinds=\\['regression', 'regression'\\]"),
        (
            {"units": 3, "activation": "softmax", "loss": SCCE_LOGITS},
            SOFTMAX,
            "average",
            "'softmax' and was trained with .*from_logits=True",
        ),
        (
            {"units": 1, "activation": "sigmoid", "loss": MSE},
            SIGMOID,
            "multiply",
            "'sigmoid' and was trained with the loss 'mse'",
        ),
        ({"units": 1, "activation": "softmax"}, SIGMOID, "average", "'softmax', without a loss"),
        (NUMBER, NUMBER, "geometric", "mean of probabilities"),
        (SIGMOID, SIGMOID, "add", "sums to 2, which is not a probability: use how='average'"),
        (
            NUMBER,
            {"units": 3, "loss": MSE},
            "multiply",
            r"\(None, 1\).*\(None, 3\).*project.*concat",
        ),
    ],
)
def test_what_means_nothing_is_refused(one, other, how, message):
    with pytest.raises(ValueError, match=message):
        sf.fuse(pair(one, other), how)


def test_kinds_are_declared():
    models = pair({"units": 3}, SOFTMAX)
    a, b = (out(model, X) for model in models)
    assert_allclose(
        sf.fuse(models, "average", kinds=["logits", None])(X), (softmax(a) + b) / 2, atol=1e-6
    )
    with pytest.raises(ValueError, match=r"'logits' for .* but it ends in a softmax"):
        sf.fuse(models, "average", kinds="logits")
    with pytest.raises(ValueError, match=r"'probability' .* trained with .*from_logits"):
        sf.fuse(pair(LOGIT, SIGMOID), "average", kinds="probability")
    with pytest.raises(ValueError, match=r"kinds must name 'probability', .* got 'logit'"):
        sf.fuse(models, "average", kinds="logit")
    with pytest.raises(ValueError, match="kinds lists 1 values for 2 models"):
        sf.fuse(models, "average", kinds=["logits"])


def test_the_cast_that_ends_a_mixed_network_does_not_hide_its_softmax():
    x = keras.Input((4,))
    y = L.Dense(3, "softmax", dtype="mixed_float16")(x)
    mixed = keras.Model(x, L.Activation("linear", dtype="float32")(y))
    models = [mixed, net(**LOGITS)]
    wanted = (out(mixed, X) + softmax(out(models[1], X))) / 2
    assert_allclose(sf.fuse(models, "average", inputs="shared")(X), wanted, atol=1e-6)


# Shapes and dtypes.


def conv(filters, *, pooled=False):
    x = keras.Input((6, 6, 2))
    y = L.Conv2D(filters, 3, activation="relu")(x)
    return keras.Model(x, L.GlobalAveragePooling2D()(y) if pooled else y)


IMAGES = RNG.normal(size=(5, 6, 6, 2)).astype("float32")


def test_other_shapes_are_aligned_on_request():
    models = [conv(3), conv(5, pooled=True)]
    with pytest.raises(ValueError, match=r"\(None, 4, 4, 3\).*\(None, 5\).*'pool'.*'flatten'"):
        sf.fuse(models)
    a, b = (out(model, IMAGES) for model in models)
    assert_allclose(
        sf.fuse(models, align="pool")(IMAGES), np.hstack([a.mean((1, 2)), b]), atol=1e-6
    )
    flat = sf.fuse(models, align="flatten")(IMAGES)
    assert_allclose(flat, np.hstack([a.reshape(5, -1), b]), atol=1e-6)
    kinds = "features"
    joined = sf.fuse(models, "average", align=["pool", "project"], kinds=kinds)
    dense = next(layer for layer in joined.layers if isinstance(layer, L.Dense))
    wanted = (a.mean((1, 2)) @ dense.kernel.numpy() + b) / 2
    assert_allclose(joined(IMAGES), wanted, atol=1e-6)
    with pytest.raises(ValueError, match="align must be 'project', 'pool' or 'flatten'"):
        sf.fuse(models, align="pad")


def test_an_unknown_length_is_pooled_but_not_flattened():
    def recurrent(width):
        x = keras.Input((None, 2))
        return keras.Model(x, L.GRU(width, return_sequences=True)(x))

    models = [recurrent(3), recurrent(3)]
    with pytest.raises(ValueError, match=r"\(None, None, 3\).*align='pool'"):
        sf.fuse(models, align="flatten")
    steps = RNG.normal(size=(5, 7, 2)).astype("float32")
    wanted = np.mean([out(model, steps) for model in models], axis=(0, 2))
    assert_allclose(sf.fuse(models, "average", align="pool")(steps), wanted, atol=1e-6)


def test_half_precision_whole_and_integers_become_one_dtype():
    def of(dtype):
        x = keras.Input((4,))
        return keras.Model(x, L.Dense(2, "tanh", dtype=dtype)(x))

    x = keras.Input((4,))
    whole = keras.Model(x, keras.ops.cast(keras.ops.round(x[:, :2]), "int32"))
    models = [of("mixed_float16"), of("mixed_bfloat16"), of("float32"), whole]
    joined = sf.fuse(models, "add", kinds="features")
    assert joined.output.dtype == "float32"
    assert_allclose(joined(X), np.sum([out(m, X) for m in models], axis=0), atol=1e-6)
    policies = [
        layer.dtype_policy.name for m in joined.layers for layer in getattr(m, "layers", [])
    ]
    assert {"mixed_float16", "mixed_bfloat16", "float32"} <= set(policies)
    assert sf.fuse([*models, of("float64")], "add", kinds="features").output.dtype == "float64"
    with pytest.raises(ValueError, match="of dtype int32"):
        sf.fuse(models, "add", inputs="shared")


# Layers, members.


def test_layers_by_place_name_and_model():
    models = [net(style="nested"), net(hidden=6), net(6, "tanh")]
    joined = sf.fuse(models, "add", layer=["inner", "hidden", None], inputs="shared")
    inside = keras.Model(models[1].input, models[1].get_layer("hidden").output)
    wanted = out(models[0].get_layer("inner"), X) + out(inside, X) + out(models[2], X)
    assert_allclose(joined(X), wanted, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"layer='hiden' is not a layer of .*Did you mean 'hidden'"
    ):
        sf.fuse(models[1:], layer="hiden")
    with pytest.raises(ValueError, match=r"layer=-9 does not exist: models\[0\] \('net'\) has"):
        sf.fuse(models[1:], layer=-9)
    with pytest.raises(ValueError, match="layer lists 2 values for 3 models"):
        sf.fuse(models, layer=[-1, -2])
    with pytest.raises(TypeError, match=r"got 1\.5"):
        sf.fuse(models, layer=1.5)


def test_several_outputs_need_a_choice():
    x = keras.Input((4,))
    both = keras.Model(x, {"a": L.Dense(2, name="a")(x), "b": L.Dense(3, name="b")(x)})
    both.compile(loss={"a": "mse", "b": SCCE_LOGITS})
    other = net(3, "softmax")
    with pytest.raises(ValueError, match=r"has 2 outputs, \['a', 'b'\]\. Choose one"):
        sf.fuse([both, other])
    joined = sf.fuse([both, other], "average", layer=["b", None], inputs="shared")
    wanted = (softmax(out(lambda x: both(x)["b"], X)) + out(other, X)) / 2
    assert_allclose(joined(X), wanted, atol=1e-6)


def test_a_layer_that_is_called_twice_is_no_single_output():
    x = keras.Input((4,))
    twice = L.Dense(4, name="twice")
    model = keras.Model(x, L.Dense(1)(twice(twice(x))))
    with pytest.raises(ValueError, match=r"'twice' of .* gives 2 tensors"):
        sf.fuse([model, model], layer="twice")


class Scaled(keras.Model):
    def __init__(self, units=2, scale=3.0, **kwargs):
        super().__init__(**kwargs)
        self.head, self.scale = L.Dense(units), scale

    def call(self, x):
        return self.head(x) * self.scale


class Said(Scaled):
    def get_config(self):
        return {"units": self.head.units, "scale": self.scale, "name": self.name}


def test_a_subclassed_model_joins_as_a_layer(tmp_path):
    subclassed = Said(3, 5.0)
    subclassed(X)
    subclassed.compile(loss=SCCE_LOGITS)
    other = net(3, "softmax")
    joined = sf.fuse([subclassed, other], "average", inputs="shared")
    wanted = (softmax(out(subclassed, X)) + out(other, X)) / 2
    assert_allclose(joined(X), wanted, atol=1e-6)
    joined.save(tmp_path / "joined.keras")
    again = keras.models.load_model(tmp_path / "joined.keras", custom_objects={"Said": Said})
    assert_array_equal(again(X), joined(X))
    with pytest.raises(ValueError, match=r"layer=-2 cannot be found in .* a subclassed model"):
        sf.fuse([subclassed, other], layer=-2)


def test_a_subclassed_model_that_does_not_say_what_it_is_made_from_is_refused():
    same_weights = Scaled(2, 5.0)  # Keras would copy it with scale=3.0
    same_weights(X)
    other_weights = Scaled(3)
    other_weights(X)
    for model in (same_weights, other_weights):
        with pytest.raises(TypeError, match=r"get_config that\s+returns the arguments of __init__"):
            sf.fuse([model, model])
    with pytest.raises(ValueError, match="has no weights yet"):
        sf.fuse([Said(), same_weights])


def test_models_are_built_and_safe():
    with pytest.raises(ValueError, match=r"models\[0\] .* has no weights yet"):
        sf.fuse([keras.Sequential([L.Dense(1)]), net()])
    odd = keras.Sequential([keras.Input((4,)), L.Lambda(lambda x: x + 1)])
    with pytest.raises(TypeError, match=r"Lambda layer .* safe mode"):
        sf.fuse([odd, net()])
    x = keras.Input((3, 2), batch_size=5)
    with pytest.raises(TypeError, match="stateful"):
        sf.fuse([keras.Model(x, L.GRU(2, stateful=True)(x)), net()])
    with pytest.raises(ValueError, match="takes 5 rows at a time"):
        sf.fuse([keras.Model(x, L.GRU(2)(x)), net()])


def test_a_sequential_model_that_was_built_by_data_takes_any_number_of_rows(tmp_path):
    models = [keras.Sequential([L.Dense(2, "tanh")]) for _ in range(2)]
    wanted = np.hstack([out(model, X) for model in models])
    joined = sf.fuse(models)
    assert_allclose(joined(X[:7]), wanted[:7], atol=1e-6)
    assert_allclose(reloaded(joined, tmp_path)(X[:1]), wanted[:1], atol=1e-6)


def test_an_adapted_normalization_keeps_its_state(tmp_path):
    normalization = L.Normalization()
    normalization.adapt(X * 5 + 3)
    model = keras.Sequential([keras.Input((4,)), normalization, L.Dense(1)])
    model.compile(loss="mse")
    joined = reloaded(sf.fuse([model, model], "add"), tmp_path)
    assert_allclose(joined(X), 2 * out(model, X), atol=1e-5)


# Frozen or not.


def noisy():
    x = keras.Input((6, 3))
    y = L.LSTM(4, dropout=0.5, recurrent_dropout=0.4, return_sequences=True)(x)
    y = L.Bidirectional(L.GRU(4, dropout=0.5, return_sequences=True))(y)
    y = L.MultiHeadAttention(2, 3, dropout=0.5)(y, y)
    y = L.GroupQueryAttention(4, 4, 2, dropout=0.5)(y, y)
    y = L.Attention(dropout=0.4, use_scale=True)([y, y])
    y = L.TimeDistributed(L.Dropout(0.5))(y)
    for layer in (L.SpatialDropout1D(0.5), L.GaussianNoise(0.3), L.GaussianDropout(0.3)):
        y = layer(y)
    y = L.BatchNormalization()(L.AlphaDropout(0.2)(y))
    return keras.Model(x, L.Dense(2, "tanh")(y))


def augmented():
    x = keras.Input((6, 6, 2))
    start = [keras.Input((6, 6, 2)), L.RandomFlip(), L.RandomRotation(0.4)]
    return keras.Model(x, L.Conv2D(2, 3, activation="tanh")(keras.Sequential(start)(x)))


@pytest.mark.parametrize("build", [noisy, augmented])
def test_frozen_members_do_in_training_what_they_do_otherwise(build, tmp_path):
    model = build()
    x = RNG.normal(size=(5, *model.input.shape[1:])).astype("float32")
    assert np.abs(model(x, training=True) - model(x, training=False)).max() > 1e-2
    wanted = model(x, training=False).numpy()
    joined = sf.fuse([model, model], "average")
    for one in (joined, reloaded(joined, tmp_path)):
        assert_allclose(one(x), wanted, atol=1e-5)
        assert_array_equal(one(x, training=True), one(x))
    assert joined.trainable_weights == []
    open_ = sf.fuse([model, model], "average", trainable=True)
    assert_allclose(open_(x, training=False), wanted, atol=1e-5)
    assert np.abs(open_(x, training=True) - wanted).max() > 1e-2
    assert len(open_.trainable_weights) == 2 * len(model.trainable_weights)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_attention_stays_frozen_after_loading(tmp_path):
    x = keras.Input((6, 4))
    model = keras.Model(x, L.MultiHeadAttention(2, 3)(x, x))
    joined = reloaded(sf.fuse([model, model], head=L.Dense(1)), tmp_path)
    steps = RNG.normal(size=(8, 6, 4)).astype("float32")
    members = [layer for layer in joined.layers if isinstance(layer, keras.Model)]
    before = [member.get_weights() for member in members]
    joined.compile(keras.optimizers.AdamW(0.1), "mse")
    joined.fit(steps, np.ones((8, 6, 1)), verbose=0)
    for member, weights in zip(members, before):
        assert all(np.array_equal(*pair) for pair in zip(member.get_weights(), weights))


def test_what_cannot_be_frozen_is_refused():
    crop = keras.Sequential([keras.Input((6, 6, 2)), L.RandomCrop(3, 3), L.Flatten(), L.Dense(1)])
    with pytest.raises(TypeError, match="RandomCrop cannot be switched off"):
        sf.fuse([crop, crop])
    assert len(sf.fuse([crop, crop], trainable=True).trainable_weights) == 4


def test_a_class_that_would_bring_its_dropout_back_is_told_of():
    class Dropping(Said):
        def __init__(self, units=2, **kwargs):
            super().__init__(units)
            self.drop = L.Dropout(0.5)

        def call(self, x):
            return self.drop(self.head(x))

    model = Dropping()
    model(X)
    with pytest.warns(UserWarning, match="Dropping is not a Keras class"):
        joined = sf.fuse([model, net()], inputs="shared")
    assert_array_equal(joined(X, training=True), joined(X))


def test_the_models_stay_as_they_were():
    models = [net(1, "sigmoid", BCE), net(1, "sigmoid", BCE)]
    models[1].get_layer("hidden").trainable = False
    names = [[model.name, *(layer.name for layer in model.layers)] for model in models]
    configs = copy.deepcopy([model.get_config() for model in models])
    weights = [model.get_weights() for model in models]
    optimizers = [model.optimizer for model in models]
    joined = sf.fuse(models, "weighted", trainable=True)
    assert len(joined.trainable_weights) == 4 + 2 + 1
    joined.compile("adam", "binary_crossentropy")
    joined.fit(X, np.arange(12) % 2, verbose=0)
    sf.fuse(models, "average")
    assert names == [[model.name, *(layer.name for layer in model.layers)] for model in models]
    assert configs == [model.get_config() for model in models]
    assert optimizers == [model.optimizer for model in models]
    assert [len(model.trainable_weights) for model in models] == [4, 2]
    for model, before in zip(models, weights):
        assert all(np.array_equal(*one) for one in zip(model.get_weights(), before))
        assert model.compiled
        model.fit(X, np.arange(12) % 2, verbose=0)  # it still trains


# Inputs.


def test_inputs_are_shared_where_name_and_rows_are_the_same():
    def table_and_image(table="table"):
        one, two = keras.Input((4,), name=table), keras.Input((6, 6, 2), name="image")
        y = L.Concatenate()([one, L.GlobalAveragePooling2D()(two)])
        return keras.Model({"image": two, table: one}, L.Dense(2)(y))

    models = [table_and_image(), table_and_image()]
    joined = sf.fuse(models)
    assert [x.name for x in joined.inputs] == ["image", "table"]
    wanted = np.hstack([out(m, {"table": X[:5], "image": IMAGES}) for m in models])
    assert_allclose(joined({"table": X[:5], "image": IMAGES}), wanted, atol=1e-6)
    other = sf.fuse([models[0], table_and_image("columns")])
    assert [x.name for x in other.inputs] == ["image", "table", "columns"]
    apart = sf.fuse(models, inputs="separate")
    assert [x.name for x in apart.inputs] == ["image_0", "table_0", "image_1", "table_1"]
    said = sf.fuse(
        models, inputs={"t": [(0, "table"), (1, "table")], "i": (0, "image"), "j": (1, "image")}
    )
    noise = RNG.normal(size=IMAGES.shape).astype("float32")
    second = out(models[1], {"table": X[:5], "image": noise})
    assert_allclose(said([X[:5], IMAGES, noise])[:, 2:], second, atol=1e-6)
    assert len(sf.fuse(models, inputs="shared").inputs) == 2


def test_two_inputs_of_one_kind_within_a_model_are_not_guessed_at():
    def siamese():
        one, two = keras.Input((4,)), keras.Input((4,))
        return keras.Model([one, two], L.Dense(1)(L.Subtract()([one, two])))

    models = [siamese(), siamese()]
    assert [x.name for x in sf.fuse(models).inputs] == ["x_0", "x_0_1", "x_1", "x_1_1"]
    shared = sf.fuse(models, inputs="shared")
    assert_allclose(shared([X, X2])[:, :1], out(models[0], [X, X2]), atol=1e-6)


def test_made_up_names_count_as_one():
    models = [keras.Sequential([keras.Input((4,)), L.Dense(1)]) for _ in range(3)]
    assert [x.name for x in sf.fuse(models).inputs] == ["x"]


def test_a_shared_input_takes_the_wider_float():
    x = keras.Input((4,), dtype="float64")
    models = [keras.Model(x, L.Dense(2, dtype="float64")(x)), net(2)]
    joined = sf.fuse(models, inputs="shared")
    assert joined.input.dtype == "float64"
    wide = X.astype("float64") + 1e-10
    assert_allclose(joined(wide)[:, :2], out(models[0], wide), atol=1e-14)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("shared", r"rows of shape \(4,\).*\(5,\).*cannot share"),
        ("seperate", "inputs must be 'auto', 'shared', 'separate' or a dict"),
        ({"x": [0]}, r"leaves out the input of models\[1\].*add 1"),
        ({"x": [0, 1]}, "cannot share an input"),
        ({"x": [0], "y": [0, 1]}, "twice, by 'x' and 'y'"),
        ({"x": [0, 2]}, "the number of a model, 0 to 1"),
        ({"x": [(0, "row")], "y": [1]}, r"inputs of .* are \['rows'\].*Did you mean 'rows'"),
        ({"x": []}, "inputs must map names"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        sf.fuse([net(), net(features=5)], inputs=inputs)


# Strategies and heads.


def test_every_strategy_trains_saves_and_exports(tmp_path):
    models = [net(3, "softmax"), net(3, "softmax")]
    y = np.arange(12) % 3
    for how in ("concat", "bilinear", "weighted", "geometric", "attention", "gated"):
        head = L.Dense(3, "softmax") if how in ("concat", "bilinear") else None
        weights = "learned" if how == "geometric" else None
        joined = sf.fuse(models, how, head=head, weights=weights)
        joined.compile("adam", "sparse_categorical_crossentropy")
        losses = joined.fit(X, y, epochs=3, verbose=0).history["loss"]  # one batch each
        assert losses[2] < losses[1] < losses[0]
        assert_allclose(out(joined, X).sum(axis=1), 1, atol=1e-6)
        assert_array_equal(reloaded(joined, tmp_path)(X), joined(X))
    with zipfile.ZipFile(tmp_path / "joined.keras") as archive:
        config = archive.read("config.json").decode()
    assert set(modules(json.loads(config))) <= {"keras", "builtins"}


def modules(config):
    """Yield the first names of all modules that a configuration names."""
    if isinstance(config, dict):
        if config.get("module"):
            yield config["module"].partition(".")[0]
        config = list(config.values())
    for item in config if isinstance(config, list) else []:
        yield from modules(item)


def test_a_joined_model_is_a_base_and_exports_with_the_stack(iris, tmp_path):
    X, y = iris
    models = [net(3, "softmax"), net(3, "softmax")]
    joined = sf.fuse(models, "attention")
    loss = "sparse_categorical_crossentropy"
    estimator = sf.KerasClassifier(joined, loss=loss, random_state=0).fit(X, y)
    graph = sf.to_keras(estimator)
    assert_allclose(graph(X)["probabilities"], estimator.predict_proba(X), atol=1e-6)
    joined.export(tmp_path / "saved", verbose=False)


def test_weights_are_given_or_learned():
    models = [net(**NUMBER), net(**NUMBER)]
    a, b = (out(model, X) for model in models)
    given = sf.fuse(models, "weighted", weights=[0.25, 0.75])
    assert_allclose(given(X), 0.25 * a + 0.75 * b, atol=1e-6)
    assert given.trainable_weights == []
    assert_allclose(sf.fuse(models, "weighted")(X), (a + b) / 2, atol=1e-6)
    with pytest.raises(ValueError, match="weights must be 2 numbers, one per model"):
        sf.fuse(models, "weighted", weights=[1.0])
    with pytest.raises(ValueError, match="weights work only with how='weighted' or 'geometric'"):
        sf.fuse(models, "average", weights=[0.5, 0.5])


def test_attention_by_the_input_finds_the_region_of_each_model():
    x = RNG.normal(size=(400, 4)).astype("float32")
    models = [net(**NUMBER), net(**NUMBER)]
    a, b = (out(model, x) for model in models)
    y = np.where(x[:, :1] > 0, a, b)
    joined = sf.fuse(models, "attention", context="inputs")
    joined.compile(keras.optimizers.Adam(0.1), "mse")
    joined.fit(x, y, epochs=40, batch_size=100, verbose=0)
    w = np.dot((b - a).ravel(), (b - y).ravel()) / np.dot((b - a).ravel(), (b - a).ravel())
    fixed = np.mean((w * a + (1 - w) * b - y) ** 2)  # the best that fixed weights can do
    assert np.mean((out(joined, x) - y) ** 2) < fixed / 3
    assert sf.fuse(models, "gated", context="rows").count_params() > 0
    with pytest.raises(ValueError, match=r"name of an input .* got 'row'; .*Did you mean 'rows'"):
        sf.fuse(models, "gated", context="row")
    with pytest.raises(ValueError, match="context works only with"):
        sf.fuse(models, "average", context="inputs")


def test_heads_may_be_layers_models_and_functions():
    models = [net(2, "tanh"), net(2, "tanh")]
    wanted = np.hstack([out(model, X) for model in models])
    x = keras.Input((4,))
    head = keras.Model(x, L.Dense(2)(x))
    assert_allclose(sf.fuse(models, head=head)(X), out(head, wanted), atol=1e-6)
    doubled = sf.fuse(models, head=[L.Rescaling(2.0), lambda t: t + 1])
    assert_allclose(doubled(X), 2 * wanted + 1, atol=1e-6)
    two = sf.fuse(models, head=lambda t: {"a": L.Dense(1)(t), "b": L.Dense(2)(t)})
    assert set(two.output) == {"a", "b"}
    with pytest.raises(TypeError, match=r"head must be a layer.* got 'softmax'"):
        sf.fuse(models, head="softmax")
    with pytest.raises(TypeError, match="head must return a Keras tensor"):
        sf.fuse(models, head=lambda t: 1)
    with pytest.raises(TypeError, match="Lambda"):
        sf.fuse(models, head=L.Lambda(lambda t: t))


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        ("net.h5", TypeError, "models must be a list of Keras models or paths, got 'net.h5'"),
        ([], ValueError, "at least two models, got 0"),
        (["no.h5", "no.h5"], FileNotFoundError, r"models\[0\]: there is no file 'no.h5'"),
        ([3, 4], TypeError, r"models\[0\] must be a Keras model, or a path .* got 3"),
    ],
)
def test_what_is_no_model_is_refused(models, error, message):
    with pytest.raises(error, match=message):
        sf.fuse(models)


def test_files_that_are_no_models_are_refused(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ValueError, match="A SavedModel has no Keras layers"):
        sf.fuse([tmp_path / "model"] * 2)
    (tmp_path / "model.keras").write_bytes(b"text")
    (tmp_path / "model.h5").write_bytes(b"text")
    for name in ("model.keras", "model.h5"):
        with pytest.raises(TypeError, match=r"models\[0\]: .* cannot be loaded"):
            sf.fuse([str(tmp_path / name)] * 2)
    estimator = sf.KerasRegressor(net()).initialize(X, X[:, 0])
    with pytest.raises(TypeError, match="pass its model_"):
        sf.fuse([estimator, estimator])


def test_how_is_checked():
    with pytest.raises(ValueError, match=r"how must be 'concat', .*Did you mean 'average'"):
        sf.fuse([net(), net()], "averag")


def test_joined_models_join_again(tmp_path):
    models = [net(**SOFTMAX) for _ in range(4)]
    pairs = [sf.fuse(models[:2], "average"), sf.fuse(models[2:], "average")]
    both = sf.fuse(pairs, "average", kinds="softmax")
    wanted = np.mean([out(model, X) for model in models], axis=0)
    assert_allclose(reloaded(both, tmp_path)(X), wanted, atol=1e-6)


def test_a_strategy_of_ones_own_joins_and_loads_without_its_code(tmp_path):
    def median(tensors):
        return keras.ops.median(keras.ops.stack(tensors, axis=-1), axis=-1)

    models = [net(3, name=name) for name in ("a", "b", "c")]
    joined = sf.fuse(models, median)
    wanted = np.median([model(X) for model in models], axis=0)
    assert_allclose(joined(X), wanted, rtol=1e-6)
    joined.save(tmp_path / "joined.keras")
    assert_array_equal(keras.models.load_model(tmp_path / "joined.keras")(X), joined(X))
    with pytest.raises(TypeError, match=r"how must return a Keras tensor, .* got 3"):
        sf.fuse(models, lambda tensors: 3)
    with pytest.raises(ValueError, match="or a function, got <class"):
        sf.fuse(models, L.Average)
