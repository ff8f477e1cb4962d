"""A grid search over one small network, and a cross-validation of it: ours and scikit-learn's.

Both fit the same estimator on the same folds. Ours trains the folds, and the candidates that
differ in the learning rate alone, side by side. The first turn holds what is compiled and traced.
"""

import _cases as cases
import numpy as np
from sklearn import model_selection

import stackfuse as sf


def network(meta, units=16):
    """Return a network with one hidden layer."""
    import keras

    inputs = keras.Input((meta["n_features_in_"],))
    hidden = keras.layers.Dense(units, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))


GRID = {"model__units": [16, 32], "optimizer__learning_rate": [0.001, 0.003, 0.01]}


def main(quick: bool = False) -> None:
    """Print the table; the quick one after two turns."""
    cases.warmed_up()
    X, y = cases.table(2000)()
    net = sf.KerasClassifier(network, epochs=20, random_state=0)
    found = {}

    def search(kind):
        found[kind] = kind(net, GRID, cv=5, scoring="neg_log_loss").fit(X, y)

    tasks = {
        "GridSearchCV, 6 candidates x 5 folds": {
            "stackfuse": lambda: search(sf.GridSearchCV),
            "scikit-learn": lambda: search(model_selection.GridSearchCV),
        },
        "cross_validate, 5 folds": {
            "stackfuse": lambda: sf.cross_validate(net, X, y),
            "scikit-learn": lambda: model_selection.cross_validate(net, X, y),
        },
    }
    for title, candidates in tasks.items():
        times = cases.interleaved(candidates, 2 if quick else 4)
        first = {name: seconds[0] for name, seconds in times.items()}
        best = {name: min(seconds) for name, seconds in times.items()}
        print(f"{title:38} {'first':>10} {'best':>10}")
        for name in candidates:
            print(f"{name:38} {first[name]:8.1f} s {best[name]:8.1f} s")
        ratios = [each["scikit-learn"] / each["stackfuse"] for each in (first, best)]
        print(f"{'times as fast':38} {ratios[0]:8.1f}   {ratios[1]:8.1f}", flush=True)
    ours, theirs = (each.cv_results_["mean_test_score"] for each in found.values())
    print(f"{'largest difference of a score':38} {np.abs(ours - theirs).max():8.0e}")


if __name__ == "__main__":
    main(cases.asked_for(__doc__))
