"""How often intervals and sets hold the target, how large they are, and what they cost.

Every data set of ``meta_learners.py`` is split several times into up to 1,000 rows to train on and
3,000 to test on. A stack of three quick bases is asked for a coverage of 0.9. MAPIE (``pip install
mapie``), where it is installed, is given the same stack and fits it anew in five folds; its own
extra time is that of ``fit_conformalize`` less one fit of the stack. Widths are in standard
deviations of y. `coverage.md` holds what was measured.
"""

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable

import numpy as np
from meta_learners import DATA, FOLDER
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf

COVERAGE = 0.9
#: Splits of small tables, which have few rows to test on, and of the others.
SPLITS = 20, 5
#: The first splits are MAPIE's too.
SPLITS_OF_MAPIE = 5
HAS_MAPIE = importlib.util.find_spec("mapie") is not None


def stack_for(classes: bool, seed: int):
    """Return a stack of three quick bases."""
    forests = RandomForestClassifier if classes else RandomForestRegressor
    forest = forests(20, max_depth=8, random_state=seed)
    first = LogisticRegression() if classes else Ridge()
    second = GaussianNB() if classes else KNeighborsRegressor()
    bases = [("linear", first), ("second", second), ("forest", forest)]
    scaled = [(name, make_pipeline(StandardScaler(), base)) for name, base in bases]
    kind = sf.StackingClassifier if classes else sf.StackingRegressor
    return kind(scaled, random_state=seed)


def seconds(function: Callable) -> tuple[float, object]:
    """Return how long a call takes, and what it returns."""
    started = time.perf_counter()
    found = function()
    return time.perf_counter() - started, found


def judged(found: np.ndarray, y: np.ndarray, scale: float) -> tuple[float, float]:
    """Return the share of targets that are held, and the mean size of what holds them."""
    if found.dtype == bool:
        return float(found[np.arange(len(y)), y].mean()), float(found.sum(axis=1).mean())
    held = (found[:, 0] <= y) & (y <= found[:, 1])
    return float(held.mean()), float(np.ptp(found, axis=1).mean() / scale)


def mapies(classes: bool, stack, train) -> tuple[float, dict[str, Callable]]:
    """Return the seconds that MAPIE fits, and its methods as functions of X."""
    from mapie.classification import (  # pyright: ignore[reportMissingImports]
        CrossConformalClassifier,
    )
    from mapie.regression import CrossConformalRegressor  # pyright: ignore[reportMissingImports]

    if not classes:
        model = CrossConformalRegressor(clone(stack), confidence_level=COVERAGE, method="plus")
        spent, _ = seconds(lambda: model.fit_conformalize(*train))
        return spent, {"MAPIE CV+": lambda X: model.predict_interval(X)[1][:, :, 0]}
    scores = ("lac", "aps") if len(np.unique(train[1])) > 2 else ("lac",)  # for two it has no other
    models = {
        f"MAPIE {score}": CrossConformalClassifier(
            clone(stack), confidence_level=COVERAGE, conformity_score=score, random_state=0
        )
        for score in scores
    }
    spent = [seconds(lambda m=model: m.fit_conformalize(*train))[0] for model in models.values()]
    return spent[0], {
        name: lambda X, m=model: m.predict_set(X)[1][:, :, 0] for name, model in models.items()
    }


def split_of(data, X, y, train, test, seed: int) -> dict[str, tuple[float, float, float]]:
    """Return coverage, size and extra seconds of each method for one split."""
    stack = stack_for(data.classes, seed)
    fitted, _ = seconds(lambda: stack.fit(X[train], y[train]))
    extra, _ = seconds(stack.calibrate)
    ask = stack.predict_set if data.classes else stack.predict_interval
    names = ("lac", "adaptive") if data.classes else ("absolute", "normalised")
    methods = {name: lambda rows, m=name: ask(rows, COVERAGE, method=m) for name in names}
    extras = dict.fromkeys(names, extra)
    if HAS_MAPIE and seed < SPLITS_OF_MAPIE:
        spent, theirs = mapies(data.classes, stack, (X[train], y[train]))
        methods |= theirs
        extras |= dict.fromkeys(theirs, spent - fitted)
    scale = 1.0 if data.classes else float(np.std(y))
    return {
        name: (*judged(np.asarray(method(X[test])), y[test], scale), extras[name])
        for name, method in methods.items()
    }


def rows_of(data, most: int | None) -> list[str]:
    """Return the rows of the table for one data set."""
    X, y = data.load(FOLDER / data.file if data.file else None)
    y = np.unique(y, return_inverse=True)[1] if data.classes else np.asarray(y, float)
    n_test = min(3000, len(y) // 3)
    n_train = min(1000, len(y) - n_test)
    n_splits = min(SPLITS[n_test == 3000], most or SPLITS[0])
    split = StratifiedShuffleSplit if data.classes else ShuffleSplit
    folds = split(n_splits, train_size=n_train, test_size=n_test, random_state=0).split(X, y)
    found: dict[str, list] = {}
    for seed, (train, test) in enumerate(folds):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, row in split_of(data, X, y, train, test, seed).items():
                found.setdefault(name, []).append(row)
    lines = []
    for name, rows in found.items():
        held, size, extra = np.mean(rows, axis=0)
        error = np.std(rows, axis=0, ddof=1)[0] / len(rows) ** 0.5 if len(rows) > 1 else np.nan
        lines.append(
            f"| {data.name} | {n_train:,} | {len(rows)} | {name} | {held:.3f} ± {error:.3f} | "
            f"{size:.2f} | {extra:.2f} |"
        )
    return lines


def main(names: list[str], most: int | None) -> None:
    """Print the table."""
    print("| data | rows | splits | method | coverage | size | extra seconds |")
    print("|---|---|---|---|---|---|---|")
    for data in DATA:
        if names and data.name not in names:
            continue
        if data.file is None or (FOLDER / data.file).exists():
            print("\n".join(rows_of(data, most)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="data sets, by default all")
    parser.add_argument("--splits", type=int, default=None, help="at most so many")
    given = parser.parse_args()
    main(given.names, given.splits)
