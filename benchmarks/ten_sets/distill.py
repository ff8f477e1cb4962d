"""How much of a stack's gain a small network keeps that learns the stack's answers.

Every data set of ``meta_learners.py`` is split into up to 1,000 rows to train on and 3,000 to test
on. The stack has the bases of that file. The student is a starter network, ``sf.models.mlp`` of 64
units, trained on the labels and, by ``sf.distill`` with its defaults, on the stack's answers. The
errors are log-loss and 1 - R2 on the test rows. `distill.md` holds what was measured.
"""

import argparse
import time
import warnings

import numpy as np
from meta_learners import CLASSIFIERS, DATA, FOLDER, REGRESSORS
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

import stackfuse as sf
from stackfuse._stacking.costs import kilobytes, milliseconds

TRAINING = {"batch_size": 128, "optimizer__learning_rate": 2e-3}


def student(classes: bool, n_rows: int, seed: int):
    """Return the network that is trained both ways."""
    normal = QuantileTransformer(output_distribution="normal", n_quantiles=max(10, n_rows // 30))
    make = sf.models.classifier if classes else sf.models.regressor
    network = make_pipeline(normal, make(sf.models.mlp, width=64, random_state=seed, **TRAINING))
    if classes:
        return network
    return TransformedTargetRegressor(network, transformer=StandardScaler())


def split(data, seed: int) -> tuple:
    """Return rows to train on and to test on."""
    X, y = data.load(FOLDER / data.file if data.file else None)
    if data.classes:
        y = np.unique(y, return_inverse=True)[1]
    kind = StratifiedShuffleSplit if data.classes else ShuffleSplit
    n_test = min(3000, len(y) // 3)
    n_train = min(1000, len(y) - n_test)
    train, test = next(kind(1, train_size=n_train, test_size=n_test, random_state=seed).split(X, y))
    return X[train], y[train], X[test], y[test]


def error_of(model, X, y, classes: bool) -> float:
    """Return the log-loss, or 1 - R2."""
    if not classes:
        return float(1 - r2_score(y, model.predict(X)))
    chances = model.predict_proba(X)
    return float(log_loss(y, chances, labels=np.arange(chances.shape[1])))


def measured(data, seed: int) -> list[str]:
    """Return the cells of a line of the table."""
    X, y, X_test, y_test = split(data, seed)
    kind = sf.StackingClassifier if data.classes else sf.StackingRegressor
    stack = kind(CLASSIFIERS if data.classes else REGRESSORS, random_state=seed).fit(X, y)
    network = student(data.classes, len(X), seed)
    on_labels = student(data.classes, len(X), seed).fit(X, y)
    started = time.perf_counter()
    distilled = sf.distill(stack, network, X, score=False, random_state=seed)
    seconds = time.perf_counter() - started
    errors = [error_of(m, X_test, y_test, data.classes) for m in (stack, on_labels, distilled)]
    gain = errors[1] - errors[0]
    kept = f"{(errors[1] - errors[2]) / gain:.0%}" if gain > 0 else ""
    method = "predict_proba" if data.classes else "predict"
    took = [
        milliseconds(lambda model=model: getattr(model, method)(X[:1]))
        for model in (stack, distilled)
    ]
    sizes = [
        kilobytes([stack.estimators_, stack.final_estimator_]),
        kilobytes(distilled),
    ]
    return [
        f"{len(X):,}",
        *(f"{error:.4f}" for error in errors),
        kept,
        *(f"{ms:.2g}" for ms in took),
        *(f"{size:,.0f}" for size in sizes),
        f"{seconds:.0f}",
    ]


def main(names: list[str], seed: int) -> None:
    """Print the table."""
    head = ["", "rows", "stack", "on labels", "distilled", "kept"]
    head += ["ms, stack", "ms, distilled", "kB, stack", "kB, distilled", "s to distill"]
    print("|", " | ".join(head), "|")
    print("|---" * len(head) + "|", flush=True)
    for data in DATA:
        there = data.file is None or (FOLDER / data.file).exists()
        if there and (not names or data.name in names):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                print("|", " | ".join([data.name, *measured(data, seed)]), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="data sets, by default all")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.names, given.seed)
