"""Rows in files: the numbers are those of arrays, and memory holds no more than batches."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stackfuse as sf
from tests.support.networks import build_classifier, build_regressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 5)).astype(np.float32)
Y = X[:, 0] + RNG.normal(size=200)
NET = ("net", sf.KerasRegressor(build_regressor, epochs=2, validation_split=0.1))
RIDGE = ("ridge", Ridge())
TOLD = pytest.mark.filterwarnings("ignore:.* all rows of X at once")


def of_npy(folder: Path):
    np.save(folder / "x.npy", X)
    return sf.StoredRows(folder / "x.npy")


def of_memmap(folder: Path):
    np.save(folder / "x.npy", X)
    return sf.StoredRows(np.load(folder / "x.npy", mmap_mode="r"))


def of_private_map(folder: Path):
    np.save(folder / "x.npy", np.zeros_like(X))
    rows = np.load(folder / "x.npy", mmap_mode="c")
    rows[:] = X  # stands in memory alone
    return sf.StoredRows(rows)


def of_h5py(folder: Path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("rows", data=X, chunks=(32, 5))
    return h5py.File(folder / "x.h5")["rows"]  # taken as it is


def of_zarr(folder: Path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    rows = zarr.create_array(str(folder / "x.zarr"), shape=X.shape, dtype="f4", chunks=(32, 5))
    rows[:] = X
    return zarr.open_array(str(folder / "x.zarr"), mode="r")


def of_parquet(folder: Path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pandas as pd

    (folder / "parts").mkdir()
    for k, part in enumerate(np.array_split(X, 3)):
        frame = pd.DataFrame(part, columns=pd.Index(list("abcde")))
        frame.to_parquet(folder / "parts" / f"{k}.parquet", row_group_size=20)
    return sf.StoredRows.from_parquet(folder / "parts")


SOURCES = [of_npy, of_memmap, of_private_map, of_h5py, of_zarr, of_parquet]


@TOLD
@pytest.mark.parametrize("source", SOURCES)
def test_a_stack_of_rows_in_files_is_that_of_an_array(source, tmp_path):
    rows = source(tmp_path)
    fits = [
        sf.StackingRegressor([NET, RIDGE], cv=3, random_state=0).fit(given, Y)
        for given in (X, rows)
    ]
    assert_allclose(fits[1].oof_.predictions, fits[0].oof_.predictions, atol=1e-6)
    assert_allclose(fits[1].predict(rows), fits[0].predict(X), atol=1e-6)
    assert_allclose(fits[1].predict(X[:7]), fits[0].predict(X[:7]), atol=1e-6)


@pytest.mark.parametrize("source", SOURCES)
def test_rows_are_those_of_numpy(source, tmp_path):
    rows = source(tmp_path)
    rows = rows if isinstance(rows, sf.StoredRows) else sf.StoredRows(rows)
    assert (rows.shape, rows.dtype, rows.ndim, len(rows)) == ((200, 5), np.float32, 2, 200)
    mask = X[:, 0] > 0
    for key in (slice(10, 50, 3), [7, 3, 3, 199], mask, np.arange(9), [], -1, slice(None)):
        assert_array_equal(np.asarray(rows[key]), X[key])
    assert_array_equal(np.asarray(rows[50:][::-1][[3, 1]]), X[50:][::-1][[3, 1]])
    assert_array_equal(rows[:, [2, 0]], X[:, [2, 0]])
    assert_array_equal(np.asarray(pickle.loads(pickle.dumps(rows[[5, 2]]))), X[[5, 2]])


@pytest.mark.parametrize("engine", ["sequential", "fused"])
def test_engines_train_on_rows_in_files(engine, tmp_path):
    rows = of_npy(tmp_path)
    bases = [NET, ("other", sf.KerasRegressor(build_regressor, units=3, epochs=2))]
    oofs = [
        sf.out_of_fold(bases, given, Y, cv=3, random_state=0, engine=engine) for given in (X, rows)
    ]
    assert_allclose(oofs[1].predictions, oofs[0].predictions, atol=1e-6)


def test_one_network_alone_and_one_of_several_inputs(tmp_path):
    rows, y = of_npy(tmp_path), (Y > 0).astype(int)
    network = sf.KerasClassifier(build_classifier, epochs=2, random_state=0)
    expected = network.fit(X, y).predict_proba(X)
    assert_allclose(network.fit(rows, y).predict_proba(rows), expected, atol=1e-6)

    def build(meta):
        import keras

        inputs = [keras.Input((5,), name=name) for name in ("one", "two")]
        return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.add(inputs)))

    several = sf.KerasRegressor(build, epochs=1, random_state=0)
    expected = several.fit(sf.MultiInput(one=X, two=X), Y).predict(sf.MultiInput(one=X, two=X))
    given = sf.MultiInput(one=rows, two=X)
    assert_allclose(several.fit(given, Y).predict(given), expected, atol=1e-6)


def test_memory_knows_rows_in_files(tmp_path):
    stack = sf.StackingRegressor([NET], cv=3, random_state=0, memory=tmp_path / "kept")
    first = stack.fit(of_npy(tmp_path), Y).oof_.predictions
    assert stack.fit(of_npy(tmp_path), Y).engine_ == {"net": "from memory"}
    assert_array_equal(stack.oof_.predictions, first)


@TOLD
def test_processes_read_rows_in_files(tmp_path):
    rows = of_h5py(tmp_path)
    oofs = [
        sf.out_of_fold([RIDGE], given, Y, cv=3, n_jobs=n_jobs)
        for given, n_jobs in ((X, None), (rows, 2))
    ]
    assert_allclose(oofs[1].predictions, oofs[0].predictions, atol=1e-12)


def test_bases_that_read_everything_are_told_with_their_size(tmp_path):
    rows = of_npy(tmp_path)
    scaled = ("scaled", make_pipeline(StandardScaler(), NET[1]))
    told = r"^Base estimators 'ridge', 'scaled' take all rows of X at once, 3\.9 KiB in memory"
    with pytest.warns(UserWarning, match=rf"{told}\. Only networks read batches"):
        sf.out_of_fold([RIDGE, NET, scaled], rows, Y, cv=2, random_state=0)


def test_bases_that_cannot_be_given_everything_are_refused_before_anything_is_read():
    class Endless:
        shape, dtype = (10**9, 10**6), np.dtype(float)

        def __getitem__(self, rows):
            raise AssertionError("it was read")

    rows = sf.StoredRows(Endless(), np.zeros(10**4, int))
    with pytest.raises(ValueError, match=r"'ridge' takes all rows of X at once, 74"):
        sf.out_of_fold([RIDGE], rows, np.arange(10.0**4), cv=2)


def test_no_rows_are_told_as_of_an_array():
    X = np.random.default_rng(0).normal(size=(40, 4))
    stack = sf.StackingRegressor([("ridge", Ridge())], cv=3).fit(X, X[:, 0])
    none = sf.StoredRows(X[:0])
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        stack.predict(none)
    assert np.asarray(none[:, 1]).shape == (0,)


def test_numbers_that_are_none_are_found_in_pieces(tmp_path):
    broken = X.copy()
    broken[150, 2] = np.nan
    np.save(tmp_path / "x.npy", broken)
    rows = sf.StoredRows(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="X contains NaN or infinity, for example in row 150"):
        NET[1].fit(rows, Y)


@pytest.mark.parametrize("source", [[[1.0]], np.array(["a"]), np.float64(3)])
def test_what_holds_no_rows_of_numbers_is_refused(source):
    with pytest.raises(ValueError, match="StoredRows reads numbers from an object with shape, dty"):
        sf.StoredRows(source)


def test_columns_of_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pandas as pd

    frame = pd.DataFrame({"n": [1, 2, 3], "x": [0.5, np.nan, 2.0], "word": ["a", "b", "c"]})
    frame.to_parquet(tmp_path / "t.parquet")
    rows = sf.StoredRows.from_parquet(tmp_path / "t.parquet", columns=["x", "n"])
    assert_array_equal(np.asarray(rows), [[0.5, 1], [np.nan, 2], [2, 3]])
    with pytest.raises(ValueError, match="Name the columns of numbers: columns="):
        sf.StoredRows.from_parquet(tmp_path)
    with pytest.raises(ValueError, match="has no column 'y'"):
        sf.StoredRows.from_parquet(tmp_path, columns=["y"])


SCRIPT = """
import sys
import keras, numpy as np
import stackfuse as sf
from stackfuse._core.fitting import memory_use

def peak():  # ru_maxrss would count what the parent held when it forked
    return memory_use.used()[1] / 2**20

def build(meta):
    return keras.Sequential([keras.Input((meta["n_features_in_"],)), keras.layers.Dense(1)])

path, engine = sys.argv[1:]
network = sf.KerasRegressor(build, epochs=1, batch_size=2048)
stack = sf.StackingRegressor([("a", network), ("b", network)], cv=2, engine=engine, random_state=0)
X = np.load(path, mmap_mode="r")
y = np.random.default_rng(0).normal(size=len(X))
stack.fit(np.array(X[:1000]), y[:1000]).predict(np.array(X[:1000]))
before = peak()
stack.fit(X, y)
stack.predict(X)
print(peak() - before)
"""


@pytest.fixture(scope="module")
def gigabyte(tmp_path_factory):
    """Return the path of an array of 1 GiB."""
    n_rows, n_columns = 2**18, 2**10
    path = tmp_path_factory.mktemp("gigabyte") / "x.npy"
    file = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_columns))
    block = RNG.normal(size=(2**14, n_columns)).astype(np.float32)
    for start in range(0, n_rows, len(block)):
        file[start : start + len(block)] = block
    file.flush()
    yield path
    path.unlink()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="others do not tell a peak")
@pytest.mark.parametrize("engine", ["sequential", "fused"])
def test_a_gigabyte_of_rows_takes_less_than_a_third_of_it(engine, gigabyte):
    environment = {**os.environ, "PYTHONPATH": str(Path(sf.__file__).parents[1])}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(gigabyte), engine],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout.split()[-1]) < 300  # MiB
