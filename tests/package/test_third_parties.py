"""A package outside of the repository adds a converter, an engine and a meta-learner.

It uses public names only, and what it adds works in a stack, with progress and memory, and in the
exported file, which another process loads without it.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

PACKAGE = {
    "elsewhere/__init__.py": "",
    "elsewhere/engine.py": '''
        """Runs jobs from the last to the first."""

        import stackfuse as sf


        class Backwards:
            def __init__(self):
                self.n_jobs = 0

            def run_jobs(self, jobs, data: sf.engines.Data):
                for number, job in reversed(list(enumerate(jobs))):
                    self.n_jobs += 1
                    yield number, job.run(data)
        ''',
    "elsewhere/meta.py": '''
        """Averages the bases, weighted by how many columns each has."""

        import numpy as np
        from sklearn.base import BaseEstimator, RegressorMixin

        import stackfuse as sf


        class MeanOfBases(RegressorMixin, sf.ColumnsMixin, BaseEstimator):
            def __init__(self, columns=None):
                self.columns = columns

            def fit(self, X, y):
                self.n_features_in_ = X.shape[1]
                self.names_ = [column.estimator for column in self.columns]
                self.weights_ = np.full(X.shape[1], 1 / X.shape[1])
                return self

            def predict(self, X):
                return np.asarray(X) @ self.weights_
        ''',
    "elsewhere/converters.py": '''
        """Graphs of what is in this package."""

        import numpy as np
        from keras import ops

        import stackfuse as sf
        from elsewhere.meta import MeanOfBases


        @sf.converter_for(MeanOfBases)
        def mean_of_bases(estimator, x, method):
            return ops.matmul(x, estimator.weights_.astype(x.dtype))
        ''',
    "use.py": """
        import sys
        import tempfile

        import numpy as np
        from sklearn.datasets import load_diabetes
        from sklearn.linear_model import Lasso, Ridge
        from sklearn.tree import DecisionTreeRegressor

        import stackfuse as sf
        from elsewhere import converters
        from elsewhere.engine import Backwards
        from elsewhere.meta import MeanOfBases

        X, y = load_diabetes(return_X_y=True)
        sf.testing.check_engine(Backwards())
        bases = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))]
        engine = Backwards()
        with tempfile.TemporaryDirectory() as memory:
            stack = sf.StackingRegressor(bases, MeanOfBases(), engine=engine, memory=memory)
            stack.fit(X, y)
            assert engine.n_jobs == 12, engine.n_jobs
            stack.fit(X, y)
            assert engine.n_jobs == 12, "the fits are kept"
        loop = sf.StackingRegressor(bases, MeanOfBases(), engine="sequential").fit(X, y)
        np.testing.assert_array_equal(stack.predict(X), loop.predict(X))
        wanted = (stack.estimators_[0].predict(X) + stack.estimators_[1].predict(X)) / 2
        np.testing.assert_allclose(stack.predict(X), wanted, rtol=1e-12)
        assert stack.final_estimator_.names_ == ["ridge", "tree"]
        assert sf.testing.check_converter(stack, X, formats=["keras"]) > 50
        print(sf.export(stack, sys.argv[1], verify=X))
    """,
}


def test_a_package_elsewhere_adds_a_converter_an_engine_and_a_meta_learner(tmp_path):
    for name, text in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        assert "stackfuse._" not in text
    command = [sys.executable, "use.py", str(tmp_path / "stack.keras")]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "442 rows" in done.stdout
