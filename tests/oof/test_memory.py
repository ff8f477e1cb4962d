"""Fits kept on disk: counted, compared with fits that were not kept, damaged, and raced for."""

import importlib
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf
from stackfuse._oof.memory.fingerprint import (
    NotComparable,
    fingerprint,
)
from tests.support.networks import build_classifier, build_regressor


class Counting(LogisticRegression):
    """Counts the fits of all its instances, in this process."""

    n_fits = 0

    def fit(self, X, y, sample_weight=None):
        Counting.n_fits += 1
        return super().fit(X, y, sample_weight)


class Logging(LogisticRegression):
    """Counts its fits in all processes, by a line in a file."""

    def __init__(self, log="", C=1.0):
        super().__init__(C=C)
        self.log = log

    def fit(self, X, y, sample_weight=None):
        with open(self.log, "a") as file:
            file.write("fit\n")
        return super().fit(X, y, sample_weight)


def count(function) -> int:
    Counting.n_fits = 0
    function()
    return Counting.n_fits


METAS = [
    LogisticRegression(),
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(3, random_state=0),
    sf.FusionClassifier(epochs=2, random_state=0),
]


def test_a_search_over_meta_learners_fits_every_base_once(iris, tmp_path):
    X, y = iris
    stack = sf.StackingClassifier([("base", Counting())], cv=3, random_state=0)
    grid = {"final_estimator": METAS}
    plain = GridSearchCV(stack, grid, cv=3)
    stored = GridSearchCV(stack.set_params(memory=tmp_path), grid, cv=3)
    assert count(lambda: stored.fit(X, y)) == 3 * (3 + 1) + (3 + 1)
    assert count(lambda: stored.fit(X, y)) == 0
    stack.set_params(memory=None)
    assert count(lambda: plain.fit(X, y)) == 4 * 3 * (3 + 1) + (3 + 1)
    assert_array_equal(stored.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])
    assert_array_equal(stored.predict_proba(X), plain.predict_proba(X))


def test_a_parallel_search_fits_every_base_once(iris, tmp_path):
    X, y = iris
    log = tmp_path / "log"
    stack = sf.StackingClassifier([("base", Logging(str(log)))], cv=3, memory=tmp_path)
    search = GridSearchCV(stack, {"final_estimator": METAS[:3]}, cv=3, n_jobs=2)
    search.fit(X, y)
    assert len(log.read_text().splitlines()) == 16
    search.fit(X, y)
    assert len(log.read_text().splitlines()) == 16


@pytest.mark.parametrize("refit", [True, False])
def test_networks_are_found_again_bit_by_bit(iris, tmp_path, refit):
    X, y = iris
    bases = [
        ("net", sf.KerasClassifier(build_classifier, epochs=2)),
        ("pipe", make_pipeline(StandardScaler(), sf.KerasClassifier(build_classifier))),
        ("rf", RandomForestClassifier(3)),
    ]
    plain = sf.StackingClassifier(bases, cv=3, refit=refit, random_state=0).fit(X, y)
    for _ in range(2):
        stack = sf.StackingClassifier(bases, cv=3, refit=refit, random_state=0, memory=tmp_path)
        stack.fit(X, y)
        assert_array_equal(stack.predict_proba(X), plain.predict_proba(X))
        assert_array_equal(stack.oof_.predictions, plain.oof_.predictions)
        assert stack.oof_.histories == plain.oof_.histories
        assert stack.oof_.scores.keys() == plain.oof_.scores.keys()
    graph = sf.to_keras(stack)
    assert np.abs(np.asarray(graph(X)["probabilities"]) - plain.predict_proba(X)).max() < 1e-5


def test_every_difference_is_seen(iris, tmp_path):
    X, y = iris
    weights = np.linspace(1, 2, 150)

    def fit(X=X, y=y, sample_weight=None, C=1.0, **settings):
        settings = {"cv": 3, "random_state": 0, **settings}
        stack = sf.StackingClassifier([("base", Counting(C=C))], memory=tmp_path, **settings)
        return stack.fit(X, y, sample_weight=sample_weight)

    assert count(fit) == 4
    assert count(fit) == 0
    assert count(lambda: fit(X.copy(order="F"))) == 0
    assert count(lambda: fit(n_jobs=2, passthrough=True, final_estimator=METAS[1])) == 0
    changed = X.copy()
    changed[7, 2] += 1e-9
    assert count(lambda: fit(changed)) == 4
    assert count(lambda: fit(X.astype(np.float32))) == 4
    assert count(lambda: fit(pd.DataFrame(X, columns=list("abcd")))) == 4
    assert count(lambda: fit(pd.DataFrame(X, columns=list("abcd")).copy())) == 0
    assert count(lambda: fit(pd.DataFrame(X, columns=list("abce")))) == 4
    assert count(lambda: fit(y=np.where(np.arange(150) == 3, (y + 1) % 3, y))) == 4
    assert count(lambda: fit(y=np.array(["a", "b", "c"])[y])) == 0  # bases see class numbers
    assert count(lambda: fit(sample_weight=weights)) == 4
    assert count(lambda: fit(sample_weight=weights.copy())) == 0
    assert count(lambda: fit(C=2.0)) == 4
    assert count(lambda: fit(cv=ShuffleSplit(3, random_state=0))) == 3  # the refit is there
    assert count(lambda: fit(random_state=1)) == 4
    assert count(lambda: fit(stack_method="predict")) == 3
    assert count(lambda: fit(refit=False)) == 3  # now the models are wanted, too
    assert count(lambda: fit(refit=False)) == 0
    assert count(lambda: fit(sample_weight=weights.tolist())) == 0
    assert count(lambda: fit(sample_weight=pd.Series(weights))) == 0


WIDTH = 4


def builder_of(width):
    def build(meta):
        import keras

        outputs = keras.layers.Dense(3, activation="softmax")
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(width), outputs])

    return build


def build_by_global(meta):
    import keras

    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(WIDTH)])


built = []


def build_and_count(meta):
    built.append(1)
    return build_classifier(meta)


def test_builders_are_told_apart_by_what_they_do(monkeypatch):
    assert fingerprint(builder_of(3)) == fingerprint(builder_of(3))
    assert fingerprint(builder_of(3)) != fingerprint(builder_of(4))
    before = fingerprint(build_by_global)
    monkeypatch.setitem(globals(), "WIDTH", 5)
    assert fingerprint(build_by_global) != before
    assert fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 1)
    assert fingerprint(lambda x: x + 1) != fingerprint(lambda x: x + 2)


def test_a_builder_that_counts_its_calls_stays_the_same(iris, tmp_path):
    X, y = iris
    network = sf.KerasClassifier(build_and_count, random_state=0)
    stack = sf.StackingClassifier([("net", network)], cv=3, memory=tmp_path)
    for wanted in (4, 4):
        stack.fit(X, y)
        assert len(built) == wanted
    stack.set_params(net__epochs=2).fit(X, y)
    assert len(built) == 8


def _callback(patience):
    import keras

    return keras.callbacks.EarlyStopping("loss", patience=patience)


def _optimizer(rate):
    import keras

    return keras.optimizers.Adam(rate)


@pytest.mark.parametrize(
    ("make", "one", "other"),
    [
        (lambda v: np.arange(6.0) + v, 0, 1),
        (lambda v: pd.Series(["a", "b", v]), "c", "d"),
        (lambda v: pd.DataFrame({"x": pd.Categorical(["u", v])}), "v", "w"),
        (lambda v: pd.DataFrame({"x": [1, 2]}, index=[0, v]), 1, 2),
        (lambda v: {"a": [1, {v}], "b": None}, 2, 3),
        (lambda v: [v], 1, True),
        (lambda v: [v], 1, 1.0),
        (lambda v: ["a" + v, "c"], "b", "bc"),
        (lambda v: _callback(v), 2, 3),
        (lambda v: _optimizer(v), 0.1, 0.2),
        (lambda v: sf.KerasClassifier(builder_of(v)), 2, 3),
        (lambda v: sf.KerasClassifier(builder_of(1), callbacks=[_callback(v)]), 2, 3),
        (lambda v: make_pipeline(StandardScaler(), LogisticRegression(C=v)), 1.0, 2.0),
        (lambda v: DecisionTreeClassifier(random_state=v).fit(np.eye(3), [0, 1, 2]), 0, 1),
        (lambda v: np.random.RandomState(v), 0, 1),
        (lambda v: sf.MultiInput(a=np.eye(3) + v, b=np.eye(3)), 0, 1),
    ],
)
def test_equal_things_share_a_digest_and_others_do_not(make, one, other):
    assert fingerprint(make(one)) == fingerprint(make(one))
    assert fingerprint(make(one)) != fingerprint(make(other))


def test_a_model_as_it_is_and_its_copies():
    import copy

    import keras

    def make(units):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    assert fingerprint(make(3)) == fingerprint(make(3)) == fingerprint(copy.deepcopy(make(3)))
    assert fingerprint(make(3)) != fingerprint(make(4))
    changed = make(3)
    changed.set_weights([weight + 1 for weight in changed.get_weights()])
    assert fingerprint(changed) != fingerprint(make(3))


class Opaque:
    """Can be copied, but not looked into."""

    def __deepcopy__(self, memo):
        return self

    def __reduce_ex__(self, protocol):
        raise TypeError("it is opaque")


def test_what_cannot_be_compared_is_fitted_without_memory(iris, tmp_path):
    with open(tmp_path / "file", "w") as file:
        with pytest.raises(NotComparable, match="a TextIOWrapper cannot be compared"):
            fingerprint(file)
    network = sf.KerasClassifier(build_with_option, option=Opaque(), random_state=0)
    stack = sf.StackingClassifier([("net", network), ("base", Counting())], cv=2, memory=tmp_path)
    for n_fits in (3, 0):
        with pytest.warns(UserWarning, match="'net' is fitted without memory: an Opaque cannot be"):
            assert count(lambda: stack.fit(*iris)) == n_fits


def build_with_option(meta, option):
    return build_classifier(meta)


def entries(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob("done.json"))


@pytest.mark.parametrize("damage", ["flip", "cut", "no marker", "empty marker", "no data"])
def test_a_damaged_entry_is_made_again(iris, tmp_path, damage):
    stack = sf.StackingClassifier([("base", Counting())], cv=3, memory=tmp_path)
    wanted = stack.fit(*iris).predict_proba(iris[0])
    for entry in entries(tmp_path):
        [data] = entry.glob("*-predictions.npz")
        content = bytearray(data.read_bytes())
        if damage == "flip":
            content[len(content) // 2] ^= 1
            data.write_bytes(content)
        elif damage == "cut":
            data.write_bytes(content[:-100])
        elif damage == "no marker":
            (entry / "done.json").unlink()
        elif damage == "empty marker":
            (entry / "done.json").write_text("")
        else:
            data.unlink()
    if damage in ("flip", "cut", "empty marker"):
        with pytest.warns(UserWarning, match="stored fit of base estimator 'base' on .* damaged"):
            assert count(lambda: stack.fit(*iris)) == 4
    else:
        assert count(lambda: stack.fit(*iris)) == 4
    assert_array_equal(stack.predict_proba(iris[0]), wanted)
    assert count(lambda: stack.fit(*iris)) == 0


def test_a_store_that_cannot_be_written_is_told_and_done_without(iris, tmp_path):
    (tmp_path / "stackfuse-fits").write_text("a file where the folder should be")
    stack = sf.StackingClassifier([("base", Counting())], cv=2, memory=tmp_path)
    with pytest.warns(UserWarning, match="could not be stored and will be made again"):
        assert count(lambda: stack.fit(*iris)) == 3
    assert stack.score(*iris) > 0.9


def test_joblib_s_memory_gives_its_location(iris, tmp_path):
    memory = joblib.Memory(tmp_path / "cache", verbose=0)
    stack = sf.StackingClassifier([("base", Counting())], cv=2, memory=memory)
    assert count(lambda: stack.fit(*iris)) == 3
    assert count(lambda: stack.set_params(memory=str(tmp_path / "cache")).fit(*iris)) == 0
    nowhere = joblib.Memory(None)
    assert count(lambda: stack.set_params(memory=nowhere).fit(*iris)) == 3


def test_stacks_in_stacks(iris, tmp_path):
    inner = sf.StackingClassifier([("base", Counting())], cv=2)
    outer = sf.StackingClassifier(
        [("inner", inner), ("base", Counting())], cv=3, memory=tmp_path, random_state=0
    )
    plain = sf.StackingClassifier(outer.estimators, cv=3, random_state=0).fit(*iris)
    assert count(lambda: outer.fit(*iris)) == 4 * 3 + 4
    assert_array_equal(outer.predict_proba(iris[0]), plain.predict_proba(iris[0]))
    assert count(lambda: outer.fit(*iris)) == 0
    for entry in entries(tmp_path):  # as if it had been killed just before the inner stacks ended
        if "'inner'" in (entry / "done.json").read_text():
            (entry / "done.json").unlink()
    assert count(lambda: outer.fit(*iris)) == 0
    assert outer.named_estimators_["inner"].memory == tmp_path
    assert inner.memory is None
    assert count(lambda: outer.set_params(inner__cv=3).fit(*iris)) == 4 * 3  # their refits are kept
    assert count(lambda: outer.set_params(inner__base__C=0.5).fit(*iris)) == 4 * 4


def test_two_threads_make_a_fit_once(iris, tmp_path):
    X, y = iris

    class Slow(Counting):
        def fit(self, X, y, sample_weight=None):
            time.sleep(0.1)
            return super().fit(X, y, sample_weight)

    def fit():
        sf.StackingClassifier([("base", Slow())], cv=3, memory=tmp_path).fit(X, y)

    Counting.n_fits = 0
    threads = [threading.Thread(target=fit) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counting.n_fits == 4


def test_out_of_fold_takes_a_memory_too(iris, diabetes, tmp_path):
    bases = [("base", Counting())]
    assert count(lambda: sf.out_of_fold(bases, *iris, cv=3, memory=tmp_path)) == 3
    assert count(lambda: sf.out_of_fold(bases, *iris, cv=3, memory=tmp_path)) == 0
    stack = sf.StackingClassifier(bases, cv=3, memory=tmp_path)
    assert count(lambda: stack.fit(*iris)) == 1  # the refit
    network = sf.KerasRegressor(build_regressor, random_state=0)
    first, second = (
        sf.out_of_fold([("net", network)], *diabetes, cv=2, memory=tmp_path) for _ in range(2)
    )
    assert_array_equal(first.predictions, second.predictions)


def test_code_from_the_user_s_modules_is_followed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_settings.py").write_text("power = 1\nother = 1\ndef width():\n    return 3\n")
    source = "import my_settings as cfg\ndef f(x):\n    return x ** cfg.power + cfg.width()\n"
    source += "def g(x):\n    from my_settings import width\n    return x + width()\n"
    source += "def h(x):\n    import my_settings\n    return my_settings\n"
    (tmp_path / "my_functions.py").write_text(source)
    my_functions, my_settings = map(importlib.import_module, ("my_functions", "my_settings"))

    before = [fingerprint(getattr(my_functions, name)) for name in "fgh"]
    monkeypatch.setattr(my_settings, "other", 2)
    after = [fingerprint(getattr(my_functions, name)) for name in "fgh"]
    assert [a == b for a, b in zip(before, after)] == [True, True, False]
    monkeypatch.setattr(my_settings, "power", 2)
    assert fingerprint(my_functions.f) != before[0]
    assert fingerprint(my_functions.g) == before[1]
    monkeypatch.setattr(my_settings, "width", lambda: 4)
    assert fingerprint(my_functions.g) != before[1]


CONFIG = {"power": 1}
LIMIT = 1


def reads_and_writes(x):
    CONFIG["seen"] = len(x)
    return x ** CONFIG["power"]


def reads_after_a_call(x):
    CONFIG.setdefault("base", 3)
    CONFIG.copy()
    return x * CONFIG["power"]


def reads_a_global_it_assigns(x):
    global LIMIT
    LIMIT = LIMIT
    return x + LIMIT


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [
        (reads_and_writes, "CONFIG", {"power": 2}),
        (reads_after_a_call, "CONFIG", {"power": 2}),
        (reads_a_global_it_assigns, "LIMIT", 2),
    ],
)
def test_what_a_function_changes_and_reads_counts(monkeypatch, function, name, value):
    before = fingerprint(function)
    monkeypatch.setitem(globals(), name, value)
    assert fingerprint(function) != before


def decorated(power):
    import functools

    @functools.wraps(np.asarray)
    def raised(x):
        return np.asarray(x) ** power

    return raised


def test_things_that_only_look_alike():
    import collections

    assert fingerprint(decorated(1)) != fingerprint(decorated(2))
    one, other = (collections.defaultdict(lambda k=k: k) for k in (1, 2))
    assert fingerprint(one) != fingerprint(other)
    with pytest.raises(NotComparable, match="universal function"):
        fingerprint(np.frompyfunc(lambda v: v, 1, 1))
    nan, none = (pd.DataFrame({"x": ["a", None, v]}, dtype=object) for v in (np.nan, None))
    assert fingerprint(nan) != fingerprint(none)
    mixed, plain = (pd.DataFrame({"x": [1, v, "a"]}, dtype=object) for v in (True, 1))
    assert fingerprint(mixed) != fingerprint(plain)


class Base(LogisticRegression):
    n_fits = 0
    n_notes = 0

    def fit(self, X, y, sample_weight=None):
        type(self).n_fits += 1
        self._note()
        return super().fit(X, y, sample_weight)

    @classmethod
    def _note(cls):
        cls.n_notes += 1


class Child(Base):
    n_fits = 0
    n_notes = 0


def test_counters_of_every_style(iris, tmp_path):
    class Local(LogisticRegression):
        n_fits = 0

        def fit(self, X, y, sample_weight=None):
            Local.n_fits = Local.n_fits + 1
            return super().fit(X, y, sample_weight)

    for kind in (Child, Local):
        kind.n_fits = 0
        stack = sf.StackingClassifier([("base", kind())], cv=3, memory=tmp_path)
        for _ in range(2):
            fitted = stack.fit(*iris).estimators_[0]
            assert kind.n_fits == 4
            assert isinstance(fitted, kind)
        stack.set_params(base__C=2.0).fit(*iris)
        assert kind.n_fits == 8
        stack.set_params(base__C=1.0).fit(*iris)  # what is found sets no counter back
        assert kind.n_fits == 8


def test_data_of_every_kind_can_be_compared(iris, tmp_path):
    _, y = iris
    frame = pd.DataFrame({"t": pd.to_datetime(["2020-01-01", "2021-01-01"]), "l": [[1], [2]]})
    assert fingerprint(frame) == fingerprint(frame.copy())
    assert fingerprint(np.zeros((3, 0))) != fingerprint(np.zeros((4, 0)))
    index = pd.MultiIndex.from_tuples([(0, 1), (0, 2)], names=["a", "a"])
    assert fingerprint(pd.DataFrame({"x": [1, 2]}, index=index))
    stack = sf.StackingClassifier([("base", Counting())], cv=3, memory=tmp_path)
    with pytest.raises(ValueError, match="0 feature"):
        stack.fit(np.empty((150, 0)), y)


def test_the_content_of_a_model_s_file_counts(iris, tmp_path):
    import keras

    X, y = iris
    path, predictions = tmp_path / "net.keras", []
    for seed in (0, 1, 1):
        keras.utils.set_random_seed(seed)
        meta = {"n_features_in_": 4, "X_shape_": (150, 4), "n_classes_": 3}
        build_classifier(meta).save(path)
        stack = sf.StackingClassifier([("net", path)], cv=3, memory=tmp_path).fit(X, y)
        predictions.append(stack.oof_.predictions)
    assert (predictions[0] != predictions[1]).any()
    assert_array_equal(predictions[1], predictions[2])


def test_the_models_of_folds_serve_a_later_refit(iris, tmp_path):
    stack = sf.StackingClassifier([("base", Counting())], cv=3, memory=tmp_path, refit=False)
    assert count(lambda: stack.fit(*iris)) == 3
    assert count(lambda: stack.set_params(refit=True).fit(*iris)) == 1
    oof = sf.out_of_fold([("base", Counting())], *iris, cv=3, memory=tmp_path)
    saved = sf.StackingClassifier([("base", Counting())], cv=oof, memory=tmp_path)
    assert count(lambda: saved.fit(*iris)) == 0
