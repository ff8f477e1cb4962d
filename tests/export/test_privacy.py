"""Nothing of the training data leaves a stack unless it is asked for."""

import io
import pickle
import tempfile
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.semi_supervised import LabelPropagation, LabelSpreading
from sklearn.svm import SVC, LinearSVC

import stackfuse as sf
from stackfuse._cli import inspect as _inspect
from stackfuse._export import golden_rows
from stackfuse._export.checking.held_rows import holders_of_rows
from stackfuse._export.checking.made_up_rows import rows_like
from tests.support.networks import build_classifier
from tests.support.traces import contents, traces

ENDINGS = {"keras": ".keras", "saved_model": "", "onnx": ".onnx", "litert": ".tflite"} | {
    "openvino": ".xml"
}

N = 40

GENERATOR = np.random.default_rng(7)

TABLE = GENERATOR.normal(3.0, 2.0, (N, 3))

LABELS = np.arange(N) % 2

IMAGES = GENERATOR.uniform(size=(N, 3, 3))

NAMES = [f"{first} {last}" for first in ("Ada", "Grace", "Emmy", "Sofia") for last in "KLMNOPQRST"]

WORDS = ["fine", "poor", "wet", "dry", "cold"]

NOTES = [f"{name} was {WORDS[k % 5]} and then {WORDS[k % 3]}" for k, name in enumerate(NAMES)]

FRAME = pd.DataFrame(
    {
        "name": NAMES,  # no estimator sees it
        "city": np.where(np.arange(N) % 3 == 0, "Delft", "Turin"),
        "weight": TABLE[:, 0],
        "seen": GENERATOR.integers(1_500_000_000, 1_700_000_000, N),
        "children": np.arange(N) % 4,
    }
)


def values_of(X) -> list:
    """Return the values of rows that may identify somebody: no small whole numbers."""
    if isinstance(X, sf.MultiInput):
        return [value for array in X.arrays.values() for value in values_of(array)]
    values = np.asarray(X, object).ravel().tolist()
    return [v for v in values if not isinstance(v, int) or abs(v) > 1000]


def build_two(meta):
    import keras

    left, right = keras.Input((3,), name="left"), keras.Input((3, 3), name="right")
    joined = keras.layers.Concatenate()([left, keras.layers.Flatten()(right)])
    return keras.Model([left, right], keras.layers.Dense(2, "softmax")(joined))


def build_texts(meta):
    import keras

    reader = keras.layers.TextVectorization(output_mode="multi_hot", vocabulary=WORDS)
    return keras.Sequential(
        [keras.Input((), dtype="string"), reader, keras.layers.Dense(2, "softmax")]
    )


def stack_of(X, *bases, **settings):
    named = [(f"base{k}", base) for k, base in enumerate(bases)]
    stack = sf.StackingClassifier(named, LogisticRegression(), cv=2, random_state=0, **settings)
    return stack.fit(X, LABELS)


def network(build=build_classifier):
    return sf.KerasClassifier(build, random_state=0)


def columns():
    """Return what encodes the frame; the column of names is dropped."""
    return ColumnTransformer(
        [
            ("city", OneHotEncoder(), ["city"]),
            ("numbers", StandardScaler(), ["weight", "seen", "children"]),
        ]
    )


def families():
    """Return a base of each family that holds no training value."""
    import catboost
    import lightgbm

    light: dict[str, Any] = {"min_child_samples": 5, "n_jobs": 1, "verbose": -1}
    cat: dict[str, Any] = {"allow_writing_files": False, "thread_count": 1, "verbose": 0}
    return [
        ExtraTreesClassifier(3, max_depth=4, random_state=0),
        GradientBoostingClassifier(n_estimators=3, random_state=0),
        HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5),
        lightgbm.LGBMClassifier(n_estimators=3, **light),
        catboost.CatBoostClassifier(n_estimators=3, depth=3, **cat),
        make_pipeline(PowerTransformer(), GaussianNB()),
        LinearDiscriminantAnalysis(),
        MLPClassifier((3,), max_iter=200, tol=1.0, random_state=0),
        LinearSVC(random_state=0),
    ]


STACKS = {
    "array": lambda: (TABLE, stack_of(TABLE, network(), LogisticRegression())),
    "forest": lambda: (
        TABLE,
        stack_of(TABLE, RandomForestClassifier(3, max_depth=3, random_state=0)),
    ),
    "families": lambda: (TABLE, stack_of(TABLE, *families(), passthrough=True)),
    "frame": lambda: (
        FRAME,
        stack_of(FRAME, make_pipeline(columns(), LogisticRegression())),
    ),
    "several": lambda: (
        rows := sf.MultiInput(left=TABLE, right=IMAGES),
        stack_of(rows, network(build_two)),
    ),
    "images": lambda: (IMAGES, stack_of(IMAGES, network())),
    "texts": lambda: (
        texts := np.array(NOTES, object),
        stack_of(texts, network(build_texts)),
    ),
}


@pytest.fixture(scope="module", params=STACKS)
def fitted(request):
    """Return training rows and a stack that was fitted on them."""
    return request.param, *STACKS[request.param]()


def test_the_pickle_of_a_stack_holds_no_training_value(fitted):
    kind, X, stack = fitted
    file = io.BytesIO()
    joblib.dump(stack, file)
    for content in (pickle.dumps(stack), cloudpickle.dumps(stack), file.getvalue()):
        found = traces(content, values_of(X))
        if kind == "families":  # LightGBM writes down the ends of the columns
            found = [v for v in found if v not in (*X.min(axis=0), *X.max(axis=0))]
        assert found == ([] if kind != "frame" else _held(X))


def _held(X) -> list:
    """Return the values that an encoder holds."""
    return [v for v in values_of(X) if v in ("Delft", "Turin")]


def test_exported_files_hold_no_training_value(fitted, tmp_path):
    kind, X, stack = fitted
    forms = [*ENDINGS]
    if kind in ("frame", "texts"):
        forms = ["keras", "saved_model"]
    if kind == "families":
        forms = ["keras", "onnx", "litert"]  # the graphs of all formats, for less time
    paths = [tmp_path / f"{form}{ENDINGS[form]}" for form in forms]
    reports = sf.export(stack, paths)
    for path, report in zip(paths, reports, strict=True):
        assert report.n_rows == 64
        assert report.max_difference is not None
        found = traces(contents(path), values_of(X))
        assert found == ([] if kind != "frame" else _held(X))
        golden = golden_rows(_inspect.read_manifest(path))
        assert golden is not None
        assert len(next(iter(golden[0].values()))) == 8
        # Nor do they say where they were made: a folder's name may hold that of a person.
        for place in (tempfile.gettempdir(), str(Path.home()), str(Path(sf.__file__).parent)):
            assert not traces(contents(path), [f"{place}/"])


@pytest.mark.parametrize("form", ENDINGS)
def test_the_search_finds_rows_that_were_asked_for(form, tmp_path):
    _, stack = STACKS["array"]()
    path = tmp_path / f"file{ENDINGS[form]}"
    sf.export(stack, path, golden=TABLE[:5])
    rows = TABLE[:5]
    if form in ("litert", "openvino"):
        rows = rows.astype(np.float32).astype(np.float64)
    assert set(values_of(rows)) <= set(traces(contents(path), values_of(rows)))
    assert not traces(contents(path), values_of(TABLE[5:]))


def test_strings_are_found_too(tmp_path):
    _, stack = STACKS["frame"]()
    sf.export(stack, tmp_path / "file.keras", golden=FRAME[:5])
    found = traces(contents(tmp_path / "file.keras"), NAMES)
    assert found == NAMES[:5]
    assert traces(pickle.dumps(FRAME), NAMES[:5]) == NAMES[:5]
    assert traces(pickle.dumps(TABLE), values_of(TABLE)) == values_of(TABLE)
    assert traces(pickle.dumps(TABLE.tolist()), values_of(TABLE)) == values_of(TABLE)


def test_rows_to_verify_on_do_not_go_into_the_file(tmp_path):
    path = tmp_path / "file.keras"
    model = LogisticRegression().fit(TABLE, LABELS)
    report = sf.export(model, path, verify=TABLE)
    assert report.n_rows == N
    assert not traces(contents(path), values_of(TABLE))
    assert _inspect.read_manifest(path)["golden"] is not None


def test_golden_rows_serve_where_there_are_no_others(tmp_path):
    model = LogisticRegression().fit(TABLE, LABELS)
    assert sf.export(model, tmp_path / "file.keras", golden=TABLE[:3]).n_rows == 3
    with pytest.raises(ValueError, match="verify=False skips the comparison"):
        sf.export(model, tmp_path / "file.keras", golden=TABLE, verify=False)
    with pytest.raises(ValueError, match="golden holds no rows"):
        sf.export(model, tmp_path / "file.keras", golden=TABLE[:0])


def test_estimators_that_hold_rows_by_nature_are_named(tmp_path):
    stack = stack_of(TABLE, KNeighborsClassifier(3), make_pipeline(StandardScaler(), SVC()))
    report = sf.export(stack, tmp_path / "file.keras")
    assert report.holds_rows_of == ("KNeighborsClassifier", "SVC")
    assert "; holds training rows of KNeighborsClassifier, SVC" in str(report)
    manifest = _inspect.read_manifest(tmp_path / "file.keras")
    assert manifest["holds_rows_of"] == ["KNeighborsClassifier", "SVC"]


@pytest.mark.parametrize("kernel", ["rbf", "knn"])
@pytest.mark.parametrize("cls", [LabelPropagation, LabelSpreading])
def test_label_propagation_holds_rows(cls, kernel):
    assert holders_of_rows(cls(kernel=kernel, n_neighbors=2).fit(TABLE, LABELS))[0] == cls.__name__


class Choosy(Ridge):
    """Takes rows only whose first number is small."""

    def predict(self, X):
        if (np.asarray(X)[:, 0] > 3.0).any():
            raise ValueError("too large")
        return super().predict(X)


def test_made_up_rows_that_an_estimator_refuses_are_left_out_one_by_one():
    model = Choosy().fit(TABLE, TABLE.sum(axis=1))
    made_up = rows_like(model, TABLE, 64)
    assert 20 < len(made_up) <= 64
    assert made_up[:, 0].max() <= 3.0
    with pytest.raises(ValueError, match="for all rows that were made up"):
        rows_like(model, TABLE + 100.0, 64)


def test_dates_are_made_up(tmp_path):
    days = np.random.default_rng(0).integers(-21_000, 20_000, len(FRAME)) + 0.3125
    frame = FRAME.assign(born=pd.Timestamp(0) + pd.to_timedelta(days, unit="D"))
    stack = stack_of(frame, make_pipeline(columns(), LogisticRegression()))
    made_up = stack._sketch.rows(1000, np.random.default_rng(0))["born"]
    assert made_up.dtype.kind == "M"
    assert made_up.between("1911", "2026").all()
    assert not made_up.isin(frame["born"]).any()
    assert sf.export(stack, tmp_path / "file.keras").n_rows == 64


def test_a_column_of_durations_is_refused_by_its_name(tmp_path):
    frame = FRAME.assign(born=pd.Timedelta(1912, "D"))
    stack = stack_of(frame, make_pipeline(columns(), LogisticRegression()))
    assert b"1912" not in pickle.dumps(stack)
    with pytest.raises(sf.NotConvertible, match=r"The column 'born' holds .* which no graph takes"):
        sf.export(stack, tmp_path / "file.keras")


def test_files_of_intervals_and_of_students_hold_no_training_value(tmp_path):
    answers = TABLE @ [1.0, -0.5, 0.25] + GENERATOR.normal(size=N)
    bases = [
        ("forest", RandomForestRegressor(3, min_samples_leaf=5, random_state=0)),
        ("linear", Ridge()),
    ]
    stack = sf.StackingRegressor(bases, cv=2, passthrough=True, random_state=0)
    stack.fit(TABLE, answers).calibrate(TABLE)
    student = sf.distill(stack, make_pipeline(StandardScaler(), Ridge()), TABLE, random_state=0)
    values = [*values_of(TABLE), *answers.tolist()]
    paths = [tmp_path / "stack.keras", tmp_path / "stack.onnx"]
    sf.export(stack, paths, coverage=0.8)
    sf.export(student, tmp_path / "student.keras")
    for path in (*paths, tmp_path / "student.keras"):
        assert not traces(contents(path), values)
    assert not traces(pickle.dumps(student), values)
    assert not traces(pickle.dumps(stack), values_of(TABLE))


#: What holds single values of columns, as docs/tables/files.md says.
HOLDERS = [
    HistGradientBoostingRegressor(max_iter=5, random_state=0),
    make_pipeline(RobustScaler(), Ridge()),
    make_pipeline(SimpleImputer(strategy="median"), Ridge()),
    make_pipeline(QuantileTransformer(n_quantiles=9), Ridge()),
    make_pipeline(
        KBinsDiscretizer(3, encode="onehot-dense", quantile_method="averaged_inverted_cdf"),
        Ridge(),
    ),
    make_pipeline(SplineTransformer(4), Ridge()),
]


@pytest.mark.parametrize("model", HOLDERS, ids=lambda model: str(model)[:40])
def test_estimators_that_hold_single_values_are_told(model, tmp_path):
    """Their files must hold them, or rows on a threshold would be decided in another way."""
    X = np.random.default_rng(1).normal(3.0, 2.0, (301, 2))
    model.fit(X, X.sum(axis=1))
    sf.export(model, tmp_path / "model.keras", verify=False)
    name = type(model[0] if hasattr(model, "steps") else model).__name__
    page = (Path(__file__).parents[2] / "docs/tables/files.md").read_text()
    assert traces(contents(tmp_path / "model.keras"), values_of(X))
    assert f"`{name}`" in page
