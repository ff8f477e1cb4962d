"""The starter networks of ``sf.models`` beside scikit-learn's network and boosting, untuned.

Every data set of ``meta_learners.py`` is split several times into up to 2,000 rows to train on and
3,000 to test on. Errors are log-loss and 1 - R2 on the test rows, means over the splits; the last
column counts how often a model is the best or within one standard error of the best.
`starters.md` holds what was measured.
"""

import argparse
import time
import warnings

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


def errors_of(data, n_splits: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the errors of each model for each split, and the seconds of its fits."""
    X, y = data.load(FOLDER / data.file if data.file else None)
    if data.classes:
        y = np.unique(y, return_inverse=True)[1]
    split = StratifiedShuffleSplit if data.classes else ShuffleSplit
    n_test = min(3000, len(y) // 3)
    folds = split(
        n_splits, train_size=min(2000, len(y) - n_test), test_size=n_test, random_state=0
    ).split(X, y)
    errors: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for seed, (train, test) in enumerate(folds):
        for name, model in models(data.classes, len(train), seed).items():
            started = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(X[train], y[train])
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
            if data.classes:
                chances = model.predict_proba(X[test])
                error = log_loss(y[test], chances, labels=np.arange(chances.shape[1]))
            else:
                error = 1 - r2_score(y[test], model.predict(X[test]))
            errors.setdefault(name, []).append(float(error))
    return errors, seconds


def main(names: list[str], n_splits: int) -> None:
    """Print the table."""
    wins: dict[str, int] = {}
    for data in DATA:
        if (names and data.name not in names) or (
            data.file is not None and not (FOLDER / data.file).exists()
        ):
            continue
        errors, seconds = errors_of(data, n_splits)
        means = {name: float(np.mean(found)) for name, found in errors.items()}
        best = min(means, key=means.__getitem__)
        slack = np.std(errors[best], ddof=1) / n_splits**0.5 if n_splits > 1 else 0.0
        for name, mean in means.items():
            wins[name] = wins.get(name, 0) + (mean <= means[best] + slack)
        shown = "  ".join(
            f"{name} {mean:.4f} ({seconds[name]:.0f} s)" for name, mean in means.items()
        )
        print(f"{data.name:10} {shown}", flush=True)
    print("best, or within a standard error of it:", wins)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="data sets, by default all")
    parser.add_argument("--splits", type=int, default=3)
    given = parser.parse_args()
    main(given.names, given.splits)
