"""Things that cannot be digested are named in the user's words; nothing is run on the way."""

import functools
import importlib
import os
import sqlite3
import sys
import types
import warnings

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import stackfuse as sf
from stackfuse._oof.memory.fingerprint import NotComparable, fingerprint

connection = sqlite3.connect(":memory:")
settings = types.SimpleNamespace(database=connection)
which = ["HOME"]


def by_global(x):
    return connection.execute("select 1") and x


def by_attribute(x):
    return settings.database and x


def through_another(x):
    return by_global(x)


def by_default(x, held=connection):
    return held and x


def by_computed_name(x):
    return os.environ[which[0]] and x


def by_all_variables(x):
    return dict(os.environ) and x


def by_globals(x):
    return globals()["which"] and x


def by_eval(x):
    return eval("which") and x


def by_file(x):
    with open("settings.txt") as file:
        return file.read() and x


def by_numpy_s_file(x):
    return np.load("table.npy") + x


def by_weights(x):
    model = keras.Sequential()
    model.load_weights("pretrained.weights.h5")
    return model


def by_module_that_is_not_loaded(x):
    import a_module_of_mine  # type: ignore

    return a_module_of_mine.width + x


def by_import_by_name(x):
    return importlib.import_module("json") and x


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (by_global, "a Connection .*: the function `by_global` reads the global `connection`$"),
        (through_another, "the function `by_global` reads the global `connection`$"),
        (by_attribute, "reads the global `settings`, which holds it as `database`$"),
        (by_default, "the function `by_default` has it as the default of `held`"),
        (by_computed_name, "`by_computed_name` computes the names of the environment variables"),
        (by_all_variables, "`by_all_variables` computes the names of the environment variables"),
        (by_globals, "`by_globals` uses `globals`"),
        (by_eval, "`by_eval` uses `eval`"),
        (by_file, "`by_file` reads a file with `open`"),
        (by_numpy_s_file, "`by_numpy_s_file` reads a file with `load`"),
        (by_weights, "`by_weights` reads a file with `load_weights`"),
        (by_module_that_is_not_loaded, "imports `a_module_of_mine`, which is not loaded yet"),
        (by_import_by_name, "`by_import_by_name` uses `import_module`"),
    ],
)
def test_the_message_names_what_the_user_wrote(function, words, tmp_path, monkeypatch):
    (tmp_path / "a_module_of_mine.py").write_text("width = 1\nraise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NotComparable, match=words):
        fingerprint(function)
    assert "a_module_of_mine" not in sys.modules


def test_a_fit_goes_on_and_tells_once(iris, tmp_path):
    base = make_pipeline(FunctionTransformer(by_global), LogisticRegression())
    stack = sf.StackingClassifier([("base", base)], cv=2, memory=tmp_path)
    with pytest.warns(UserWarning, match="'base' is fitted without memory: a Conn") as told:
        stack.fit(*iris)
    assert len(told) == 1
    assert "the function `by_global` reads the global `connection`." in str(told[0].message)
    assert stack.score(*iris) > 0.9


def test_a_function_that_imports_what_is_missing_or_installed():
    def optional(x):
        try:
            import a_package_that_is_not_here as missing  # type: ignore
        except ImportError:
            return x
        return missing.f(x)

    def installed(x):
        import xml.dom.minidom

        return xml.dom.minidom.parseString(x)

    assert fingerprint(optional) == fingerprint(optional)
    before = fingerprint(installed)
    importlib.import_module("xml.dom.minidom")  # loaded or not, it is the same
    assert fingerprint(installed) == before


class Touchy:
    """Raises whatever is asked of it."""

    def __init__(self, a):
        object.__setattr__(self, "a", a)

    def __getattribute__(self, name):
        raise AssertionError(f"asked for {name}")

    def _refuse(self, *args):
        raise AssertionError("run")

    __getattr__ = __repr__ = __str__ = __bool__ = __eq__ = __hash__ = __len__ = __iter__ = _refuse
    __getitem__ = __call__ = __copy__ = __deepcopy__ = __getstate__ = __dir__ = _refuse
    value = property(_refuse)


_ASKED = ["__iter__", "__len__", "__getitem__", "__eq__", "__repr__"]
TouchyList = type("TouchyList", (list,), dict.fromkeys(_ASKED, Touchy._refuse))


class TouchyLayer(keras.layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.units = units

    def get_config(self):
        raise AssertionError("run")


def test_nothing_is_run():
    class TouchyKind(type):
        def __getattribute__(cls, name):
            raise AssertionError(f"asked for {name}")

    class OfTouchyKind(metaclass=TouchyKind):
        a = 1

    assert fingerprint(Touchy(1)) == fingerprint(Touchy(1)) != fingerprint(Touchy(2))
    assert fingerprint(TouchyList([1])) != fingerprint(TouchyList([2]))
    assert fingerprint(OfTouchyKind) == fingerprint(OfTouchyKind)
    assert fingerprint(TouchyLayer(1)) == fingerprint(TouchyLayer(1))
    assert fingerprint(TouchyLayer(1)) != fingerprint(TouchyLayer(2))
    own, other = (
        keras.Sequential([keras.Input((2,)), TouchyLayer(units), keras.layers.Dense(1)])
        for units in (1, 2)
    )
    own.layers[-1].set_weights(other.layers[-1].get_weights())
    assert fingerprint(own) != fingerprint(other)


limit = 1


@functools.cache
def cached():
    return limit


def by_cache(x):
    return x * cached()


def test_a_cache_may_hold_what_was_read_before(monkeypatch):
    cached.cache_clear()
    before = fingerprint(by_cache)
    by_cache(1)
    assert fingerprint(by_cache) == before  # it was filled from what it would read now
    monkeypatch.setitem(globals(), "limit", 2)
    with pytest.raises(NotComparable, match="the cached function `cached` may return"):
        fingerprint(by_cache)
    cached.cache_clear()
    assert fingerprint(by_cache) != before


seen = []


class Adapting(LogisticRegression):
    """Depends on what fits before it left."""

    def fit(self, X, y, sample_weight=None):
        seen.append(len(X))
        self.max_iter = 100 + len(seen)
        return super().fit(X, y, sample_weight)


def test_fits_that_change_what_they_depend_on_are_not_kept(iris, tmp_path):
    stack = sf.StackingClassifier([("base", Adapting())], cv=2, memory=tmp_path)
    words = "fitting changes their inputs: the function `Adapting.fit` reads .* `seen`"
    with pytest.warns(UserWarning, match=words) as told:
        stack.fit(*iris)
    assert len(told) == 1
    assert not list(tmp_path.rglob("done.json"))


def test_keras_array_warning_is_not_shown(iris, tmp_path):
    from tests.support.cases import build_classifier

    network = sf.KerasClassifier(build_classifier, random_state=0)
    stack = sf.StackingClassifier([("net", network)], cv=2, memory=tmp_path, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = stack.fit(*iris).predict_proba(iris[0])
        np.testing.assert_array_equal(stack.fit(*iris).predict_proba(iris[0]), first)
