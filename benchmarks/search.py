"""Searches over twenty meta-learners of one stack, with and without kept fits, and the peer's.

Three outer folds, three inner ones, two small networks: a search that fits the bases anew for
every candidate makes 2 x (20 x 3 x 4 + 4) = 488 fits of a network, one that keeps them makes
2 x (3 x 4 + 4) = 32. So does ``sf.GridSearchCV``, with or without a memory.

A second table is of searches the second time, all fits kept, in seconds of the processor, as times
the meta-learners' own: scikit-learn's search over the bare meta-learners on a ready out-of-fold
matrix, with the same folds: their clones, fits and scores, and nothing else. Most of the rest is
the stack on each fold, which is checked and found once by ``sf.GridSearchCV``, and for each
candidate by scikit-learn's.
"""

import dataclasses
import tempfile
import time

import _cases as cases
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf


def search(stack, n_candidates: int = 20, kind=GridSearchCV) -> GridSearchCV:
    """Return the search over strengths of the meta-learner's penalty."""
    return kind(stack, {"final_estimator__C": strengths(n_candidates)}, cv=3)


def strengths(n: int) -> list[float]:
    """Return the strengths that are tried."""
    return np.logspace(-4, 3, n).tolist()


def of_many_kinds() -> list:
    """Return twenty meta-learners."""
    return [
        *(LogisticRegression(C=strength) for strength in (0.01, 0.1, 1, 10)),
        *(KNeighborsClassifier(n) for n in (5, 15, 30)),
        *(DecisionTreeClassifier(max_depth=depth, random_state=0) for depth in (3, 5)),
        *(RandomForestClassifier(max_depth=depth, random_state=0) for depth in (4, 8)),
        *(RidgeClassifier(), GaussianNB(), SVC(), SGDClassifier(random_state=0)),
        *(LinearDiscriminantAnalysis(), QuadraticDiscriminantAnalysis()),
        ExtraTreesClassifier(random_state=0),
        GradientBoostingClassifier(n_estimators=50, random_state=0),
        HistGradientBoostingClassifier(max_iter=50, random_state=0),
    ]


def print_second_time(stack, X, y, table: np.ndarray) -> None:
    """Print what searches cost the second time, beside the meta-learners' own."""
    penalties, kinds = strengths(20), of_many_kinds()
    seeded = LogisticRegression(random_state=0)  # a stack seeds its meta-learner
    grids = {
        "20 logistic regressions": ("C", penalties, seeded),
        "20 of many kinds": ("it", kinds, Pipeline([("it", SVC())])),
    }
    for title, (name, values, alone) in grids.items():
        within = "final_estimator" if name == "it" else f"final_estimator__{name}"
        searches = {
            "own": GridSearchCV(alone, {name: values}, cv=3),
            "sf.GridSearchCV": sf.GridSearchCV(stack, {within: values}, cv=3),
            "scikit-learn's": GridSearchCV(stack, {within: values}, cv=3),
        }
        times = {kind: [] for kind in searches}
        for _ in range(5):
            for kind, search in searches.items():
                start = time.process_time()
                search.fit(table if kind == "own" else X, y)
                times[kind].append(time.process_time() - start)
        best = {kind: min(several) for kind, several in times.items()}
        own = best.pop("own")
        ratios = ", ".join(f"{kind} {each / own:.2f} x" for kind, each in best.items())
        print(f"{title:24} their own {own:6.2f} s, {ratios}", flush=True)


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
        print_second_time(kept, X, y, table)
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
