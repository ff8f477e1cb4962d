"""The main job on real data: train a stack, search its meta-learner, export it, load it."""

import time
from pathlib import Path

import numpy as np
from keras import Input, Sequential, layers
from rich.console import Console
from rich.table import Table
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stackfuse._cli import inspect as _inspect
from stackfuse._export import export
from stackfuse._meta import FusionClassifier
from stackfuse._networks import KerasClassifier
from stackfuse._stacking import StackingClassifier

#: The candidates of GridSearchCV, by the names that the tables show.
META_LEARNERS = {
    "logistic regression": LogisticRegression(max_iter=1000),
    "scaler + logistic regression": make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)
    ),
    "Keras Dense head": FusionClassifier("dense"),
    "Keras Dense head, 16 hidden": FusionClassifier("dense", hidden_units=(16,), epochs=40),
    "random forest": RandomForestClassifier(min_samples_leaf=3),
    "extra trees": ExtraTreesClassifier(min_samples_leaf=3),
}


def build_mlp(meta, units=64):
    """Return a multi-layer perceptron over the 64 grey values."""
    return Sequential(
        [
            Input((meta["n_features_in_"],)),
            layers.Rescaling(1 / 16),
            layers.Dense(units, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(units, activation="relu"),
            layers.Dense(meta["n_classes_"], activation="softmax"),
        ]
    )


def build_cnn(meta, filters=16):
    """Return a small convolutional network over the 8 x 8 images."""
    return Sequential(
        [
            Input((meta["n_features_in_"],)),
            layers.Rescaling(1 / 16),
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(filters, 3, activation="relu"),
            layers.Conv2D(filters, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(meta["n_classes_"], activation="softmax"),
        ]
    )


def make_stack(memory: Path) -> StackingClassifier:
    """Return the unfitted stack of the demo: two networks of different build and a forest.

    Parameters
    ----------
    memory : Path
        Where the fits of the bases are kept: the search needs each for six meta-learners.
    """
    training = {"epochs": 8, "batch_size": 64, "optimizer__learning_rate": 0.005}
    return StackingClassifier(
        [
            ("mlp", KerasClassifier(build_mlp, **training)),
            ("cnn", KerasClassifier(build_cnn, **training)),
            ("forest", ExtraTreesClassifier(50)),
        ],
        final_estimator=LogisticRegression(max_iter=1000),
        cv=3,
        memory=memory,
        random_state=0,
    )


def run(folder: Path) -> int:
    """Run the demo, writing to a folder; return the exit status."""
    start = time.perf_counter()
    console = Console()

    def step(text: str) -> None:
        console.print(f"[bold]{time.perf_counter() - start:5.0f} s[/]  {text}", soft_wrap=True)

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=0
    )
    step(f"Digits: {len(X_train)} rows to train on, {len(X_test)} held out, 10 classes.")

    step("Fitting the stack: two Keras networks and a forest, out-of-fold over 3 folds.")
    stack = make_stack(folder / "fits")
    stack.set_params(verbose=1).fit(X_train, y_train)

    step(f"Searching {len(META_LEARNERS)} meta-learners with GridSearchCV over 3 outer folds.")
    search = GridSearchCV(
        make_stack(folder / "fits"),
        {"final_estimator": list(META_LEARNERS.values())},
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        scoring="neg_log_loss",
    )
    search.set_callbacks(ProgressBar(max_propagation_depth=0)).fit(X_train, y_train)
    console.print(_table_of_search(search))
    winner = list(META_LEARNERS)[search.best_index_]

    probabilities = {name: e.predict_proba(X_test) for name, e in stack.named_estimators_.items()}
    probabilities["plain average of the bases"] = np.mean(list(probabilities.values()), axis=0)
    probabilities["stack, logistic regression"] = stack.predict_proba(X_test)
    probabilities[f"stack, {winner} (chosen)"] = search.predict_proba(X_test)
    console.print(_table_of_models(probabilities, y_test))

    path = folder / "stack.keras"
    step(f"Exporting the chosen stack to {path}.")
    report = export(search, path, verify=X_test)
    console.print(f"         {report}", soft_wrap=True)

    step("Computing the held-out rows from the file, in a process that cannot import stackfuse.")
    outputs = _inspect.outputs_of(path, {"x": X_test})
    labels = np.searchsorted(search.classes_, search.predict(X_test))
    n_wrong = np.count_nonzero(outputs["label"] != labels)
    distance = np.abs(outputs["probabilities"] - search.predict_proba(X_test)).max()
    console.print(
        f"         {len(X_test)} held-out rows: label differs by {n_wrong}, "
        f"probabilities by {distance:.2g}",
        soft_wrap=True,
    )
    if n_wrong or not distance <= 1e-5:
        console.print("[bold red]The loaded file does not reproduce the stack.[/]")
        return 1
    step("The loaded file reproduces stack.predict_proba on all held-out rows.")
    console.print(_how_to_load(path), soft_wrap=True)
    return 0


def _table_of_search(search: GridSearchCV) -> Table:
    table = Table("meta-learner", "cross-validated log-loss", title="GridSearchCV")
    scores, errors = search.cv_results_["mean_test_score"], search.cv_results_["std_test_score"]
    for k in np.argsort(-scores):
        table.add_row(list(META_LEARNERS)[k], f"{-scores[k]:.4f} ± {errors[k]:.4f}")
    return table


def _table_of_models(probabilities: dict[str, np.ndarray], y: np.ndarray) -> Table:
    table = Table("model", "log-loss", "accuracy", "AUC", title="Held-out rows, best first")
    losses = {name: log_loss(y, p) for name, p in probabilities.items()}
    for name in sorted(losses, key=lambda name: losses[name]):
        p = probabilities[name]
        accuracy = accuracy_score(y, p.argmax(axis=1))
        area = roc_auc_score(y, p, multi_class="ovr")
        table.add_row(name, f"{losses[name]:.4f}", f"{accuracy:.4f}", f"{area:.5f}")
    return table


def _how_to_load(path: Path) -> str:
    return (
        f"\nThe stack is one file: [bold]{path}[/]. It needs Keras, not stackfuse:\n\n"
        "    import keras\n"
        f'    model = keras.models.load_model("{path}")\n'
        '    model(X)["probabilities"]    # X: float64, shape (n, 64)\n'
        '    model(X)["label"]            # number of the class\n'
    )
