from itertools import combinations

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from stackfuse._fusion.strategies import (
    FUSIONS,
    check_convex,
)

TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def normalized(x):
    return x / x.sum(axis=-1, keepdims=True)


def mixture(tensors, weights):
    return sum(weights[..., k : k + 1] * t for k, t in enumerate(tensors))


def pairs(tensors):
    products = [np.einsum("...i,...j->...ij", a, b) for a, b in combinations(tensors, 2)]
    return np.concatenate([p.reshape(*p.shape[:-2], -1) for p in products], axis=-1)


GIVEN = [0.2, 0.5, 0.3]

#: name, options, and the formula: (tensors, weights of the layers in order) -> array
CASES = {
    "concat": ("concat", {}, lambda t, w: np.concatenate(t, axis=-1)),
    "dense": (
        "dense",
        {"hidden_units": (5,), "activation": "tanh"},
        lambda t, w: np.tanh(np.concatenate(t, axis=-1) @ w[0] + w[1]),
    ),
    "add": ("add", {}, lambda t, w: np.sum(t, axis=0)),
    "average": ("average", {}, lambda t, w: np.mean(t, axis=0)),
    "maximum": ("maximum", {}, lambda t, w: np.max(t, axis=0)),
    "multiply": ("multiply", {}, lambda t, w: np.prod(t, axis=0)),
    "experts": ("multiply", {"normalize": True}, lambda t, w: normalized(np.prod(t, axis=0))),
    "weighted": ("weighted", {}, lambda t, w: np.tensordot(softmax(w[0])[0], np.array(t), 1)),
    "weighted-given": (
        "weighted",
        {"weights": GIVEN},
        lambda t, w: np.tensordot(GIVEN, np.array(t), 1),
    ),
    "geometric": ("geometric", {}, lambda t, w: normalized(np.prod(t, axis=0) ** (1 / 3))),
    "geometric-given": (
        "geometric",
        {"weights": GIVEN, "normalize": False},
        lambda t, w: np.prod([a**g for a, g in zip(t, GIVEN)], axis=0),
    ),
    "geometric-learned": (
        "geometric",
        {"weights": "learned"},
        lambda t, w: normalized(np.exp(np.tensordot(softmax(w[0])[0], np.log(t), 1))),
    ),
    "attention": (
        "attention",
        {},
        lambda t, w: mixture(t, softmax(np.concatenate(t, axis=-1) @ w[0] + w[1])),
    ),
    "gated": (
        "gated",
        {"hidden_units": (5,)},
        lambda t, w: mixture(
            t, softmax(np.tanh(np.concatenate(t, axis=-1) @ w[0] + w[1]) @ w[2] + w[3])
        ),
    ),
    "bilinear": ("bilinear", {}, lambda t, w: pairs(t)),
}


def graph_of(name, options, shape, dtype):
    """Return a model of the strategy over three inputs, with random trainable weights."""
    inputs = [keras.Input(shape, dtype=dtype) for _ in range(3)]
    model = keras.Model(inputs, FUSIONS[name](inputs, **options))
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_a_strategy_is_its_formula_before_and_after_saving(case, dtype, tmp_path):
    name, options, formula = CASES[case]
    rng = np.random.default_rng(1)
    for shape in [(4,), (2, 4)]:
        model = graph_of(name, options, shape, dtype)
        tensors = [normalized(rng.uniform(0.01, 1, (6, *shape))).astype(dtype) for _ in range(3)]
        wanted = formula([t.astype("float64") for t in tensors], model.get_weights())
        assert_allclose(model(tensors), wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
        assert model.output.dtype == dtype
        assert model.output.shape[1:] == wanted.shape[1:]
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
        np.testing.assert_array_equal(again(tensors), model(tensors))


@pytest.mark.parametrize("name", ["attention", "gated"])
def test_the_weights_of_a_row_may_depend_on_something_else(name):
    rng = np.random.default_rng(0)
    context = keras.Input((2,), dtype="float64")
    inputs = [keras.Input((3, 4), dtype="float64") for _ in range(2)]  # one weight for 3 places
    options = {} if name == "attention" else {"hidden_units": ()}
    model = keras.Model([context, *inputs], FUSIONS[name](inputs, context=context, **options))
    kernel, bias = rng.normal(size=(2, 2)), rng.normal(size=2)
    model.set_weights([kernel, bias])
    c, *tensors = rng.normal(size=(5, 2)), rng.normal(size=(5, 3, 4)), rng.normal(size=(5, 3, 4))
    weights = softmax(c @ kernel + bias)[:, None, :]
    assert_allclose(model([c, *tensors]), mixture(tensors, weights), rtol=1e-13)


@pytest.mark.parametrize("name", ["weighted", "attention", "gated"])
def test_what_is_learned_begins_as_the_average(name):
    inputs = [keras.Input((4,), dtype="float64") for _ in range(3)]
    model = keras.Model(inputs, FUSIONS[name](inputs))
    tensors = np.random.default_rng(0).normal(size=(3, 5, 4))
    assert_allclose(model(list(tensors)), tensors.mean(axis=0), rtol=1e-13)


def test_given_weights_are_not_trained():
    inputs = [keras.Input((4,)) for _ in range(2)]
    assert keras.Model(inputs, FUSIONS["weighted"](inputs, weights=[1, 0])).trainable_weights == []


def test_products_of_many_small_probabilities_do_not_vanish():
    inputs = [keras.Input((2,)) for _ in range(20)]
    model = keras.Model(inputs, FUSIONS["multiply"](inputs, normalize=True))
    p = np.array([[1e-6, 2e-6]], "float32")  # to the power of 20: no float32
    assert_allclose(model([p] * 20), normalized(np.array([[1.0, 2.0**20]])), rtol=1e-4)
    model = keras.Model(inputs[:2], FUSIONS["multiply"](inputs[:2], normalize=True))
    certain = [np.array([[1.0, 0.0]], "float32"), np.array([[0.0, 1.0]], "float32")]
    assert_allclose(model(certain), [[0.5, 0.5]])


def test_nothing_broadcasts_not_even_when_the_graph_runs():
    one, three = keras.Input((1,)), keras.Input((3,))
    unknown = [keras.Input((None, 2)) for _ in range(2)]
    for name in set(FUSIONS) - {"dense", "concat", "bilinear"}:
        with pytest.raises(ValueError, match="shape"):
            FUSIONS[name]([one, three])
        model = keras.Model(unknown, FUSIONS[name](unknown))
        with pytest.raises(Exception, match=r"(?i)shape"):
            model([np.ones((4, 1, 2), "float32"), np.ones((4, 3, 2), "float32")])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, 0.6], "sum to 1, got .* which sum to 1.1"),
        ([1.5, -0.5], "at least 0"),
        ([np.nan, 1.0], "at least 0 and sum to 1"),
        ([1.0], "2 numbers, one per model, or 'learned'"),
    ],
)
def test_weights_that_are_not_convex_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        check_convex(weights, 2)


def test_the_word_for_weights_is_checked():
    with pytest.raises(ValueError, match="'learned' or numbers, got 'equal'"):
        FUSIONS["weighted"]([keras.Input((1,)), keras.Input((1,))], weights="equal")
