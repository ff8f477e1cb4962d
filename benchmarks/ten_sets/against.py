"""Against AutoGluon and H2O: the same tables, the same wall time, the same two cores.

Each library runs in a Python of its own, which this script starts; stackfuse and scikit-learn run
in the one that runs it. Make the others by

    python -m venv ag && ag/bin/pip install 'autogluon.tabular[lightgbm,catboost,xgboost]'
    python -m venv h2o && h2o/bin/pip install h2o pandas pyarrow     # needs Java

    python benchmarks/ten_sets/against.py --seconds 120 \\
        --autogluon ag/bin/python --h2o h2o/bin/python

The sets are those of `meta_learners.py`, which took no part in choosing the default meta-learner.
What a library does not finish in its time counts as not finished, with twice the time as the end.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

TARGET = "target"


def losses(y: np.ndarray, said: np.ndarray, classes: list | None) -> float:
    """Return the log-loss, or the root of the mean squared error in deviations of y."""
    if classes is None:
        return float(np.sqrt(np.mean((said - y) ** 2)) / y.std())
    places = np.array([classes.index(label) for label in y])
    chances = said / said.sum(axis=1, keepdims=True)
    return float(-np.log(np.maximum(chances[np.arange(len(y)), places], 1e-15)).mean())


def milliseconds(predict, row) -> float:
    """Return the median time of a call for one row, of all in a second, but seven at least."""
    predict(row)
    times = []
    while len(times) < 7 or sum(times) < 1000:
        start = time.perf_counter()
        predict(row)
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


def by_autogluon(train, test, classes, seconds, folder, preset):
    """Return the predictions of AutoGluon, and what tells the milliseconds of one row."""
    from autogluon.tabular import TabularPredictor

    kind = "regression" if classes is None else "binary" if len(classes) == 2 else "multiclass"
    metric = "root_mean_squared_error" if classes is None else "log_loss"
    predictor = TabularPredictor(TARGET, kind, metric, path=str(folder / preset), verbosity=0)
    predictor.fit(train, presets=preset, time_limit=seconds, num_cpus=2)
    predictor.persist()
    rows = test.drop(columns=TARGET)
    if classes is None:
        return predictor.predict(rows).to_numpy(), lambda: milliseconds(predictor.predict, rows[:1])
    said = predictor.predict_proba(rows)[classes].to_numpy()
    return said, lambda: milliseconds(predictor.predict_proba, rows[:1])


def by_h2o(train, test, classes, seconds, folder):
    """Return the predictions of H2O's AutoML, and what tells the milliseconds of one row."""
    import h2o
    from h2o.automl import H2OAutoML

    h2o.init(nthreads=2, max_mem_size="4g", ice_root=str(folder))
    h2o.no_progress()
    frames = [h2o.H2OFrame(part) for part in (train, test)]
    if classes is not None:
        for frame in frames:
            frame[TARGET] = frame[TARGET].asfactor()
    automl = H2OAutoML(max_runtime_secs=int(seconds), seed=0)
    automl.train(y=TARGET, training_frame=frames[0])
    said = automl.leader.predict(frames[1]).as_data_frame()

    def one():
        taken = milliseconds(automl.leader.predict, frames[1][:1, :])
        h2o.cluster().shutdown()
        return taken

    if classes is None:
        return said["predict"].to_numpy(), one
    columns = [c for c in said.columns if c != "predict"]  # in the order of the sorted labels
    return said[columns].to_numpy(), one


def by_stack(train, test, classes, seconds, folder, library):
    """Return the predictions of a stack of `table_bases`, ours or scikit-learn's.

    One row is asked of our exported file.
    """
    import joblib
    import onnxruntime
    from sklearn import ensemble

    import stackfuse as sf

    start = time.perf_counter()
    X, y = train.drop(columns=TARGET), train[TARGET]
    bases = sf.models.table_bases(X, y, time_budget=0.8 * seconds)
    left = max(seconds - (time.perf_counter() - start), 1)
    kind = "StackingRegressor" if classes is None else "StackingClassifier"
    with joblib.parallel_config("threading", n_jobs=2):
        if library == "scikit-learn":
            stack = getattr(ensemble, kind)(bases, cv=5).fit(X, y)
        else:
            stack = getattr(sf, kind)(bases, cv=5, time_limit=left, random_state=0).fit(X, y)
    rows = test.drop(columns=TARGET)
    predict = getattr(stack, "predict" if classes is None else "predict_proba")
    said = predict(rows)
    if library == "scikit-learn":
        return said, lambda: milliseconds(predict, rows[:1])

    def one():
        sf.export(stack, folder / "stack.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # for one row, threads wait for each other
        session = onnxruntime.InferenceSession(folder / "stack.onnx", options)
        return milliseconds(lambda row: session.run(None, {"x": row}), rows[:1].to_numpy())

    return said, one


def run_here(name: str, folder: Path, seconds: float) -> dict:
    """Fit one library on the table in a folder, and return its loss and times."""
    warnings.simplefilter("ignore")
    train, test = (pd.read_pickle(folder / f"{part}.pkl") for part in ("train", "test"))
    told = json.loads((folder / "task.json").read_text())
    classes = sorted(train[TARGET].unique().tolist()) if told["classes"] else None
    arguments = train, test, classes, seconds, folder
    start = time.perf_counter()
    if name.startswith("autogluon"):
        said, one = by_autogluon(*arguments, name.split()[1])
    elif name == "h2o":
        said, one = by_h2o(*arguments)
    else:
        said, one = by_stack(*arguments, name)
    wall = time.perf_counter() - start
    return {"loss": losses(test[TARGET].to_numpy(), said, classes), "s": wall, "ms a row": one()}


def frame_of(data, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training rows and test rows of a data set, the target as one of the columns."""
    import meta_learners
    from sklearn.model_selection import train_test_split

    X, y = data.load(meta_learners.FOLDER / (data.file or ""))
    frame = pd.DataFrame(np.asarray(X, float), columns=[f"x{k}" for k in range(X.shape[1])])
    places = np.unique(y, return_inverse=True)[1]
    # Objects: not every Python here has a pandas that reads another's words.
    names = np.array([f"class {k:02d}" for k in places], object)
    frame[TARGET] = pd.Series(names, dtype=object) if data.classes else np.asarray(y, float)
    shares = frame[TARGET] if data.classes else None
    train, test = train_test_split(frame, test_size=1 / 3, stratify=shares, random_state=seed)
    return train[: meta_learners.ROWS[0]], test[: meta_learners.ROWS[1]]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--autogluon", help="the Python that has autogluon.tabular")
    parser.add_argument("--h2o", help="the Python that has h2o")
    parser.add_argument("--seconds", type=float, default=120, help="for each fit (default: 120)")
    parser.add_argument("--libraries", nargs="*", help="names of some (default: all)")
    parser.add_argument("--sets", nargs="*", help="names of sets (default: all)")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run_here(options.run[0], Path(options.run[1]), options.seconds)))
        return
    import meta_learners

    pythons = {"stackfuse": sys.executable, "scikit-learn": sys.executable}
    if options.autogluon:
        pythons |= dict.fromkeys(
            ("autogluon medium_quality", "autogluon best_quality"), options.autogluon
        )
    if options.h2o:
        pythons["h2o"] = options.h2o
    if options.libraries:
        pythons = {name: pythons[name] for name in options.libraries}
    found = []
    for data in meta_learners.DATA:
        is_there = data.file is None or (meta_learners.FOLDER / data.file).exists()
        if not is_there or (options.sets and data.name not in options.sets):
            continue
        with tempfile.TemporaryDirectory() as folder:
            train, test = frame_of(data, seed=0)
            train.to_pickle(Path(folder, "train.pkl"), protocol=4)
            test.to_pickle(Path(folder, "test.pkl"), protocol=4)
            Path(folder, "task.json").write_text(json.dumps({"classes": data.classes}))
            for name, python in pythons.items():
                command = [python, __file__, "--run", name, folder]
                command += ["--seconds", str(options.seconds)]
                limit = 2 * options.seconds + 60
                result = {"loss": np.inf, "s": np.nan, "ms a row": np.nan}
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
                except subprocess.TimeoutExpired:
                    print(f"{name} on {data.name}: not within {limit:g} s", file=sys.stderr)
                else:
                    if done.returncode == 0:
                        result = json.loads(done.stdout.splitlines()[-1])
                    else:
                        print(f"{name} on {data.name}: {done.stderr[-500:]}", file=sys.stderr)
                found.append({"data": data.name, "library": name, **result})
                print(found[-1], file=sys.stderr, flush=True)
    frame = pd.DataFrame(found)
    table = frame.pivot(index="library", columns="data", values="loss").loc[list(pythons)]
    table["mean rank"] = table.rank().mean(axis=1)
    for extra in ("s", "ms a row"):
        table[extra] = frame.groupby("library")[extra].median()
    print(f"log-loss, of numbers the RMSE in deviations of y; {options.seconds:g} s for each fit")
    print(table.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
