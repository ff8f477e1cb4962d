"""How much of a stack's gain a small network keeps that learns the stack's answers.

Every data set of ``meta_learners.py`` is split into up to 1,000 rows to train on and 3,000 to test
on. The stack has the bases of that file. The student is a starter network, ``sf.models.mlp`` of 64
units, trained on the labels and, by ``sf.distill`` with its defaults, on the stack's answers. The
errors are log-loss and 1 - R2 on the test rows. `distill.md` holds what was measured.
"""

import argparse
import time
import warnings
from collections.abc import Mapping

import numpy as np
from meta_learners import CLASSIFIERS, DATA, FOLDER, REGRESSORS
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

import stackfuse as sf
from stackfuse._stacking.costs import kilobytes

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


def measured(data, seed: int) -> dict[str, float]:
    """Return what is measured on one split."""
    X, y, X_test, y_test = split(data, seed)
    kind = sf.StackingClassifier if data.classes else sf.StackingRegressor
    stack = kind(CLASSIFIERS if data.classes else REGRESSORS, random_state=seed).fit(X, y)
    network = student(data.classes, len(X), seed)
    on_labels = student(data.classes, len(X), seed).fit(X, y)
    started = time.perf_counter()
    distilled = sf.distill(stack, network, X, score=False, random_state=seed)
    seconds = time.perf_counter() - started
    models = {"stack": stack, "on labels": on_labels, "distilled": distilled}
    return {
        "rows": len(X),
        **{name: error_of(model, X_test, y_test, data.classes) for name, model in models.items()},
        "kB, stack": kilobytes([stack.estimators_, stack.final_estimator_]),
        "kB, distilled": kilobytes(distilled),
        "s to distill": seconds,
    }


def kept(of: Mapping[str, float]) -> str:
    """Return the part of the stack's gain that is kept, if there is one."""
    gain = of["on labels"] - of["stack"]
    return f"{(of['on labels'] - of['distilled']) / gain:.0%}" if gain > 0 else "-"


def cells_of(splits: list[dict[str, float]]) -> list[str]:
    """Return the cells of a line of the table: means, and what is kept of the mean and of each."""
    mean = {name: float(np.mean([split[name] for split in splits])) for name in splits[0]}
    return [
        f"{mean['rows']:,.0f}",
        *(f"{mean[name]:.4f}" for name in ("stack", "on labels", "distilled")),
        kept(mean),
        ", ".join(kept(split) for split in splits),
        *(f"{mean[name]:,.0f}" for name in ("kB, stack", "kB, distilled", "s to distill")),
    ]


def main(names: list[str], n_splits: int) -> None:
    """Print the table."""
    head = ["", "rows", "stack", "on labels", "distilled", "kept", "by split"]
    head += ["kB, stack", "kB, distilled", "s to distill"]
    print("|", " | ".join(head), "|")
    print("|---" * len(head) + "|", flush=True)
    for data in DATA:
        there = data.file is None or (FOLDER / data.file).exists()
        if there and (not names or data.name in names):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                splits = [measured(data, seed) for seed in range(n_splits)]
            print("|", " | ".join([data.name, *cells_of(splits)]), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="data sets, by default all")
    parser.add_argument("--splits", type=int, default=2, help="of each data set (default: 2)")
    given = parser.parse_args()
    main(given.names, given.splits)
