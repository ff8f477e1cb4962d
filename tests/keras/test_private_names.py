"""The private names of Keras and TensorFlow on which stackfuse relies.

A test that fails names the part of stackfuse that breaks.
"""

import copy
import random
import warnings
from collections import defaultdict
from types import FunctionType

import numpy as np
import pytest

from stackfuse._keras import private


def two_layers():
    import keras

    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="inside")])
    x = keras.Input((3,), name="x")
    last = keras.layers.Dense(1, name="last", kernel_regularizer=keras.regularizers.L2(0.5))
    return keras.Model(x, last(inner(x)))


def compiled():
    model = two_layers()
    model.compile("adam", "mse")
    return model


def history_of():
    model = two_layers()
    operation, call, place = private.history_of(model.outputs[0])
    assert (operation, call, place) == (model.get_layer("last"), 0, 0)


def inbound_nodes():
    import keras

    shared = keras.layers.Dense(3)
    x = keras.Input((3,))
    first = shared(x)
    shared(first)
    one, two = private.inbound_nodes(shared)
    assert one.input_tensors[0] is x
    assert two.input_tensors[0] is one.outputs[0] is first
    assert two.operation is shared
    assert two.arguments.args == (first,)


def node_of():
    model = two_layers()
    node = private.node_of(model.outputs[0])
    assert node.operation is model.get_layer("last")
    assert node.outputs[0] is model.outputs[0]


def flatten_layers():
    model = two_layers()
    names = [layer.name for layer in private.flatten_layers(model)]
    assert names[0] == model.name
    assert {"x", "last", "inside"} < set(names)


def build_for_training():
    import keras

    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    private.build_for_training(model, (np.ones((1, 3)), np.ones((1, 1)), None))
    assert model.layers[0].kernel.shape == (3, 1)
    assert {variable.path.split("/")[0] for variable in model.metrics_variables} == {
        "loss",
        "mean_absolute_error",
    }


def lookup_tables():
    import keras

    table = keras.layers.StringLookup(vocabulary=["a", "b"])
    text = keras.layers.TextVectorization(vocabulary=["a"])
    words = keras.Input((1,), dtype="string")
    model = keras.Model(words, [table(words), text(words)])
    assert len(private.lookup_tables(model)) == 2
    assert not private.lookup_tables(two_layers())


def takes_training():
    import keras

    class Plain(keras.Model):
        def call(self, x):
            return x

    assert private.takes_training(two_layers())
    assert not private.takes_training(Plain())


def compile_arguments():
    import keras

    model, loss = two_layers(), keras.losses.Huber()
    assert private.compile_arguments(model) == {}
    model.compile("adam", loss, metrics=["mae"])
    given = private.compile_arguments(model)
    assert given["loss"] is loss
    assert given["optimizer"] is model.optimizer
    assert given["metrics"] == ["mae"]
    two_layers().compile(**given)


def compute_loss():
    model = compiled()
    x, y = np.ones((2, 3), "float32"), np.zeros((2, 1), "float32")
    weight = np.array([1.0, 3.0], "float32")
    outputs = np.asarray(model(x))
    penalty = 0.5 * np.sum(np.square(model.get_layer("last").kernel))
    wanted = np.mean(weight * np.square(outputs[:, 0])) + penalty
    got = private.compute_loss(model, x, y, outputs, weight, training=False)
    assert float(got) == pytest.approx(wanted, rel=1e-6)


def update_mean_loss():
    model = compiled()
    private.build_for_training(model, (np.ones((1, 3)), np.ones((1, 1)), None))
    private.update_mean_loss(model, 2.0, 3)
    private.update_mean_loss(model, 6.0, 1)
    assert float(model.get_metrics_result()["loss"]) == 3.0


def clip():
    import keras

    optimizer = keras.optimizers.SGD(global_clipnorm=1.0)
    clipped = private.clip(optimizer, [np.array([3.0], "float32"), np.array([4.0], "float32")])
    np.testing.assert_allclose(np.concatenate(clipped), [0.6, 0.8], rtol=1e-6)


def exempt_weights():
    import keras

    plain, told = (keras.optimizers.AdamW(weight_decay=0.1) for _ in range(2))
    told.exclude_from_weight_decay(var_names=["bias"])
    assert private.exempt_weights(plain) == []
    assert [pattern.pattern for pattern in private.exempt_weights(told)] == ["bias"]
    weight = keras.Variable(np.ones(2), name="kernel")
    told.exclude_from_weight_decay(var_list=[weight])
    assert len(private.exempt_weights(told)) == 1


def knows_exempt_weights():
    import keras

    plain, told = (keras.optimizers.AdamW(weight_decay=0.1) for _ in range(2))
    told.exclude_from_weight_decay(var_names=["bias"])
    assert not private.knows_exempt_weights(plain)
    assert private.knows_exempt_weights(told)


def names_anew():
    import keras

    before = int(keras.layers.Dense(1).name.partition("_")[2] or 0)
    with private.names_anew(defaultdict(int)):
        assert [keras.layers.Dense(1).name for _ in range(2)] == ["dense", "dense_1"]
    assert keras.layers.Dense(1).name == f"dense_{before + 1}"


def next_name():
    with private.names_anew(defaultdict(int)):
        assert [private.next_name("joined") for _ in range(2)] == ["joined", "joined_1"]


def seeds_from():
    import keras

    def drawn(seed):
        with private.seeds_from(random.Random(seed)):
            return keras.initializers.GlorotUniform().seed

    state = random.getstate()
    assert drawn(0) == drawn(0) != drawn(1)
    assert random.getstate() == state


def without_array_warnings():
    import keras

    variable = keras.Variable(np.ones(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DeprecationWarning, match="__array__"):
            np.array(variable)
        with private.without_array_warnings():
            assert np.array(variable).tolist() == [1.0, 1.0]


def definition_of():
    import tensorflow as tf

    assert private.definition_of("RandomUniform").is_stateful
    assert not private.definition_of("AddV2").is_stateful
    read = private.definition_of("ReadVariableOp")
    assert [argument.type for argument in read.input_arg] == [tf.resource.as_datatype_enum]
    assert private.definition_of("NoSuchOperation") is None


def dropout():
    import keras

    layer = keras.layers.MultiHeadAttention(1, 2, dropout=0.3)
    assert vars(layer)[private.DROPOUT] == 0.3


def optimizer_warnings(tmp_path):
    import keras

    model = compiled()
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keras.models.load_model(tmp_path / "model.keras")
        copy.deepcopy(model)
    texts = [str(warning.message) for warning in caught if warning.category is UserWarning]
    assert len(texts) >= 2
    assert all(text.startswith(private.OPTIMIZER_WARNINGS) for text in texts)


def node_modules():
    import re

    import keras

    x = keras.Input((2,))
    nested = keras.Model(x, keras.layers.Dense(1)(x))
    config = keras.Model(x, nested(keras.ops.relu(x)) + 1.0).get_config()
    modules = {layer["module"] for layer in config["layers"]}
    assert len(modules) >= 3  # a layer, a model, operations
    assert all(re.match(private.NODE_MODULES, module) for module in modules)


#: For each name, the part of stackfuse that breaks if it goes.
BREAKS = {
    history_of: "fuse, features, exports: the layer that an output comes from",
    inbound_nodes: "fuse, features, exports: walks through a network's graph",
    node_of: "fuse, features, exports: walks through a network's graph",
    flatten_layers: "checks for layers that cannot be copied, shared or trained side by side",
    build_for_training: "training side by side: the metrics' variables before the first batch",
    lookup_tables: "training side by side: networks that look words up would be declined",
    takes_training: "training side by side: subclassed models without the argument",
    compile_arguments: "pickles of networks with losses and metrics of the user's own",
    compute_loss: "training side by side: losses with penalties and sample weights",
    update_mean_loss: "training side by side: history_['loss']",
    clip: "gradients of replicas trained side by side would not be clipped",
    exempt_weights: "shared programs would decay weights that the user exempted",
    knows_exempt_weights: "a copied optimizer would decay weights that the user exempted",
    names_anew: "equal calls would build networks of other names, and TensorFlow's memory grows",
    next_name: "joined models would all have one name",
    seeds_from: "exports would change what other threads draw, or what is drawn after them",
    without_array_warnings: "pickles and exports would warn of what Keras does with numpy 2",
    definition_of: "training side by side: operations with side effects would go unseen",
    dropout: "exports and fused models: attention would drop at random with training=True",
    optimizer_warnings: "clones and pickles of compiled models would warn",
    node_modules: "networks of one architecture would not share one program",
}


@pytest.mark.parametrize("check", BREAKS, ids=lambda check: f"{check.__name__}: {BREAKS[check]}")
def test_a_private_name_does_what_stackfuse_needs(check, tmp_path):
    check(*[tmp_path] * check.__code__.co_argcount)


def test_every_private_name_is_in_the_table():
    public = {
        name
        for name, value in vars(private).items()
        if name[0] != "_"
        and (name.isupper() or getattr(value, "__module__", "") == private.__name__)
        and isinstance(value, FunctionType | str | tuple)
    }
    assert {name.lower() for name in public} == {check.__name__ for check in BREAKS}
