"""Accuracy of stacks of networks on held-out rows of real data, by each engine and by the peer.

The engines train the same networks up to rounding; the peer draws other seeds. A quarter of the
rows is held out; the standard error is that of the loop's score over these rows.
"""

import _cases as cases
import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def above_median(X, y):
    """Return whether a number is above its median as the target."""
    return X, (y > np.median(y)).astype(int)


LOADERS = {
    "breast cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "iris": datasets.load_iris,
    "digits": datasets.load_digits,
    "diabetes, above median": lambda return_X_y: above_median(
        *datasets.load_diabetes(return_X_y=return_X_y)
    ),
}


def case_for(X, y) -> cases.Case:
    """Return two small networks for a table."""

    def build():
        import keras

        return keras.Sequential(
            [
                keras.Input((X.shape[1],)),
                keras.layers.Dense(32, activation="relu"),
                keras.layers.Dense(len(np.unique(y)), activation="softmax"),
            ]
        )

    return cases.Case("", build, lambda: (X, y), {"epochs": 30, "batch_size": 32}, n_bases=2)


def main(quick: bool = False) -> None:
    """Print the table; the quick one of three sets."""
    print(
        f"{'accuracy':24}{'rows':>6}{'loop':>8}{'auto':>8}{'fused':>8}{'wrappers':>10}{'error':>8}"
    )
    for title, load in list(LOADERS.items())[: 3 if quick else None]:
        X, y = load(return_X_y=True)
        split = train_test_split(X.astype("float32"), y, test_size=0.25, random_state=0, stratify=y)
        train, test, y_train, y_test = split
        case = case_for(train, y_train)
        scores = {}
        for name, stack in {
            "loop": cases.stack(case, "sequential"),
            "auto": cases.stack(case),
            "fused": cases.stack(case, "fused"),
            "wrappers": cases.keras_stack(case),
        }.items():
            model = make_pipeline(StandardScaler(), stack)
            cases.silently(model.fit, train, y_train)
            scores[name] = model.score(test, y_test)
        error = np.sqrt(scores["loop"] * (1 - scores["loop"]) / len(test))
        shown = "".join(f"{scores[n]:8.3f}" for n in ("loop", "auto", "fused"))
        print(f"{title:24}{len(X):6}{shown}{scores['wrappers']:10.3f}{error:8.3f}", flush=True)


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
