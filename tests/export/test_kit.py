"""The proofs for converters and formats find what is wrong with them."""

import zipfile

import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import check_array

import stackfuse as sf
from stackfuse._export.formats.table import FORMATS

#: Rows with values that no float32 holds, and a threshold in their middle.
ROWS = np.random.default_rng(0).normal(size=(80, 3))
CUT = float(np.median(ROWS[:, 1]))


class Fitted(BaseEstimator):
    """The methods that all estimators below share."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        self.classes_ = np.array([0, 1, 2])
        return self


class Step(RegressorMixin, Fitted):
    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        if np.isnan(X).any():
            raise ValueError("NaN")
        return np.where(X[:, 1] <= CUT, 1.0, 3.0) + X[:, 0]


class Shift(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.asarray(X) + 0.1


class Scores(ClassifierMixin, Fitted):
    def decision_function(self, X):
        return check_array(X) * np.array([1.0, 2.0, 3.0])

    def predict_proba(self, X):
        scores = np.exp(self.decision_function(X).clip(-50, 50))
        return scores / scores.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.decision_function(X).argmax(axis=1)


def step(compare=ops.less_equal, cut=CUT, mask=True):
    def convert(estimator, x, method):
        x = x if mask else x.numbers(wanted_by="Step")
        low, high = (np.full(1, value, x.dtype) for value in (1.0, 3.0))
        return ops.where(compare(x[:, 1], np.full(1, cut, x.dtype)), low, high) + x[:, 0]

    return convert


def nan_becomes_zero(estimator, x, method):
    x = ops.where(ops.isnan(x), ops.zeros_like(x), x)
    return x + np.full(1, 0.1, x.dtype)


def scores(order=(0, 1, 2), methods=("predict_proba", "label", "decision_function")):
    def convert(estimator, x, method):
        if method not in methods:
            raise sf.NotConvertible(f"Scores.{method} is not there.")
        decision = x * np.array([1.0, 2.0, 3.0], x.dtype)
        if method == "decision_function":
            return decision
        if method == "label":
            return ops.cast(ops.argmax(decision, axis=1), "int64")
        return ops.take(ops.softmax(decision, axis=1), np.array(order), axis=1)

    return convert


RIGHT = {
    "a threshold": (Step, step()),
    "a constant": (Shift, lambda e, x, method: x + np.full(1, 0.1, x.dtype)),
    "classes": (Scores, scores()),
}

#: Converters with one fault each, and what is said of it.
WRONG = {
    "an edge is one float off": (
        (Step, step(cut=np.nextafter(CUT, np.inf))),
        (sf.ParityError, "on a value at which the estimator's answer jumps"),
    ),
    "less in place of less or equal": (
        (Step, step(compare=ops.less)),
        (sf.ParityError, "on a value at which the estimator's answer jumps"),
    ),
    "NaN is answered": (
        (Shift, nan_becomes_zero),
        (sf.ParityError, "with a missing value: 'features' is .* instead of nan"),
    ),
    "classes in another order": (
        (Scores, scores(order=(0, 2, 1))),
        (sf.ParityError, "The graph disagrees with the estimator: 'probabilities' differs in 80"),
    ),
    "float32 on the way": (
        (
            Shift,
            lambda e, x, m: ops.cast(ops.cast(x, "float32"), x.dtype) + np.full(1, 0.1, x.dtype),
        ),
        (sf.ParityError, "'features' differs .* in the dtype of x"),
    ),
    "a method is missing": (
        (Scores, scores(methods=("predict_proba", "label"))),
        (sf.NotConvertible, r"Scores\.decision_function is not there"),
    ),
    "a method is another": (
        (Scores, lambda e, x, m: scores()(e, x, "label" if m == "label" else "predict_proba")),
        (sf.ParityError, "The graph's decision_function disagrees"),
    ),
    "one row alone has no axis": (
        (Shift, lambda e, x, m: ops.reshape(ops.mean(x, axis=0, keepdims=True) * 0 + x, (-1, 3))),
        (sf.ParityError, "'features' differs in 80 of 80 rows"),
    ),
}


def fitted(cls, converter):
    """Return a fitted estimator of a new class, with a converter of its own."""
    own = type(cls.__name__, (cls,), {})
    sf.converter_for(own)(converter)
    return own().fit(ROWS)


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_converter_is_accepted(case):
    assert sf.testing.check_converter(fitted(*RIGHT[case]), ROWS, formats=[]) > 200


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_converter_is_found(fault):
    case, (error, message) = WRONG[fault]
    with pytest.raises(error, match=message):
        sf.testing.check_converter(fitted(*case), ROWS, formats=[])


def test_nan_that_the_estimator_refuses_is_found():
    own = type("Step", (Step,), {})
    sf.converter_for(own, frames=True)(step())
    with pytest.raises(
        sf.ParityError,
        match="predicts a made-up row for which the estimator raises an error, with a mis",
    ):
        sf.testing.check_converter(own().fit(ROWS), ROWS, formats=[])


def test_a_number_that_a_file_holds_in_float32_is_found():
    """A 0-d array is right in memory, and comes back from the file as a Python number."""

    def convert(estimator, x, method):
        low, high = (np.full(1, value, x.dtype) for value in (1.0, 3.0))
        return ops.where(ops.less_equal(x[:, 1], np.array(CUT, x.dtype)), low, high) + x[:, 0]

    model = fitted(Step, convert)
    assert sf.testing.check_converter(model, ROWS, formats=[])
    with pytest.raises(sf.ParityError, match=r"The Keras file disagrees .* answer jumps"):
        sf.testing.check_converter(model, ROWS, formats=["keras"])


def test_files_are_run_in_every_installed_format(monkeypatch):
    written = []
    for form in FORMATS.values():
        write = form.write

        def noted(graph, path, write=write, name=form.name):
            written.append((name, graph.signature.inputs["x"].dtype))
            write(graph, path)

        monkeypatch.setattr(form, "write", noted)
    sf.testing.check_converter(fitted(*RIGHT["a constant"]), ROWS)
    wide, narrow = ("keras", "onnx", "saved_model"), ("litert", "openvino")
    assert set(written) >= {(n, "float64") for n in wide} | {(n, "float32") for n in narrow}


def test_methods_can_be_chosen(iris):
    X, y = iris
    model = KMeans(3, n_init=1, random_state=0).fit(X)
    assert sf.testing.check_converter(model, X, formats=[]) > 100
    with pytest.raises(ValueError, match="'predict_proba', but KMeans has no such method"):
        sf.testing.check_converter(model, X, methods=["predict_proba"])
    logistic = LogisticRegression(max_iter=500).fit(X, y)
    few = sf.testing.check_converter(logistic, X, methods=[], formats=[])
    assert few < sf.testing.check_converter(logistic, X, formats=[])


def test_undeclared_jumps_are_the_thresholds_of_a_tree(diabetes):
    from stackfuse._export.kit.jumps import jumps_of

    X, y = diabetes
    X = X[:, 2:5]
    tree = DecisionTreeRegressor(max_depth=2, random_state=0).fit(X, y)
    found = jumps_of(lambda numbers: tree.predict(numbers)[:, None], X[:60])
    inner = tree.tree_.feature >= 0
    wanted = np.column_stack([tree.tree_.feature[inner], tree.tree_.threshold[inner]])
    # The tree rounds X to float32, so the last float64 before a jump is half a float32 away.
    assert_allclose(found, np.unique(wanted, axis=0), rtol=1e-7)


@pytest.mark.parametrize("format", FORMATS)
def test_formats_are_proved(format):
    sf.testing.check_format(format)


def without_weights(form):
    contents = form.contents
    return lambda path: (part for part in contents(path) if part[0] == "config.json")


def cut_short(form):
    attached = form.attached
    return lambda path: attached(path)[:2000]


def empty(form):
    def write(graph, path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")

    return write


WRONG_FORMATS = {
    "contents": (without_weights, "files of two models have equal digests"),
    "attached": (cut_short, "it is not a Keras file, or is damaged"),
    "write": (empty, "tensorflow cannot run the Keras file"),
}


@pytest.mark.parametrize("method", WRONG_FORMATS)
def test_a_wrong_format_is_found(method, monkeypatch):
    form, (wrong, message) = FORMATS["keras"], WRONG_FORMATS[method]
    monkeypatch.setattr(form, method, wrong(form))
    with pytest.raises((AssertionError, ValueError, sf.NotConvertible), match=message):
        sf.testing.check_format("keras")
