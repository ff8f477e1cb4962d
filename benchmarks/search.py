"""A search over twenty meta-learners of one stack, with and without kept fits, and the peer's.

Three outer folds, three inner ones, two small networks: a search that fits the bases anew for
every candidate makes 2 x (20 x 3 x 4 + 4) = 488 fits of a network, one that keeps them makes
2 x (3 x 4 + 4) = 32. So does ``sf.GridSearchCV``, with or without a memory.
"""

import dataclasses
import tempfile

import _cases as cases
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import stackfuse as sf


def search(stack, n_candidates: int = 20, kind=GridSearchCV) -> GridSearchCV:
    """Return the search over strengths of the meta-learner's penalty."""
    return kind(stack, {"final_estimator__C": strengths(n_candidates)}, cv=3)


def strengths(n: int) -> list[float]:
    """Return the strengths that are tried."""
    return np.logspace(-4, 3, n).tolist()


def main(quick: bool = False) -> None:
    """Print the table; the quick one without those that fit the bases anew each time."""
    cases.warmed_up()
    n = 5 if quick else 20
    case = dataclasses.replace(
        cases.SMALL, n_bases=2, data=cases.table(1000), fit={"epochs": 3, "batch_size": 32}
    )
    X, y = case.data()
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = cases.stack(case, cv=3), cases.keras_stack(case, cv=3)
        kept = cases.stack(case, cv=3).set_params(memory=folder)
        times = {
            "sf.GridSearchCV": cases.seconds(lambda: search(ours, n, sf.GridSearchCV).fit(X, y)),
            "stackfuse, memory=": cases.seconds(lambda: search(kept, n).fit(X, y)),
            "the same once more": cases.seconds(lambda: search(kept, n).fit(X, y)),
            "by sf.GridSearchCV": cases.seconds(lambda: search(kept, n, sf.GridSearchCV).fit(X, y)),
        }
        table = kept.fit(X, y).oof_.predictions
        alone = GridSearchCV(LogisticRegression(), {"C": strengths(n)}, cv=3)
        times["its meta-learners alone"] = cases.seconds(lambda: alone.fit(table, y))
        if quick:
            times["keras.wrappers, one only"] = cases.seconds(lambda: search(theirs, 1).fit(X, y))
        else:
            times["stackfuse"] = cases.seconds(lambda: search(ours).fit(X, y))
            times["keras.wrappers"] = cases.seconds(lambda: search(theirs).fit(X, y))
    print(f"GridSearchCV over {n} meta-learners, 2 networks, 3 x 3 folds")
    first = next(iter(times.values()))
    for name, duration in times.items():
        print(f"{name:24} {duration:8.1f} s {duration / first:8.1f} x", flush=True)


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
