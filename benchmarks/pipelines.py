"""Stacks of networks in pipelines, under transformed targets and with callbacks, beside bare ones.

Ratios within this process: the candidates take turns, and the best of several turns counts; the
loop has one turn, in which it takes as long as all turns of the others. The unit is the stack of
the same networks bare, plus what the transformers take by themselves.
"""

import functools

import _cases as cases
import keras
import numpy as np
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

import stackfuse as sf

TURNS = 3
FIRST, LAST = list(range(15)), list(range(15, 30))


def in_front(n_rows: int) -> dict:
    """Return what stands in front of the networks, by name."""
    quantiles = QuantileTransformer(n_quantiles=min(1000, n_rows // 2), random_state=0)
    return {
        "scaler": StandardScaler(),
        "quantiles": quantiles,
        "two of columns": make_column_transformer((StandardScaler(), FIRST), (quantiles, LAST)),
    }


def network(case: cases.Case, **params) -> sf.KerasClassifier:
    """Return one base."""
    return sf.KerasClassifier(case.build, random_state=0, **case.fit, **params)


def fitted(base, X, y, n_bases: int, engine: str = "auto") -> None:
    """Fit a stack of some bases like this one."""
    bases = [(f"base{k}", base) for k in range(n_bases)]
    sf.StackingClassifier(bases, LogisticRegression(), cv=5, engine=engine).fit(X, y)


def transformed(transformer, X, y, n_bases: int) -> None:
    """Do what a transformer in front of every base does in a stack."""
    folds = [*StratifiedKFold(5).split(X, y), (np.arange(len(X)), np.arange(len(X)))]
    for _ in range(n_bases):
        for train, test in folds:
            done = clone(transformer).fit(X[train], y[train])
            done.transform(X[train])
            done.transform(X[test])


def main(quick: bool = False) -> None:
    """Print the table."""
    case = cases.smaller(cases.SMALL) if quick else cases.SMALL
    X, y = case.data()
    n, bare = case.n_bases, network(case)
    lower = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1)
    bases = {name: make_pipeline(part, bare) for name, part in in_front(len(X)).items()}
    bases["callback"] = network(case, callbacks=[lower])
    bases["clipped"] = network(case, optimizer__clipnorm=1.0)
    bases["calibrated, 2 folds"] = CalibratedClassifierCV(
        make_pipeline(StandardScaler(), bare), cv=2
    )
    cases.warmed_up()
    fit = functools.partial(fitted, X=X, y=y, n_bases=n)
    candidates = {"bare": functools.partial(fit, bare)}
    for name, part in in_front(len(X)).items():
        candidates[f"{name} alone"] = functools.partial(transformed, part, X, y, n)
    candidates |= {name: functools.partial(fit, base) for name, base in bases.items()}
    best = {k: min(v) for k, v in cases.interleaved(candidates, 1 if quick else TURNS).items()}
    print(f"A stack of {n} networks and 5 folds, in units of the bare ones and the transformers")
    print(f"{'':20} {'unit':>10}{'side by side':>14}{'loop':>8}")
    for name in bases:
        unit = best["bare"] + best.get(f"{name} alone", 0.0)
        loop = cases.seconds(lambda base=bases[name]: fit(base, engine="sequential"))
        ratios = best[name] / unit, loop / unit
        print(f"{name:20} {unit:8.2f} s{ratios[0]:14.2f}{ratios[1]:8.2f}", flush=True)


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
