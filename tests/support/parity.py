"""Shared by the tests of exported estimators: many graphs in one file, compared at once."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

import stackfuse as sf
from stackfuse._export.checking.answers import expected_outputs


def assert_parity(estimators, X, path, tolerance=1e-13):
    """Compare fitted estimators with their graphs, which go through one file together.

    Labels must be equal, everything else within a tolerance: of probabilities absolute, of
    decisions and regressions relative to the largest.
    """
    import keras

    inputs = keras.Input((X.shape[1],), dtype="float64")
    outputs = {}
    for k, estimator in enumerate(estimators):
        graph = sf.to_keras(estimator)
        graph.name = f"graph_{k}"
        outputs |= {f"{k}_{name}": tensor for name, tensor in graph(inputs).items()}
    keras.Model(inputs, outputs).save(path)
    got = keras.models.load_model(path, safe_mode=True)(X)
    for k, estimator in enumerate(estimators):
        for name, wanted in expected_outputs(estimator, X).items():
            found, what = np.asarray(got[f"{k}_{name}"]), f"{name} of {estimator}"
            if name.startswith("label"):
                assert_array_equal(found, wanted, err_msg=what)
                continue
            finite = np.abs(wanted[np.isfinite(wanted)])
            scale = 1.0 if name.startswith("prob") else finite.max(initial=1.0)
            assert_allclose(found, wanted, rtol=0, atol=tolerance * scale, err_msg=what)
