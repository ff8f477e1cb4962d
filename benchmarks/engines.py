"""Training of a whole stack: fused, in the loop, and plain ``model.fit``.

Ratios within this process: the candidates take turns, and the best of several turns counts. What
is compiled stays compiled between turns, as it does in a search; the first fit is shown apart.
"""

import time
from collections.abc import Callable

from sklearn.datasets import load_digits, make_classification

import stackfuse as sf

TURNS = 3


def dense(units: int) -> Callable:
    """Return the builder of a network with three hidden layers."""

    def build(meta):
        import keras

        hidden = [keras.layers.Dense(units, activation="relu") for _ in range(3)]
        head = keras.layers.Dense(1, activation="sigmoid")
        return keras.Sequential([keras.Input((meta["n_features_in_"],)), *hidden, head])

    return build


def convolution(meta):
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


def recurrent(meta):
    """Return a small network that reads the rows of the image one after another."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [keras.Input((8, 8)), layers.GRU(16), layers.Dense(10, activation="softmax")]
    )


def digits(shape: tuple):
    """Return the images of digits in a shape."""
    X, y = load_digits(return_X_y=True)
    return (X / 16).reshape(-1, *shape).astype("float32"), y


def table(n_rows: int):
    """Return rows of 30 numbers and two classes."""
    X, y = make_classification(n_rows, 30, n_informative=10, random_state=0)
    return X.astype("float32"), y


CASES = {
    "small MLP, 3 bases": (dense(64), table(5000), {"epochs": 10, "batch_size": 32}, 3),
    "wide MLP": (dense(512), table(20000), {"epochs": 3, "batch_size": 256}, 1),
    "CNN on digits": (convolution, digits((8, 8, 1)), {"epochs": 5, "batch_size": 32}, 1),
    "GRU on digits": (recurrent, digits((8, 8)), {"epochs": 5, "batch_size": 32}, 1),
}


def plain(build: Callable, X, y, settings: dict, n_bases: int) -> Callable:
    """Return what fits each base once, on all rows, with nothing but Keras."""

    def fit():
        for _ in range(n_bases):
            model = build({"n_features_in_": X.shape[1]})
            binary = model.output_shape[-1] == 1
            loss = "binary_crossentropy" if binary else "sparse_categorical_crossentropy"
            model.compile("adam", loss)
            model.fit(X, y, verbose=0, **settings)

    return fit


def stack(build: Callable, X, y, settings: dict, n_bases: int, engine: str) -> Callable:
    """Return what fits a whole stack: five folds, the refit, and the meta-learner."""
    bases = [(f"net{k}", sf.KerasClassifier(build, **settings)) for k in range(n_bases)]
    return lambda: sf.StackingClassifier(bases, cv=5, engine=engine, random_state=0).fit(X, y)


def seconds(function: Callable) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    print("A stack (5 folds, refit, meta-learner) in units of fitting each base once by model.fit")
    print(f"{'':20} {'model.fit':>10} {'fused, first':>13} {'fused':>7} {'loop':>7}")
    plain(dense(2), *table(100), {"epochs": 1}, 1)()  # what TensorFlow does once in a process
    for title, (build, (X, y), settings, n_bases) in CASES.items():
        job = (build, X, y, settings, n_bases)
        candidates = {
            "fused": stack(*job, "fused"),
            "plain": plain(*job),
            "loop": stack(*job, "sequential"),
        }
        first = {name: seconds(function) for name, function in candidates.items()}
        best = dict(first)
        for _ in range(TURNS - 1):
            for name, function in candidates.items():
                best[name] = min(best[name], seconds(function))
        unit = best["plain"]
        shown = [first["fused"] / unit, best["fused"] / unit, best["loop"] / unit]
        print(
            f"{title:20} {unit:8.2f} s" + "".join(f"{r:>{w}.2f}" for r, w in zip(shown, (14, 8, 8)))
        )


if __name__ == "__main__":
    main()
