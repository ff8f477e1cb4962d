"""Prediction of one network: ours against Keras' own wrapper and plain ``model.predict``.

Ratios within this process: the candidates take turns, and the best of several turns counts.
"""

import contextlib
import os
import timeit
from collections.abc import Callable

import numpy as np

import stackfuse as sf

ROWS = (1, 32, 1024, 65536)
N_FEATURES = 30
TURNS = 7


def build(n_features=N_FEATURES):
    """Return a small network: three hidden layers of 64 units."""
    import keras

    layers = [keras.layers.Dense(64, activation="relu") for _ in range(3)]
    head = keras.layers.Dense(2, activation="softmax")
    return keras.Sequential([keras.Input((n_features,)), *layers, head])


def interleaved(candidates: dict[str, Callable], turns: int = TURNS) -> dict[str, float]:
    """Return the best time of one call in seconds, the candidates taking turns of 0.1 seconds."""
    timers = {name: timeit.Timer(candidate) for name, candidate in candidates.items()}
    calls = {}
    for name, timer in timers.items():
        timer.timeit(1)  # compiles
        calls[name] = max(1, int(0.1 / timer.timeit(1)))
    best = dict.fromkeys(candidates, np.inf)
    for _ in range(turns):
        for name, timer in timers.items():
            best[name] = min(best[name], timer.timeit(calls[name]) / calls[name])
    return best


def main() -> None:
    """Print the table."""
    import keras
    from keras.wrappers import SKLearnClassifier

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, N_FEATURES)), rng.integers(0, 2, 2000)
    ours = sf.KerasClassifier(build, random_state=0).fit(X, y)
    model = keras.models.clone_model(ours.model_)
    model.compile("adam", "categorical_crossentropy")
    theirs = SKLearnClassifier(model, fit_kwargs={"verbose": 0}).fit(X, y)
    print("Prediction, milliseconds (and times as fast as the others)")
    print(f"{'rows':>8} {'stackfuse':>12} {'model.predict':>22} {'keras.wrappers':>22}")
    for n_rows in ROWS:
        table = rng.normal(size=(n_rows, N_FEATURES)).astype("float32")
        # The wrapper cannot be told to draw no progress bar.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            seconds = interleaved(
                {
                    "ours": lambda table=table: ours.predict_proba(table),
                    "plain": lambda table=table: ours.model_.predict(table, verbose=0),
                    "wrapper": lambda table=table: theirs.predict(table),
                }
            )
        mine = seconds.pop("ours")
        others = "".join(f"{t * 1e3:12.2f} ({t / mine:6.1f} x)" for t in seconds.values())
        print(f"{n_rows:8d} {mine * 1e3:12.2f} {others}")


if __name__ == "__main__":
    main()
