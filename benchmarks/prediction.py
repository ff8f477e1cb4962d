"""Prediction: one network and a whole stack, against Keras' own wrapper and ``model.predict``.

Ratios within this process: the candidates take turns, and the best of several turns counts.
"""

import contextlib
import os
import time
import timeit
from collections.abc import Callable

import _cases as cases
import numpy as np
from sklearn.ensemble import RandomForestClassifier

import stackfuse as sf

ROWS = (1, 32, 1024, 65536)
TURNS = 7


def interleaved(
    candidates: dict[str, Callable], turns: int = TURNS, clock: Callable = time.perf_counter
) -> dict[str, float]:
    """Return the best time of one call in seconds, the candidates taking turns of 0.1 seconds."""
    timers = {name: timeit.Timer(call, timer=clock) for name, call in candidates.items()}
    calls = {}
    for name, timer in timers.items():
        timer.timeit(1)  # compiles
        calls[name] = max(1, int(0.1 / timer.timeit(1)))
    best = dict.fromkeys(candidates, np.inf)
    for _ in range(turns):
        for name, timer in timers.items():
            best[name] = min(best[name], timer.timeit(calls[name]) / calls[name])
    return best


def show(title: str, candidates: dict[str, Callable], quick: bool) -> None:
    """Print the milliseconds of each candidate, a function of X, for each number of rows."""
    print(f"{title:>22}" + "".join(f"{name:>24}" for name in candidates))
    rng = np.random.default_rng(0)
    for n_rows in ROWS[::2] if quick else ROWS:
        X = rng.normal(size=(n_rows, 30)).astype("float32")
        # The wrapper cannot be told to draw no progress bar.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            functions = {n: lambda f=f, X=X: f(X) for n, f in candidates.items()}
            seconds = interleaved(functions, 3 if quick else TURNS)
        mine = next(iter(seconds.values()))
        cells = "".join(f"{t * 1e3:12.2f} ({t / mine:7.1f} x)" for t in seconds.values())
        print(f"{n_rows:>22,}{cells}", flush=True)


def main(quick: bool = False) -> None:
    """Print the tables."""
    import keras
    from keras.wrappers import SKLearnClassifier

    X, y = cases.table(2000)()
    network = sf.KerasClassifier(cases.SMALL.build, random_state=0).fit(X, y)
    model = keras.models.clone_model(network.model_)
    model.compile("adam", "categorical_crossentropy")
    wrapper = SKLearnClassifier(model, fit_kwargs={"verbose": 0}).fit(X, y)
    print("Milliseconds of a prediction (and in units of the first column)")
    show(
        "one network, rows",
        {
            "stackfuse": network.predict_proba,
            "model.predict": lambda X: network.model_.predict(X, verbose=0),
            "keras.wrappers": wrapper.predict,
        },
        quick,
    )
    case = cases.smaller(cases.SMALL)
    ours, theirs = cases.stack(case), cases.keras_stack(case)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        ours.fit(X, y), theirs.fit(X, y)
    show(
        "stack of three, rows",
        {
            "compiled": sf.compiled(ours).predict_proba,
            "base by base": ours.predict_proba,
            "keras.wrappers": theirs.predict_proba,
        },
        quick,
    )
    forest = ("forest", RandomForestClassifier(random_state=0))
    mixed = cases.stack(case).set_params(estimators=[*ours.estimators[:2], forest])
    cases.silently(mixed.fit, X.astype("float64"), y)
    fast = sf.compiled(mixed)
    show(
        "two and a forest, rows",
        {
            "compiled": lambda X: fast.predict_proba(X.astype("float64")),
            "base by base": lambda X: mixed.predict_proba(X.astype("float64")),
        },
        quick,
    )


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
