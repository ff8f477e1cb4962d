"""Networks drawn at random: builders, optimizers, callbacks and settings of a fit.

All of it is what people pass to a wrapper; :mod:`tests.support.plain_keras` takes it too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

#: Words of sentences.
WORDS = ["red", "green", "blue", "small", "large"]


class Draw:
    """Choices from a number.

    Parameters
    ----------
    number : int
    """

    def __init__(self, number: int):
        self.random = np.random.default_rng([15, number])

    def of(self, things) -> Any:
        """Return one of some things."""
        return things[int(self.random.integers(len(things)))]

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.random.uniform() < probability)


@dataclass
class DrawnNetwork:
    """The arguments of a wrapper.

    Attributes
    ----------
    params : dict of str to object
        The wrapper's arguments.
    words : dict of str to str
        What was drawn, in words.
    hints : dict of str to object
        What the wrapper has to find out by itself.
    is_subclass : bool
        Whether the wrapper is a subclass with a constructor and a builder of its own.
    """

    params: dict[str, Any] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    hints: dict[str, Any] = field(default_factory=dict)
    is_subclass: bool = False

    def take(self, topic: str, word: str, **params) -> None:
        """Add arguments, and say what they are."""
        self.params |= params
        self.words[topic] = word


def draw_network(choice: Draw, task: str, kind: str, folder: Path) -> DrawnNetwork:
    """Return a network for a task and a kind of X.

    Parameters
    ----------
    choice : Draw
    task : str
    kind : str
        Of X: "table", "ids", "several", "series" or "text".
    folder : Path
        Where callbacks may write.
    """
    drawn = DrawnNetwork()
    kinds = {"ids": [embedded], "several": [joined], "series": SERIES, "text": [worded]}
    builder = choice.of(kinds.get(kind, TABLES))
    if builder is plain and task == "regression" and choice.chance(0.4):
        builder = spread
    if builder is plain and task == "multioutput":
        builder = choice.of([plain, heads])
    drawn.take("network", builder.__name__, model=builder)
    if choice.chance(0.3):
        drawn.take("units", "units", units=int(choice.random.integers(3, 9)))
    _draw_ending(choice, task, builder, drawn)
    if builder is own_optimizer:
        drawn.take("optimizer", "of the builder")
    else:
        _draw_optimizer(choice, drawn)
    _draw_callbacks(choice, drawn, folder)
    _draw_settings(choice, task, drawn)
    if builder is plain and not {"logits", "two_units"} & set(drawn.params) and choice.chance(0.3):
        drawn.is_subclass, drawn.words["network"] = True, "a subclass"
    return drawn


def _draw_ending(choice: Draw, task: str, builder, drawn: DrawnNetwork) -> None:
    classify = task in ("binary", "multiclass", "multilabel")
    if classify and choice.chance(0.25):
        drawn.take("ending", "logits", logits=True)
    if task == "binary" and choice.chance(0.3):
        drawn.take("ending2", "two units", two_units=True)
    if builder is own_model or (builder is not heads and choice.chance(0.15)):
        loss = _loss(choice, task, drawn.params)
        drawn.take("loss", _shown(loss), loss=loss)
    if builder is spread:
        drawn.take("loss", "likelihood", loss=likelihood, predict__output=0)
    if builder is own_optimizer:
        drawn.params.pop("loss", None)
        drawn.words.pop("loss", None)


def _loss(choice: Draw, task: str, params: dict[str, Any]) -> Any:
    logits = params.get("logits", False)
    if task in ("regression", "multioutput"):
        return choice.of(["mae", "huber", keras.losses.LogCosh(), own_squares, Steeper()])
    if task == "multilabel" or (task == "binary" and not params.get("two_units")):
        kinds = [keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy]
    else:
        kinds = [keras.losses.SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy]
    return choice.of(kinds)(from_logits=logits)


def own_squares(y, predicted):
    """Return a loss as users write it."""
    return keras.ops.mean(keras.ops.square(y - predicted) * 1.5, axis=-1)


def likelihood(y, outputs):
    """Return minus the logarithm of a normal density, of a mean and a logarithmic variance."""
    mean, spread = outputs[:, :1], outputs[:, 1:]
    return spread + keras.ops.square(y - mean) * keras.ops.exp(-spread)


def noted(epoch, logs):
    """Do nothing, as a callback."""


def halving(epoch, rate):
    """Return half of the learning rate from the second epoch on."""
    return rate if epoch == 0 else rate * 0.5


class SlowsDown(keras.callbacks.Callback):
    """A callback of the user's own, which reads logs and sets the learning rate."""

    def on_epoch_end(self, epoch, logs=None):
        rate = float(self.model.optimizer.learning_rate)
        self.model.optimizer.learning_rate = rate * (0.9 if (logs or {})["loss"] > 0 else 1.0)


class Remembers(keras.callbacks.Callback):
    """A callback of the user's own, which only reads logs."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append((logs or {})["loss"])


def _draw_optimizer(choice: Draw, drawn: DrawnNetwork) -> None:
    schedules = keras.optimizers.schedules
    rate = choice.of(
        [
            0.01,
            0.003,
            schedules.ExponentialDecay(0.01, 2, 0.5),
            schedules.CosineDecay(0.01, 6, warmup_target=0.02, warmup_steps=2),
            schedules.PiecewiseConstantDecay([2, 4], [0.02, 0.01, 0.001]),
        ]
    )
    rate = 0.01 if choice.chance(0.6) else rate
    kinds = ["Adam", "AdamW", "SGD", "RMSprop", "Nadam", "Adagrad", "Adamax", "Ftrl"]
    kind = choice.of([*kinds, "Adadelta", "Lamb", "Adafactor", "Lion"])
    kind = "Adam" if choice.chance(0.3) else kind
    settings = dict(_optimizer_setting(choice, kind)) if choice.chance(0.45) else {}
    words = ", ".join([kind, *map(_shown, settings.items()), "" if rate == 0.01 else _shown(rate)])
    if isinstance(rate, schedules.LearningRateSchedule):
        drawn.words["scheduled"] = "scheduled"
    how = choice.of(["name", "name", "instance", "instance", "class", "routed"])
    if how == "name" and not settings and rate == 0.01:
        drawn.take("optimizer", kind.lower(), optimizer=kind.lower())
    elif how == "routed":
        routed = {f"optimizer__{name}": value for name, value in settings.items()}
        routed["optimizer__learning_rate"] = rate
        drawn.take("optimizer", f"{words} routed", optimizer=kind.lower(), **routed)
    elif how == "class":
        optimizer = getattr(keras.optimizers, kind)
        routed = {f"optimizer__{name}": value for name, value in settings.items()}
        routed["optimizer__learning_rate"] = rate
        drawn.take("optimizer", f"{words} class", optimizer=optimizer, **routed)
    else:
        optimizer = getattr(keras.optimizers, kind)(learning_rate=rate, **settings)
        drawn.take("optimizer", words, optimizer=optimizer)


def _optimizer_setting(choice: Draw, kind: str) -> dict[str, Any]:
    options: list[dict[str, Any]] = [
        {"clipnorm": 0.1},
        {"clipvalue": 0.02},
        {"global_clipnorm": 0.2},
        {"use_ema": True, "ema_momentum": 0.5},
        {"use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 2},
        {"weight_decay": 0.05},
        {"gradient_accumulation_steps": 2},
    ]
    own = {
        "SGD": {"momentum": 0.8, "nesterov": True},
        "Adam": {"amsgrad": True},
        "AdamW": {"weight_decay": 0.1, "beta_1": 0.8},
        "RMSprop": {"momentum": 0.5, "centered": True},
        "Ftrl": {"l1_regularization_strength": 0.01},
    }
    if kind in own:
        options.append(own[kind])
    setting = choice.of(options)
    return setting | ({"weight_decay": 0.02} if choice.chance(0.2) else {})


def _draw_callbacks(choice: Draw, drawn: DrawnNetwork, folder: Path) -> None:
    if choice.chance(0.55):
        return
    callbacks = keras.callbacks
    options: list[Callable[[], Any]] = [
        lambda: callbacks.EarlyStopping("loss", patience=0, min_delta=1.0),
        lambda: callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True),
        lambda: callbacks.TerminateOnNaN(),
        lambda: callbacks.CSVLogger(str(folder / "log.csv")),
        lambda: callbacks.ModelCheckpoint(
            str(folder / "best.weights.h5"), monitor="loss", save_weights_only=True
        ),
        lambda: callbacks.LambdaCallback(on_epoch_end=noted),
        Remembers,
    ]
    if "scheduled" not in drawn.words:  # Keras lets nobody set a rate that has a schedule
        options += [
            lambda: callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=1.0),
            lambda: callbacks.LearningRateScheduler(halving),
            SlowsDown,
        ]
    chosen = [choice.of(options)() for _ in range(2 if choice.chance(0.25) else 1)]
    words = ", ".join(type(callback).__name__ for callback in chosen)
    if choice.chance(0.15):
        settings = {"callbacks__monitor": "loss", "callbacks__patience": 1}
        drawn.take("callbacks", "a class", callbacks=callbacks.EarlyStopping, **settings)
        return
    form = choice.of(["list", "list", "list", "alone", "dict"])
    given = {"list": chosen, "alone": chosen[0], "dict": dict(enumerate_names(chosen))}[form]
    drawn.take("callbacks", f"{words} in a {form}" if form != "list" else words, callbacks=given)


def enumerate_names(things: list) -> list[tuple[str, Any]]:
    """Return things with names."""
    return [(f"n{number}", thing) for number, thing in enumerate(things)]


def _draw_settings(choice: Draw, task: str, drawn: DrawnNetwork) -> None:
    drawn.take("epochs", "", epochs=0 if choice.chance(0.03) else choice.of([1, 2, 2]))
    drawn.words["epochs"] = f"{drawn.params['epochs']} epochs"
    size = choice.of([32, 16, 16, 20, None, -1])
    if size != 32:
        drawn.take("batch", f"batches of {size}", batch_size=size)
    if choice.chance(0.2):
        drawn.take("validation", "validation", validation_split=0.25)
        if choice.chance(0.4):
            which = choice.of(["last", "random"])
            drawn.take("which", f"of the {which}", validation=which)
        if choice.chance(0.3):
            routed = {"fit__validation_freq": 2, "validation_batch_size": 4}
            name = choice.of(list(routed))
            drawn.take("validation", f"validation, {name}", **{name: routed[name]})
        elif choice.chance(0.5):
            stop = keras.callbacks.EarlyStopping(patience=0, min_delta=1.0)
            drawn.take("callbacks", "EarlyStopping of val_loss", callbacks=[stop])
            for name in ("callbacks__monitor", "callbacks__patience"):
                drawn.params.pop(name, None)
    if task in ("binary", "multiclass") and choice.chance(0.12):
        drawn.take("weights", "balanced", class_weight="balanced")
    if choice.chance(0.15):
        drawn.take("shuffle", "no shuffle", shuffle=False)
    if choice.chance(0.2) and drawn.params["model"] not in (heads, spread):
        _draw_metrics(choice, task, drawn)
    if choice.chance(0.08):
        drawn.take("predict", "predicts 7 at a time", predict__batch_size=7)
    options = [("steps_per_execution", 2), ("jit_compile", False), ("run_eagerly", True)]
    if choice.chance(0.05):
        drawn.take("verbose", "verbose=2", verbose=2)
    if choice.chance(0.1) and drawn.params["model"] is not own_optimizer:
        name, value = choice.of(options)
        drawn.take("compile", f"{name}={value}", **{f"compile__{name}": value})


def _draw_metrics(choice: Draw, task: str, drawn: DrawnNetwork) -> None:
    regress = task in ("regression", "multioutput")
    forms = {
        "a name": ["mae"] if regress else ["accuracy"],
        "a name without a list": "mae",
        "an object": [keras.metrics.MeanAbsoluteError(name="far")],
        "a class": [keras.metrics.MeanAbsoluteError],
        "an own function": [distance],
        "an own class": [Farthest()],
    }
    form = choice.of(list(forms) if regress else ["a name", "a name", "an own function"])
    if isinstance(drawn.params.get("loss"), keras.losses.SparseCategoricalCrossentropy):
        form = "a name"  # class numbers, of shape (n,), are not to be subtracted from (n, 3)
    if regress or drawn.params.get("loss") is not None or form == "a name":
        drawn.take("metrics", f"metrics: {form}", metrics=forms[form])


def distance(y, predicted):
    """Return a metric as users write it."""
    return keras.ops.mean(keras.ops.abs(keras.ops.cast(y, predicted.dtype) - predicted))


class Farthest(keras.metrics.Metric):
    """A metric of the user's own, which is not registered."""

    def __init__(self, name="farthest", **settings):
        super().__init__(name=name, **settings)
        self.largest = self.add_weight(shape=(), initializer="zeros", name="largest")

    def update_state(self, y_true, y_pred, sample_weight=None):
        far = keras.ops.max(keras.ops.abs(keras.ops.cast(y_true, y_pred.dtype) - y_pred))
        self.largest.assign(keras.ops.maximum(self.largest, far))

    def result(self):
        # Not the variable itself: Keras reads that after the validation, which changes it.
        return self.largest + 0.0


class Steeper(keras.losses.Loss):
    """A loss of the user's own, which is not registered."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 1.5, axis=-1)


def _shown(value) -> str:
    """Return a value in words, the same in every process."""
    if isinstance(value, tuple):
        return f"{value[0]}={value[1]}"
    name = getattr(value, "__name__", None) or type(value).__name__
    return value if isinstance(value, str) else str(value) if np.isscalar(value) else name


# ---------------------------------------------------------------------------- builders


def _last(meta, logits: bool, two_units: bool):
    """Return the last layer for a target."""
    kind = meta["target_type_"]
    if kind.startswith("continuous"):
        return layers.Dense(meta["n_outputs_"])
    if kind == "multilabel-indicator":
        return layers.Dense(meta["n_outputs_"], None if logits else "sigmoid")
    if kind == "binary" and not two_units:
        return layers.Dense(1, None if logits else "sigmoid")
    return layers.Dense(meta["n_classes_"], None if logits else "softmax")


def _chain(meta, *inner, logits, two_units):
    last = _last(meta, logits, two_units)
    return keras.Sequential([keras.Input(meta["X_shape_"][1:]), *inner, last])


def plain(meta, units=6, logits=False, two_units=False):
    """Return a chain of dense layers."""
    inner = layers.Dense(units, "relu"), layers.Dense(4, "tanh")
    return _chain(meta, *inner, logits=logits, two_units=two_units)


def dropped(meta, units=6, logits=False, two_units=False):
    """Return a chain with random layers."""
    inner = layers.GaussianNoise(0.1), layers.Dense(units, "relu"), layers.Dropout(0.3)
    return _chain(meta, *inner, logits=logits, two_units=two_units)


def normalized(meta, units=6, logits=False, two_units=False):
    """Return a chain with layers that keep a state."""
    # A bias in front would learn from rounding alone, which Adam's kin make as large as any.
    first = layers.Dense(units, use_bias=False)
    inner = first, layers.BatchNormalization(momentum=0.8), layers.ReLU()
    return _chain(meta, *inner, layers.LayerNormalization(), logits=logits, two_units=two_units)


def regularized(meta, units=6, logits=False, two_units=False):
    """Return a chain with penalties."""
    inner = layers.Dense(units, "selu", kernel_regularizer="l2", activity_regularizer="l2")
    return _chain(meta, inner, logits=logits, two_units=two_units)


def constrained(meta, units=6, logits=False, two_units=False):
    """Return a chain whose weights have a constraint."""
    inner = layers.Dense(units, "relu", kernel_constraint=keras.constraints.MaxNorm(0.7))
    return _chain(meta, inner, logits=logits, two_units=two_units)


def frozen_part(meta, units=6, logits=False, two_units=False):
    """Return a chain of which one layer is not trained."""
    inner = layers.Rescaling(0.5), layers.Dense(units, "relu", trainable=False)
    return _chain(meta, *inner, logits=logits, two_units=two_units)


def residual(meta, units=6, logits=False, two_units=False):
    """Return a graph of layers, one of which is used twice."""
    x = keras.Input(meta["X_shape_"][1:])
    first, twice = layers.Dense(units, "relu")(x), layers.Dense(units, "tanh")
    both = layers.Add()([first, twice(twice(first))])
    return keras.Model(x, _last(meta, logits, two_units)(both))


def nested_model(meta, units=6, logits=False, two_units=False):
    """Return a graph that holds a model."""
    x = keras.Input(meta["X_shape_"][1:])
    inner = keras.Sequential([layers.Dense(units, "relu"), layers.Dense(3, "relu")])
    return keras.Model(x, _last(meta, logits, two_units)(inner(x)))


class Scales(layers.Layer):
    """A layer of the user's own."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.scale


def own_layer(meta, units=6, logits=False, two_units=False):
    """Return a chain with a layer of the user's own."""
    inner = Scales(), layers.Dense(units, "relu")
    return _chain(meta, *inner, logits=logits, two_units=two_units)


class Subclassed(keras.Model):
    """A model of the user's own."""

    def __init__(self, units, last):
        super().__init__()
        self.hidden = layers.Dense(units, "relu")
        self.last = last

    def call(self, x):
        return self.last(self.hidden(x))


def own_model(meta, units=6, logits=False, two_units=False):
    """Return a model of a class of the user's own, built."""
    model = Subclassed(units, _last(meta, logits, two_units))
    model.build((None, *meta["X_shape_"][1:]))
    model(np.zeros((1, *meta["X_shape_"][1:]), "float32"))
    return model


def own_optimizer(meta, units=6, logits=False, two_units=False):
    """Return a chain that comes compiled."""
    model = plain(meta, units, logits, two_units)
    single = model.output_shape[-1] == 1 or meta["target_type_"] == "multilabel-indicator"
    losses = keras.losses
    kind = losses.BinaryCrossentropy if single else losses.SparseCategoricalCrossentropy
    regress = meta["target_type_"].startswith("continuous")
    loss = "mean_squared_error" if regress else kind(from_logits=logits)
    model.compile(keras.optimizers.Adam(0.02), loss)
    return model


def by_kwargs(meta, compile_kwargs, units=6, logits=False, two_units=False):
    """Return a chain that is compiled with what the wrapper was given."""
    model = plain(meta, units, logits, two_units)
    model.compile(**compile_kwargs)
    return model


def of_any_arguments(meta, **arguments):
    """Return a chain, from arguments by any name."""
    mine = ("units", "logits", "two_units")  # who takes anything is given everything
    return plain(meta, **{name: arguments[name] for name in mine if name in arguments})


def wide(meta, units=6, logits=False, two_units=False):
    """Return a chain that computes in float64."""
    x = keras.Input(meta["X_shape_"][1:], dtype="float64")
    hidden = layers.Dense(units, "relu", dtype="float64")(x)
    last = _last(meta, logits, two_units)
    return keras.Model(x, type(last).from_config(last.get_config() | {"dtype": "float64"})(hidden))


def embedded(meta, units=6, logits=False, two_units=False):
    """Return a network of whole numbers."""
    ids = keras.Input(meta["X_shape_"][1:], dtype="int32")
    words = layers.Flatten()(layers.Embedding(7, 3)(ids))
    hidden = layers.Dense(units, "relu")(words)
    return keras.Model(ids, _last(meta, logits, two_units)(hidden))


def heads(meta, units=6, logits=False, two_units=False):
    """Return a network with an output for each column of y."""
    x = keras.Input(meta["X_shape_"][1:])
    hidden = layers.Dense(units, "relu")(x)
    return keras.Model(x, [layers.Dense(1)(hidden) for _ in range(meta["n_outputs_"])])


def joined(meta, units=6, logits=False, two_units=False):
    """Return a network of two inputs."""
    left, right = keras.Input((4,), name="left"), keras.Input((3, 2), name="right")
    hidden = layers.Concatenate()([layers.Dense(units, "relu")(left), layers.Flatten()(right)])
    return keras.Model([left, right], _last(meta, logits, two_units)(hidden))


def spread(meta, units=6, logits=False, two_units=False):
    """Return a network of a mean and a logarithmic variance."""
    inner = layers.Dense(units, "relu"), layers.Dense(2)
    return keras.Sequential([keras.Input(meta["X_shape_"][1:]), *inner])


def worded(meta, units=6, logits=False, two_units=False):
    """Return a network of sentences."""
    text = keras.Input((1,), dtype="string")
    ids = layers.TextVectorization(vocabulary=WORDS[:-1], output_sequence_length=4)(text)
    words = layers.GlobalAveragePooling1D()(layers.Embedding(len(WORDS) + 2, 3)(ids))
    hidden = layers.Dense(units, "relu")(words)
    return keras.Model(text, _last(meta, logits, two_units)(hidden))


def recurrent(meta, units=6, logits=False, two_units=False):
    """Return a network of series."""
    return _chain(meta, layers.GRU(units), logits=logits, two_units=two_units)


def convolved(meta, units=6, logits=False, two_units=False):
    """Return a network of series."""
    inner = layers.Conv1D(units, 2, activation="relu"), layers.GlobalAveragePooling1D()
    return _chain(meta, *inner, logits=logits, two_units=two_units)


def flattened(meta, units=6, logits=False, two_units=False):
    """Return a network of series that takes them as one row."""
    inner = layers.Flatten(), layers.Dense(units, "relu")
    return _chain(meta, *inner, logits=logits, two_units=two_units)


TABLES = [
    *(plain, plain, plain, dropped, dropped, normalized, regularized, constrained, frozen_part),
    *(residual, nested_model, own_layer, own_model, own_optimizer, by_kwargs),
    *(of_any_arguments, wide),
]
SERIES = [recurrent, convolved, convolved, flattened]


def as_model(drawn: DrawnNetwork, meta: dict[str, Any], seed: int, path: Path | None) -> None:
    """Put a model, or the path of its file, in place of the builder that makes it."""
    kept = ("units", "logits", "two_units")
    arguments = {name: drawn.params[name] for name in kept if name in drawn.params}
    keras.utils.set_random_seed(seed)
    model = drawn.params["model"](meta, **arguments)
    drawn.hints = {"logits": drawn.params.get("logits", False)}
    for name in kept:
        drawn.params.pop(name, None)
    if path is not None:
        model.save(path)
    form = "as a model" if path is None else "as a model in a file"
    model = model if path is None else str(path)
    drawn.take("network", f"{drawn.words['network']} {form}", model=model)
