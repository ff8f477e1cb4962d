"""What the benchmarks measure: networks, data, the peers, and a clock."""

import argparse
import contextlib
import dataclasses
import importlib.util
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression

import stackfuse as sf


@dataclass(frozen=True)
class Case:
    """A kind of network, the data it learns from, and how long."""

    title: str
    build: Callable
    data: Callable
    fit: Mapping[str, int]
    n_bases: int = 1


def asked_for(description: str | None) -> bool:
    """Return whether the quick form was asked for on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="less of everything: minutes")
    return parser.parse_args().quick


def dense(units: int) -> Callable:
    """Return the builder of a network with three hidden layers and a softmax over two classes."""

    def build(n_features_in=30):
        import keras

        hidden = [keras.layers.Dense(units, activation="relu") for _ in range(3)]
        head = keras.layers.Dense(2, activation="softmax")
        return keras.Sequential([keras.Input((n_features_in,)), *hidden, head])

    return build


def convolution():
    """Return a small network for images of digits."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def recurrent():
    """Return a small network that reads the rows of the image one after another."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [keras.Input((8, 8)), layers.GRU(16), layers.Dense(10, activation="softmax")]
    )


def digits(*shape: int) -> Callable:
    """Return what loads the images of digits in a shape."""

    def load():
        X, y = load_digits(return_X_y=True)
        return (X / 16).reshape(-1, *shape).astype("float32"), y

    return load


def table(n_rows: int) -> Callable:
    """Return what makes rows of 30 numbers and two classes."""

    def make():
        X, y = make_classification(n_rows, 30, n_informative=10, random_state=0)
        return X.astype("float32"), y

    return make


SMALL = Case("small MLP, 3 bases", dense(64), table(5000), {"epochs": 10, "batch_size": 32}, 3)

CASES = (
    SMALL,
    Case("wide MLP", dense(512), table(20000), {"epochs": 3, "batch_size": 256}),
    Case("CNN on digits", convolution, digits(8, 8, 1), {"epochs": 5, "batch_size": 32}),
    Case("GRU on digits", recurrent, digits(8, 8), {"epochs": 5, "batch_size": 32}),
)


def smaller(case: Case) -> Case:
    """Return a case with a fifth of the rows of a table, and with two epochs."""
    rows = {"data": table(1000)} if case is SMALL else {}
    rows = {"data": table(4000)} if case.title == "wide MLP" else rows
    return dataclasses.replace(case, fit={**case.fit, "epochs": 2}, **rows)


def plain(case: Case, X, y) -> Callable:
    """Return what fits each base once, on all rows, with nothing but Keras."""

    def fit():
        for _ in range(case.n_bases):
            model = case.build()
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(X, y, verbose=0, **case.fit)

    return fit


def stack(case: Case, engine: str = "auto", cv: int = 5) -> sf.StackingClassifier:
    """Return our stack."""
    bases = [(f"net{k}", sf.KerasClassifier(case.build, **case.fit)) for k in range(case.n_bases)]
    return sf.StackingClassifier(bases, LogisticRegression(), cv=cv, engine=engine, random_state=0)


def keras_stack(case: Case, cv: int = 5) -> StackingClassifier:
    """Return scikit-learn's stack over Keras' wrapper.

    The wrapper's clone forgets how long to train, and it has no ``predict_proba``: both are
    repaired here, or the comparison would be with one epoch.
    """
    import keras
    from keras.wrappers import SKLearnClassifier

    class Repaired(SKLearnClassifier):
        def __sklearn_clone__(self):
            return Repaired(keras.models.clone_model(self.model), fit_kwargs=dict(self.fit_kwargs))

        def fit(self, X, y):
            self.model.compile("adam", "categorical_crossentropy")
            return super().fit(X, y)

        def predict_proba(self, X):
            return self.model_.predict(X, verbose=0)

    settings = {"verbose": 0, **case.fit}
    bases = [(f"net{k}", Repaired(case.build(), fit_kwargs=settings)) for k in range(case.n_bases)]
    return StackingClassifier(bases, LogisticRegression(), cv=cv)


def scikeras_stack(case: Case, cv: int = 5) -> StackingClassifier:
    """Return scikit-learn's stack over scikeras; that is no dependency of ours."""
    from scikeras.wrappers import KerasClassifier  # pyright: ignore[reportMissingImports]

    settings = {"loss": "sparse_categorical_crossentropy", "verbose": 0, **case.fit}
    bases = [(f"net{k}", KerasClassifier(case.build, **settings)) for k in range(case.n_bases)]
    return StackingClassifier(bases, LogisticRegression(), cv=cv)


def why_no_scikeras() -> str | None:
    """Return why there is no figure of scikeras, or None if it runs."""
    if importlib.util.find_spec("scikeras") is None:
        return "scikeras is not installed (pip install scikeras)"
    one = Case("", dense(2), table(64), {"epochs": 1})
    try:
        silently(scikeras_stack(one, cv=2).fit, *one.data())
    except Exception as error:  # whatever it dies of is the answer
        return f"scikeras does not run here: {type(error).__name__}: {error}"[:200]
    return None


def silently(function: Callable, *arguments) -> None:
    """Call a function; what it prints is thrown away."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        function(*arguments)


def seconds(function: Callable) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    silently(function)
    return time.perf_counter() - start


def interleaved(candidates: Mapping[str, Callable], turns: int) -> dict[str, list[float]]:
    """Return the seconds of each turn of each candidate; the candidates take turns."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(turns):
        for name, function in candidates.items():
            times[name].append(seconds(function))
    return times


def warmed_up() -> None:
    """Do what TensorFlow does once in a process."""
    X, y = np.zeros((64, 30), "float32"), np.arange(64) % 2
    plain(Case("", dense(2), table(64), {"epochs": 1}), X, y)()
