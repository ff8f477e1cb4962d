"""Trees in SavedModels, which hold operations of TensorFlow that other formats lack."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)

import stackfuse as sf
from stackfuse._export.graph import traced

MODELS = [
    *(GradientBoostingClassifier(n_estimators=5, max_depth=d, random_state=0) for d in (3, 4, 5)),
    ExtraTreesClassifier(5, random_state=0),
    RandomForestClassifier(5, max_depth=4, random_state=0),
    HistGradientBoostingClassifier(max_iter=5),
]


def outputs_of(path, rows):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return loaded.signatures["serving_default"](x=tf.constant(rows))


@pytest.mark.parametrize(("n_classes", "as_weights"), [(2, False), (3, True)])
def test_rows_that_are_refused_and_all_others(iris, n_classes, as_weights, tmp_path, monkeypatch):
    X, y = iris
    X, y = X[y < n_classes], y[y < n_classes]
    hard = [np.nan, -np.nan, np.inf, -np.inf, 1e39, -1e39, 3.4e38, 3.5e38, 1e300, -0.0, 1e-320]
    rows = np.vstack([X, *(np.where(np.eye(4, dtype=bool), value, X[:4]) for value in hard)])
    rows = np.vstack([rows, np.full((1, 4), np.nan), [[np.inf, -np.inf, 0.0, 0.0]]])
    if as_weights:
        monkeypatch.setattr(traced, "_MOST_CONSTANT", 0)
    with_holes = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.1, np.nan, X)
    for k, model in enumerate(MODELS):
        takes_missing = not isinstance(model, GradientBoostingClassifier)
        model.fit(with_holes if takes_missing else X, y)
        sf.export(model, tmp_path / f"{k}", verify=X)
        found, expected = outputs_of(tmp_path / f"{k}", rows), sf.to_keras(model)(rows)
        for name in ("label", "probabilities"):
            assert_array_equal(found[name], expected[name])
        refused = np.isnan(expected["probabilities"]).any(axis=1)
        accepted = [accepts(model, row) for row in rows]
        assert_array_equal(~refused, accepted)
        with np.errstate(all="ignore"):
            expected = model.predict(rows[~refused])
        assert_array_equal(found["label"].numpy()[~refused], expected)


def accepts(model, row):
    try:
        with np.errstate(all="ignore"):
            model.predict(row[None])
    except ValueError:
        return False
    return True


def test_tables_are_there_once(iris, tmp_path, monkeypatch):
    """As constants or as weights they take the same room."""
    model = GradientBoostingClassifier(max_depth=5, random_state=0).fit(*iris)
    sizes = [sf.export(model, tmp_path / "constants", verify=iris[0]).n_bytes]
    monkeypatch.setattr(traced, "_MOST_CONSTANT", 0)
    sizes.append(sf.export(model, tmp_path / "weights", verify=iris[0]).n_bytes)
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)
