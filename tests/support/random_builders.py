"""Modules drawn from seeds, as people write them: a builder, all that it reads, and one change."""

import random
import sys
import types
from dataclasses import dataclass
from functools import partial
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import stackfuse as sf


@dataclass(frozen=True)
class Piece:
    """Something that a builder may read.

    Attributes
    ----------
    source : str
        Defines it at the top of the module; ``N`` is a number of its own, ``V`` one that is drawn.
    read : str
        An expression in the builder that reads it.
    change : str
        A statement that changes what is read, without the builder.
    """

    source: str
    read: str
    change: str


PIECES = [
    # globals and containers
    Piece("gN = V", "gN", "gN += 1"),
    Piece("gN = V", "sum(x * gN for x in (1, 2))", "gN = float(gN)"),
    Piece("gN = 'a' * V", "(lambda: gN)()", "gN += 'b'"),
    Piece("gN = [1, [V, 2]]", "gN", "gN[1].append(3)"),
    Piece("gN = {'a': V, 'b': 1}", "list(gN)", "gN['a'] = gN.pop('a')"),
    Piece("gN = {'a': V}", "gN['a']", "gN['a'] += 1"),
    Piece("gN = {V, 'x', 'y'}", "len(gN)", "gN.add('z')"),
    Piece("gN = frozenset([V, 'x'])", "gN", "gN |= {'z'}"),
    Piece("gN = (V, (1, 2))", "gN", "gN = (gN[0], (1, 3))"),
    Piece("gN = collections.deque([V, 'x'])", "gN[0]", "gN.rotate()"),
    Piece("gN = collections.OrderedDict(a=1, b=V)", "list(gN)", "gN.move_to_end('a')"),
    Piece("gN = collections.Counter('abc')", "gN", "gN.update('a')"),
    Piece(
        "gN = collections.defaultdict(lambda: V)",
        "gN[0]",
        "gN.default_factory = lambda: 'other'",
    ),
    Piece("gN = types.MappingProxyType(inN := {'a': V})", "gN['a']", "inN['a'] = 'other'"),
    Piece("gN = types.SimpleNamespace(a=V)", "gN.a", "gN.a += 1"),
    Piece("TN = collections.namedtuple('TN', 'a b')\ngN = TN(V, 2)", "gN.a", "gN = TN(gN.a, 3)"),
    # values
    Piece("gN = re.compile('aV')", "gN.match('a')", "gN = re.compile(gN.pattern, re.I)"),
    Piece("gN = decimal.Decimal(V)", "gN", "gN += 1"),
    Piece("gN = fractions.Fraction(V, 7)", "gN", "gN += 1"),
    Piece("gN = datetime.date(2020, 1, 1 + V)", "gN.year", "gN = gN.replace(year=2021)"),
    Piece("gN = datetime.timedelta(V)", "gN", "gN *= 2"),
    Piece("gN = pathlib.Path('a/V')", "gN.name", "gN = gN / 'b'"),
    Piece("gN = range(V)", "gN", "gN = range(len(gN) + 1)"),
    Piece("gN = slice(V)", "gN", "gN = slice(1, gN.stop)"),
    Piece("gN = bytearray(b'abc')", "gN", "gN[0] = 0"),
    Piece("gN = weakref.ref(tN := {V})", "gN()", "tN.add(-1)"),
    Piece("gN = contextvars.ContextVar('g', default=V)", "gN.get()", "gN.set('other')"),
    Piece("class EN(enum.Enum):\n  A = V\n  B = 'b'\ngN = EN.A", "gN.value", "gN = EN.B"),
    Piece("class EN(enum.IntFlag):\n  A = 1\n  B = 2\ngN = EN.A", "gN | 1", "gN = EN.A | EN.B"),
    Piece("gN = ValueError('a', V)", "gN.args", "gN.args = ('b',)"),
    # data
    Piece("gN = np.arange(6.0) + V", "gN.sum()", "gN[3] += 1e-9"),
    Piece("gN = np.arange(V + 2)", "gN", "gN = gN.astype('int16')"),
    Piece("gN = np.ma.array([1, 2, V])", "gN.sum()", "gN[1] = np.ma.masked"),
    Piece("gN = np.array([1, 'a', None], dtype=object)", "gN[0]", "gN[2] = V"),
    Piece("gN = np.float32(V)", "gN", "gN = np.float64(gN)"),
    Piece("gN = np.dtype('float32')", "gN", "gN = np.dtype('float64')"),
    Piece("gN = np.random.RandomState(V)", "gN.rand()", "gN.rand()"),
    Piece("gN = np.random.default_rng(V)", "gN.random()", "gN.random()"),
    Piece("gN = random.Random(V)", "gN.random()", "gN.random()"),
    Piece("gN = pd.DataFrame({'a': [1, V]})", "gN.sum()", "gN.loc[0, 'a'] = 7"),
    Piece("gN = pd.DataFrame({'a': [1, V]})", "gN.sum()", "gN.columns = ['b']"),
    Piece("gN = pd.Series(['a', 'b'], name='V')", "gN", "gN.iloc[0] = 'c'"),
    Piece("gN = pd.Timestamp('2020-01-0V')", "gN", "gN = gN.tz_localize('UTC')"),
    Piece("gN = scipy.sparse.csr_array(np.eye(3) * V)", "gN.sum()", "gN.data[0] = 99"),
    # the environment
    Piece("os.environ['SF_N'] = 'V'", "os.environ['SF_N']", "os.environ['SF_N'] = 'other'"),
    Piece(
        "os.environ.pop('SF_N', None)",
        "os.environ.get('SF_N', 'no')",
        "os.environ['SF_N'] = 'other'",
    ),
    Piece("os.environ['SF_N'] = 'V'", "os.getenv('SF_N')", "del os.environ['SF_N']"),
    Piece(
        "from os import environ as eN\neN.pop('SF_N', None)", "'SF_N' in eN", "eN['SF_N'] = 'other'"
    ),
    Piece(
        "nameN = 'SF_N'\nos.environ.pop(nameN, None)",
        "os.environ.get(nameN)",
        "os.environ['SF_N'] = 'other'",
    ),
    Piece(
        "os.environ['SF_N'] = 'V'\ndef fN():\n  import os as o\n  return o.getenv('SF_N')",
        "fN()",
        "os.environ['SF_N'] = 'other'",
    ),
    Piece(
        "os.environ['SF_N'] = 'V'\n"
        "def fN():\n  from os import environ as e\n  return e.get('SF_N')",
        "fN()",
        "os.environ['SF_N'] = 'other'",
    ),
    # functions
    Piece("def fN(a=V):\n  return a", "fN()", "fN.__defaults__ = ('other',)"),
    Piece("def fN(*, a=V):\n  return a", "fN()", "fN.__kwdefaults__['a'] = 'other'"),
    Piece("def fN():\n  return V", "fN()", "def fN():\n  return -1"),
    Piece("gN = V\ndef fN():\n  return gN\ndef hN():\n  return fN()", "hN()", "gN = 'other'"),
    Piece("def mN(v):\n  return lambda: v\nfN = mN(V)", "fN()", "fN = mN('other')"),
    Piece(
        "def mN(v):\n  return lambda: v\nfN = mN(V)",
        "fN()",
        "fN.__closure__[0].cell_contents = 'other'",
    ),
    Piece("def fN():\n  return fN.a\nfN.a = V", "fN()", "fN.a = 'other'"),
    Piece(
        "gN = V\ndef fN(k):\n  return hN(k - 1) if k else gN\ndef hN(k):\n  return fN(k)",
        "fN(2)",
        "gN = 'other'",
    ),
    Piece(
        "def dN(f):\n  @functools.wraps(f)\n  def g():\n    return f() + kN\n  return g\n"
        "kN = V\n@dN\ndef fN():\n  return 1",
        "fN()",
        "kN = 'other'",
    ),
    Piece("fN = functools.partial(max, V)", "fN(1)", "fN = functools.partial(max, -1)"),
    Piece("fN = functools.partial(dict, a=V)", "fN()", "fN.keywords['a'] = 'other'"),
    Piece("gN = V\n@functools.cache\ndef fN():\n  return gN", "fN()", "gN = 'other'"),
    Piece(
        "@functools.singledispatch\ndef fN(x):\n  return V",
        "fN(1)",
        "fN.register(int, lambda x: 'other')",
    ),
    Piece("fN = operator.itemgetter(V)", "fN(range(99))", "fN = operator.itemgetter(0)"),
    Piece("fN = np.vectorize(lambda x: x + V)", "fN(1)", "fN.pyfunc = lambda x: x"),
    Piece("fN = [V].count", "fN(1)", "fN = [-1].count"),
    # classes and objects
    Piece("class CN:\n  a = V", "CN.a", "CN.a = 'other'"),
    Piece("class BN:\n  a = V\nclass CN(BN):\n  pass", "CN.a", "BN.a = 'other'"),
    Piece("class CN:\n  def f(self):\n    return V", "CN().f()", "CN.f = lambda self: 'other'"),
    Piece("class MN(type):\n  a = V\nclass CN(metaclass=MN):\n  pass", "CN.a", "MN.a = 'other'"),
    Piece(
        "class CN:\n  def __init__(self, a):\n    self.a = a\n"
        "  def widen(self, to):\n    to.append(self.a)\ngN = CN(V)",
        "gN.widen([])",
        "gN.a = 'other'",
    ),
    Piece(
        "class CN:\n  __slots__ = ('a', 'b')\n  def __init__(self, a):\n    self.a = a\ngN = CN(V)",
        "gN.a",
        "gN.a = 'other'",
    ),
    Piece(
        "class CN:\n  def __init__(self, a):\n    self._a = a\n  @property\n"
        "  def a(self):\n    return self._a\ngN = CN(V)",
        "gN.a",
        "gN._a = 'other'",
    ),
    Piece(
        "class CN:\n  @property\n  def a(self):\n    return V\ngN = CN()",
        "gN.a",
        "CN.a = property(lambda self: 'other')",
    ),
    Piece(
        "class CN:\n  n = V\n  def f(self):\n    type(self).n += 1\n    return self.n\ngN = CN()",
        "gN.f()",
        "CN.n = -1",
    ),
    Piece(
        "class CN:\n  n = V\n  def f(self):\n    type(self).n += 1\n"
        "def hN(c):\n  return getattr(c, 'n')\ngN = CN()",
        "(gN.f(), hN(gN))",
        "CN.n = -1",
    ),
    Piece(
        "class CN:\n  def __getattr__(self, name):\n    return aN\naN = V\ngN = CN()",
        "gN.b",
        "aN = 'other'",
    ),
    Piece(
        "class CN:\n  def __call__(self):\n    return self.a\ngN = CN()\ngN.a = V",
        "gN()",
        "gN.a = 'other'",
    ),
    Piece("class CN(dict):\n  pass\ngN = CN(a=V)\ngN.b = 1", "gN", "gN.b = 'other'"),
    Piece("class CN(list):\n  pass\ngN = CN([V])", "gN", "gN.append(1)"),
    Piece("class CN(float):\n  pass\ngN = CN(V)", "gN", "gN.unit = 'm'"),
    Piece(
        "class CN:\n  @classmethod\n  def f(cls):\n    return V\ngN = CN.f",
        "gN()",
        "gN = classmethod(lambda cls: 'other').__get__(CN)",
    ),
    Piece("@dataclass\nclass DN:\n  a: int = V\ngN = DN()", "gN.a", "gN.a = 'other'"),
    Piece("@dataclass\nclass DN:\n  a: int = V", "DN().a", "DN.__init__.__defaults__ = (-1,)"),
    Piece(
        "@dataclass(frozen=True, slots=True)\nclass DN:\n  a: list\ngN = DN([V])",
        "gN.a",
        "gN.a.append(1)",
    ),
    Piece(
        "@dataclass\nclass DN:\n  a: dict = field(default_factory=lambda: {'a': hN})\nhN = V",
        "DN()",
        "hN = 'other'",
    ),
    # modules
    Piece("mN = module('mN', a=V)", "mN.a", "mN.a = 'other'"),
    Piece("mN = module('mN', a=V)", "(lambda m: m.a)(mN)", "mN.a = 'other'"),
    Piece("mN = module('mN', b=module('mN.b', a=V))", "mN.b.a", "mN.b.a = 'other'"),
    Piece("pN = module('qN', a=V)\ndef fN():\n  import qN\n  return qN.a", "fN()", "pN.a = 0"),
    Piece("pN = module('qN', a=V)\ndef fN():\n  import qN as x\n  return x.a", "fN()", "pN.a = 0"),
    Piece("pN = module('qN', a=V)\ndef fN():\n  from qN import a\n  return a", "fN()", "pN.a = 0"),
    Piece("fN = math.sqrt", "fN(4)", "fN = math.exp"),
    Piece("", "math.pi + aN if 'aN' in 'V' else nameN", "nameN = 1"),
    # of Keras and scikit-learn
    Piece("gN = keras.initializers.RandomNormal(seed=V)", "gN", "gN.stddev = 9.0"),
    Piece("gN = keras.losses.Huber(V + 1.0)", "gN", "gN = keras.losses.Huber(0.5)"),
    Piece("gN = keras.optimizers.SGD(0.1)", "gN", "gN.learning_rate = 0.2"),
    Piece("gN = keras.callbacks.EarlyStopping(patience=V)", "gN", "gN.patience = 99"),
    Piece("gN = keras.layers.Dense(V)", "gN", "gN.units = 99"),
    Piece(
        "kN = V\ndef fN(x):\n  return x * kN\ngN = keras.layers.Dense(2, activation=fN)",
        "gN",
        "kN = 'other'",
    ),
    Piece(
        "class LN(keras.layers.Layer):\n  def __init__(self, a):\n    super().__init__()\n"
        "    self.a = a\n  def call(self, x):\n    return x * self.a\ngN = LN(V)",
        "gN",
        "gN.a = 99",
    ),
    Piece(
        "class KN(keras.losses.Loss):\n  def call(self, y, p):\n    return (y - p) * self.a\n"
        "gN = KN()\ngN.a = V",
        "gN",
        "gN.a = 99",
    ),
    Piece(
        "@keras.saving.register_keras_serializable('sf')\ndef swirlN(x):\n  return x * wN\nwN = V",
        "dict(activation='swirlN')",
        "wN = 'other'",
    ),
    Piece(
        "class SN(BaseEstimator):\n  _sampling_type = 'over'\n"
        "  def __init__(self, strategy='auto'):\n    self.strategy = strategy\n"
        "  def fit_resample(self, X, y):\n    self.note.append(1)\n    return X[:V], y\ngN = SN()",
        "gN.fit_resample",
        "gN.strategy = {0: 3}",
    ),
]

_HEAD = """
import collections, contextvars, datetime, decimal, enum, fractions, functools, math, operator
import os, pathlib, random, re, sys, types, weakref
from dataclasses import dataclass, field

import keras
import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.base import BaseEstimator


def module(name, **values):
    made = sys.modules[name] = types.ModuleType(name)
    vars(made).update(values)
    return made

"""


@dataclass
class Drawn:
    """A module of a few pieces.

    Attributes
    ----------
    source : str
    change : str
        A statement that changes one of the pieces.
    wrapped : int
        In what the builder is handed over.
    """

    source: str
    change: str
    wrapped: int

    def load(self, name: str = "drawn") -> types.ModuleType:
        """Run the source as a module."""
        made = sys.modules[name] = types.ModuleType(name)
        exec(compile(self.source, name, "exec"), vars(made))
        return made

    def thing(self, module: types.ModuleType) -> Any:
        """Return what is digested: the builder, in what people hand it over in."""
        return WRAPS[self.wrapped](module.build)


class Holder:
    """An object that is called, and holds a function."""

    def __init__(self, function):
        self.function = function

    def __call__(self, meta):
        return self.function(meta)


WRAPS = [
    lambda f: f,
    lambda f: partial(f, 1),
    Holder,
    lambda f: Holder(f).__call__,
    lambda f: {"builder": [f]},
    lambda f: sf.KerasClassifier(f, epochs=2),
    lambda f: sf.KerasRegressor(len, callbacks=[Holder(f)]),
    lambda f: make_pipeline(FunctionTransformer(f), LogisticRegression()),
    lambda f: ColumnTransformer([("f", FunctionTransformer(f), lambda frame: f(frame))]),
]


def draw(seed: int) -> Drawn:
    """Return the module of a seed; the first seeds change each piece once."""
    numbers = random.Random(seed)
    changed = seed % len(PIECES)
    others = numbers.sample([k for k in range(len(PIECES)) if k != changed], 2)
    places = [changed, *others]
    numbers.shuffle(places)
    source, reads, change = _HEAD, [], ""
    for number, place in enumerate(places):
        name = "".join(chr(ord("a") + int(digit)) for digit in f"{seed}{number}")
        value = str(numbers.randint(2, 8))
        parts = PIECES[place].source, PIECES[place].read, PIECES[place].change
        text, read, then = (_filled(part, name, value) for part in parts)
        source += f"{text}\n"
        reads.append(read)
        change = then if place == changed else change
    body = "".join(f"    {'x = ' if numbers.random() < 0.5 else ''}{read}\n" for read in reads)
    source += f"def build(meta):\n{body}    return meta\n"
    return Drawn(source, change, numbers.randrange(len(WRAPS)))


def _filled(text: str, name: str, value: str) -> str:
    """Replace ``N`` behind a small letter or an underscore, and ``V`` by itself."""
    made = []
    for k, letter in enumerate(text):
        before, after = text[k - 1 : k], text[k + 1 : k + 2]
        if letter == "N" and not after.islower() and before not in (".", " ", ""):
            made.append(name)
        elif letter == "V" and not after.islower() and not (before.isalpha() and before != "a"):
            made.append(value)
        else:
            made.append(letter)
    return "".join(made)
