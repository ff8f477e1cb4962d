"""How much of a stack's gain a small network keeps that learns the stack's answers.

Every data set of ``meta_learners.py`` is split into up to 1,000 rows to train on and 3,000 to test
on. The stack has the bases of that file. The student is a starter network, ``sf.models.mlp`` of 64
units. It is trained on the labels, with three seeds, and by ``sf.distill`` with its defaults on the
stack's answers. The losses are log-loss and 1 - R2 on the test rows.

Where the stack's gain over the network on labels is within two standard errors, there is no share:
that would be a quotient of noise. The share over several splits is the sum of what is kept over the
sum of the gains. `distill.md` holds what was measured.
"""

import argparse
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from meta_learners import CLASSIFIERS, DATA, FOLDER, REGRESSORS
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

import stackfuse as sf
from stackfuse._stacking.costs import kilobytes

TRAINING = {"batch_size": 128, "optimizer__learning_rate": 2e-3}

#: Networks on labels, of other seeds: their losses differ more than those of distilled ones.
ON_LABELS = 3


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


def losses_of(model, X, y: np.ndarray, classes: bool) -> np.ndarray:
    """Return the loss of each row: the log-loss, or the square in units of the variance of y."""
    if not classes:
        return (model.predict(X) - y) ** 2 / y.var()
    return -np.log(np.maximum(model.predict_proba(X)[np.arange(len(y)), y], np.finfo(float).eps))


def measured(data, seed: int) -> dict[str, Any]:
    """Return what is measured on one split: the losses of test rows, and costs."""
    X, y, X_test, y_test = split(data, seed)
    kind = sf.StackingClassifier if data.classes else sf.StackingRegressor
    stack = kind(CLASSIFIERS if data.classes else REGRESSORS, random_state=seed).fit(X, y)
    network = student(data.classes, len(X), seed)
    started = time.process_time()
    distilled = sf.distill(stack, network, X, score=False, random_state=seed)
    seconds = time.process_time() - started
    on_labels = [
        student(data.classes, len(X), number).fit(X, y) for number in range(seed, seed + ON_LABELS)
    ]
    models = {"stack": [stack], "on labels": on_labels, "distilled": [distilled]}
    losses = {
        name: [losses_of(model, X_test, y_test, data.classes) for model in of_name]
        for name, of_name in models.items()
    }
    return {
        **{name: np.mean(each, axis=0) for name, each in losses.items()},
        "kB, stack": kilobytes([stack.estimators_, stack.final_estimator_]),
        "kB, distilled": kilobytes(distilled),
        "s to distill": seconds,
    }


class Gains:
    """The gain of the stack over the network on labels, and the part that a student keeps.

    Standard errors come from the differences between two models on the same test rows. A row that
    is in the tests of two splits counts twice, so they are a little too small for several splits.
    """

    def __init__(self, splits: Sequence[Mapping[str, Any]]):
        self.gains = [split["on labels"] - split["stack"] for split in splits]
        self.kept = [split["on labels"] - split["distilled"] for split in splits]

    @staticmethod
    def mean(parts: Sequence[np.ndarray]) -> tuple[float, float]:
        """Return the mean over splits of the mean over rows, and its standard error."""
        variances = [part.var(ddof=1) / len(part) for part in parts]
        return float(np.mean([part.mean() for part in parts])), sum(variances) ** 0.5 / len(parts)

    def share(self) -> tuple[float, float]:
        """Return the sum of what is kept over the sum of the gains, and its standard error."""
        gain = self.mean(self.gains)[0]
        share = self.mean(self.kept)[0] / gain
        rest = [k - share * g for k, g in zip(self.kept, self.gains, strict=True)]
        return share, self.mean(rest)[1] / abs(gain)

    def cells(self) -> list[str]:
        """Return the gain, what is kept of it, and the share, if there is a gain beyond noise."""
        gain, kept = self.mean(self.gains), self.mean(self.kept)
        told = [f"{mean:.4f} ({error:.4f})" for mean, error in (gain, kept)]
        if gain[0] <= 2 * gain[1]:
            return [*told, "noise"]
        share, error = self.share()
        return [*told, f"{share:.0%} ({error:.0%})"]


def line_of(name: str, splits: Sequence[Mapping[str, Any]], number: str) -> str:
    """Return a line of the table: the means of some splits of a data set."""
    losses = [
        f"{np.mean([split[model].mean() for split in splits]):.4f}"
        for model in ("stack", "on labels", "distilled")
    ]
    costs = [
        f"{np.mean([split[cost] for split in splits]):,.0f}"
        for cost in ("kB, stack", "kB, distilled", "s to distill")
    ]
    return "| " + " | ".join([name, number, *losses, *Gains(splits).cells(), *costs]) + " |"


def main(names: Sequence[str], seeds: Sequence[int]) -> None:
    """Print the table."""
    head = ["", "split", "stack", "on labels", "distilled", "gain (s.e.)", "kept (s.e.)", "share"]
    head += ["kB, stack", "kB, distilled", "s to distill"]
    print("|", " | ".join(head), "|")
    print("|---" * len(head) + "|", flush=True)
    for data in DATA:
        there = data.file is None or (FOLDER / data.file).exists()
        if not there or (names and data.name not in names):
            continue
        splits = []
        for seed in seeds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                splits.append(measured(data, seed))
            print(line_of(data.name, splits[-1:], str(seed)), flush=True)
        if len(splits) > 1:
            print(line_of(data.name, splits, "all"), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="data sets, by default all")
    parser.add_argument(
        "--splits", nargs="+", type=int, default=[0, 1, 2], help="numbers of splits"
    )
    given = parser.parse_args()
    main(given.names, given.splits)
