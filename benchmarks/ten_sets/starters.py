"""The starter networks of ``sf.models`` beside scikit-learn's network and boosting, untuned.

Every data set of ``meta_learners.py`` is split several times into up to 2,000 rows to train on and
3,000 to test on. Errors are log-loss and 1 - R2 on the test rows: each split's, and their mean; the
last line counts how often a model is the best or within one standard error of the best.
`starters.md` holds what was measured. Single columns can be run on chosen sets and splits:

    python benchmarks/ten_sets/starters.py iris wine --models mlp "published mlp" --splits 2 3
"""

import argparse
import time
import warnings
from collections.abc import Sequence

import numpy as np
from meta_learners import DATA, FOLDER
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

import stackfuse as sf

BUILDERS = [sf.models.mlp, sf.models.resnet, sf.models.mlp_plr, sf.models.tabm]

#: The sizes that the authors of the architectures give as defaults, trained as ours are.
PUBLISHED = {
    "published mlp": (sf.models.mlp, {"width": 384}),
    "published resnet": (sf.models.resnet, {"width": 192}),
}
BOOSTING = {True: HistGradientBoostingClassifier, False: HistGradientBoostingRegressor}


def models(classes: bool, n_rows: int, seed: int) -> dict:
    """Return all models by name: networks behind the same preparation of numbers, boosting bare."""

    def behind(network):
        normal = QuantileTransformer(
            output_distribution="normal", n_quantiles=max(10, n_rows // 30)
        )
        model = make_pipeline(normal, network)
        return model if classes else TransformedTargetRegressor(model, transformer=StandardScaler())

    make = sf.models.classifier if classes else sf.models.regressor
    ours = {build.__name__: behind(make(build, random_state=seed)) for build in BUILDERS}
    ours |= {
        name: behind(make(build, random_state=seed, **sizes))
        for name, (build, sizes) in PUBLISHED.items()
    }
    peer = MLPClassifier if classes else MLPRegressor
    peers = {
        "sklearn MLP": behind(peer(max_iter=300, random_state=seed)),
        "its early stop": behind(peer(max_iter=300, early_stopping=True, random_state=seed)),
        "boosting": BOOSTING[classes](random_state=seed),
    }
    return ours | peers


#: The names of all models, in the order of the table.
MODELS = list(models(True, 100, 0))


def errors_of(
    data, names: Sequence[str], splits: Sequence[int], seed: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the errors of named models for each split, and the seconds of their fits.

    Splits are counted from 1. The same split holds the same rows, whichever others are run.
    """
    X, y = data.load(FOLDER / data.file if data.file else None)
    if data.classes:
        y = np.unique(y, return_inverse=True)[1]
    split = StratifiedShuffleSplit if data.classes else ShuffleSplit
    n_test = min(3000, len(y) // 3)
    folds = split(
        max(splits), train_size=min(2000, len(y) - n_test), test_size=n_test, random_state=0
    ).split(X, y)
    errors: dict[str, list[float]] = {name: [] for name in names}
    seconds = dict.fromkeys(names, 0.0)
    for number, (train, test) in enumerate(folds):
        if number + 1 not in splits:
            continue
        made = models(data.classes, len(train), seed + number)
        for name in names:
            model = made[name]
            started = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(X[train], y[train])
            seconds[name] += time.process_time() - started
            if data.classes:
                chances = model.predict_proba(X[test])
                error = log_loss(y[test], chances, labels=np.arange(chances.shape[1]))
            else:
                error = 1 - r2_score(y[test], model.predict(X[test]))
            errors[name].append(float(error))
    return errors, seconds


def main(sets: Sequence[str], names: Sequence[str], splits: Sequence[int], seed: int) -> None:
    """Print the table."""
    wins = dict.fromkeys(names, 0)
    for data in DATA:
        if (sets and data.name not in sets) or (
            data.file is not None and not (FOLDER / data.file).exists()
        ):
            continue
        errors, seconds = errors_of(data, names, splits, seed)
        means = {name: float(np.mean(found)) for name, found in errors.items()}
        best = min(means, key=means.__getitem__)
        n_splits = len(splits)
        slack = np.std(errors[best], ddof=1) / n_splits**0.5 if n_splits > 1 else 0.0
        for name, mean in means.items():
            wins[name] += int(mean <= means[best] + slack)
            each = " ".join(f"{error:.4f}" for error in errors[name])
            print(
                f"{data.name:10} {name:17} {mean:.4f} ({seconds[name]:.0f} s): {each}", flush=True
            )
    print("best, or within a standard error of it:", wins)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", help="data sets, by default all")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="NAME")
    parser.add_argument("--splits", nargs="+", type=int, default=[1, 2, 3], metavar="NUMBER")
    parser.add_argument("--seed", type=int, default=0, help="added to the networks' seeds")
    given = parser.parse_args()
    main(given.sets, given.models, given.splits, given.seed)
