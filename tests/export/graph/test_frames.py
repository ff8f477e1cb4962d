"""Data frames of any library and dtype: trained on, exported, and fed to the file as they are."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import stackfuse as sf
from stackfuse._export.graph.signature import Signature

N_ROWS = 60
RANDOM = np.random.default_rng(0)
PLAIN = pd.DataFrame(
    {
        "age": RANDOM.normal(30, 9, N_ROWS),
        "port": RANDOM.choice(["S", "C", ""], N_ROWS),
        "rank": RANDOM.integers(1, 4, N_ROWS),
        "alone": RANDOM.uniform(size=N_ROWS) < 0.5,
    }
)
SURVIVED = (PLAIN["age"] + 9 * PLAIN["alone"] > 33).to_numpy().astype(int)
GONE = np.arange(N_ROWS) % 5 == 0


def _polars(frame):
    import polars

    lists = {n: [None if pd.isna(v) else v for v in frame[n]] for n in frame}
    return polars.DataFrame(lists)


def _gaps(frame):
    return frame.astype(object).where(~np.tile(GONE[:, None], frame.shape[1]), None)


def _nullable():
    frame = PLAIN.convert_dtypes()
    frame.loc[GONE, ["age", "rank", "alone"]] = pd.NA
    return frame


def _categories():
    frame = PLAIN.assign(rank=PLAIN["rank"].astype("category"))
    return frame.assign(port=pd.Categorical(PLAIN["port"].where(~GONE, None)))


FRAMES = {
    "polars": lambda: _polars(PLAIN),
    "polars with nulls": lambda: _polars(_gaps(PLAIN)),
    "polars numbers": lambda: _polars(_gaps(PLAIN[["age", "rank"]])),
    "nullable": PLAIN.convert_dtypes,
    "nullable with NA": _nullable,
    "nullable numbers": lambda: _nullable()[["age", "rank"]],
    "categories": _categories,
    "objects": lambda: PLAIN.astype(object),
    "objects with None": lambda: _gaps(PLAIN),
    "truth values": lambda: PLAIN[["age", "alone"]],
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames(kind, tmp_path):
    X = FRAMES[kind]()
    words = [name for name in X.columns if name != "age"]

    def columns():
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        return ColumnTransformer([("w", encoder, words), ("n", StandardScaler(), ["age"])])

    hist = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5)
    forest = RandomForestClassifier(3, random_state=0)
    bases = [(name, make_pipeline(columns(), m)) for name, m in (("hist", hist), ("rf", forest))]
    stack = sf.StackingClassifier(bases, LogisticRegression(), cv=2, random_state=0)
    stack.fit(X, SURVIVED)
    report = sf.export(stack, tmp_path / "stack.keras")
    assert (report.max_difference or 0) < 1e-13
    assert report.n_probes > 20 or kind.startswith("objects")
    graph = sf.to_keras(stack)
    fed = Signature.of_rows(X, "float64").feed(X)
    got = _called(graph, fed)
    assert_allclose(got["probabilities"], stack.predict_proba(X), atol=1e-13)
    assert_array_equal(got["label"], stack.predict(X))


def _called(graph, fed):
    import tensorflow as tf

    if set(fed) == {"x"}:
        return graph(fed["x"])
    tensors = {n: tf.constant(a.astype(str) if a.dtype == object else a) for n, a in fed.items()}
    return graph(tensors)


def test_polars_needs_no_other_package(monkeypatch):
    X = _polars(_gaps(PLAIN))
    monkeypatch.setattr(type(X), "to_pandas", None)  # it would ask for pyarrow
    fed = Signature.of_rows(X, "float64").feed(X)
    numbers = PLAIN[["age", "alone"]].to_numpy(float)
    numbers[GONE] = np.nan
    assert_array_equal(np.hstack([fed["age"], fed["alone"]]), numbers)
    words = np.where(GONE, "<NA>", PLAIN["port"])
    assert_array_equal(fed["port"][:, 0], words)


def test_the_word_for_missing_values_may_not_be_a_value():
    marked = PLAIN.assign(port=PLAIN["port"].where(~GONE, "<NA>"))
    encoder = OneHotEncoder(handle_unknown="ignore")
    model = make_pipeline(
        ColumnTransformer([("w", encoder, ["port"])], remainder="passthrough"),
        LogisticRegression(max_iter=1000),
    )
    with pytest.raises(sf.NotConvertible, match="to strings other than '<NA>'"):
        sf.to_keras(model.fit(marked, SURVIVED), X=marked)
    # Trained without, but some row that is compared has it: "missing" and "<NA>" would be one.
    with pytest.raises(sf.NotConvertible, match="'port' holds the string '<NA>', which means"):
        sf.export(model.fit(PLAIN, SURVIVED), "none.keras", verify=marked)


@pytest.mark.parametrize(
    "values",
    [
        pd.timedelta_range("2 days", periods=N_ROWS),
        [("a", k) for k in range(N_ROWS)],
        ["a", 1] * 30,
    ],
    ids=["durations", "tuples", "mixed"],
)
def test_columns_that_no_graph_takes_are_named(values):
    X = PLAIN.assign(when=values)
    with pytest.raises(sf.NotConvertible, match=r"The column 'when' holds .* which no graph takes"):
        Signature.of_rows(X, "float64")


PASSING = {
    "by place": (
        ColumnTransformer([("n", StandardScaler(), ["age"])], remainder="passthrough"),
        ColumnTransformer([("w", OneHotEncoder(handle_unknown="ignore"), [1])], remainder="drop"),
    ),
    "by name": (
        ColumnTransformer(
            [("n", StandardScaler(), ["age", "rank"]), ("s", "passthrough", ["port", "alone"])]
        ).set_output(transform="pandas"),
        ColumnTransformer(
            [("w", OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["s__port"])],
            remainder="passthrough",
        ),
    ),
    "side by side": (
        FeatureUnion(
            [
                ("words", ColumnTransformer([("p", "passthrough", ["port"])])),
                ("numbers", ColumnTransformer([("n", StandardScaler(), ["age", "rank"])])),
            ]
        ),
        ColumnTransformer([("w", OneHotEncoder(handle_unknown="ignore"), [0])], remainder="drop"),
    ),
}


@pytest.mark.parametrize("case", PASSING)
@pytest.mark.parametrize("ending", [".keras", ".onnx"])
def test_strings_pass_through_to_an_encoder_behind(tmp_path, case, ending):
    model = make_pipeline(*PASSING[case], LogisticRegression()).fit(PLAIN, SURVIVED)
    report = sf.export(model, tmp_path / f"model{ending}", verify=PLAIN)
    assert report.max_difference < 1e-6
    assert report.n_probes > 0


def test_strings_that_reach_a_model_are_refused(tmp_path):
    columns = ColumnTransformer([("n", StandardScaler(), ["age"])], remainder="passthrough")
    model = make_pipeline(columns, OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    model.fit(PLAIN, SURVIVED)
    broken = make_pipeline(model[0], model[-1])
    with pytest.raises(sf.NotConvertible, match="'remainder__port' holds strings"):
        sf.export(broken, tmp_path / "broken.keras", verify=PLAIN)


def test_the_converter_of_onnx_says_nothing_of_tables_of_words(tmp_path, capfd, caplog):
    encoder = OneHotEncoder(sparse_output=False).fit(PLAIN[["port"]])
    sf.export(encoder, tmp_path / "encoder.onnx", verify=PLAIN[["port"]])
    assert "serializing" not in capfd.readouterr().err + caplog.text


MANY_WORDS = """
import sys

import numpy as np
import pandas as pd
import stackfuse as sf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from stackfuse._core.fitting import memory_use
rng = np.random.default_rng(0)
sizes = np.linspace(200, 2000, 60).astype(int)
columns = {f"c{k}": [f"w{i}" for i in rng.integers(0, n, 2000)] for k, n in enumerate(sizes)}
X, y = pd.DataFrame(columns), rng.integers(0, 2, 2000)
encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2)
model = make_pipeline(encoder, LogisticRegression()).fit(X, y)
report = sf.export(model, sys.argv[1], verify=X[:64])
assert report.max_difference < 1e-12
print(report.n_bytes / 1e6, memory_use.used()[1] / 2**10 / 1e6)
"""


@pytest.mark.slow
def test_a_table_of_many_words_fits_into_memory(tmp_path):
    """60 columns of 200 to 2,000 words: with tables of indicators it took more than 6 GB."""
    command = [sys.executable, "-c", MANY_WORDS, str(tmp_path / "words.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    megabytes, gigabytes = map(float, done.stdout.split()[-2:])
    assert megabytes < 5
    assert gigabytes < 3
