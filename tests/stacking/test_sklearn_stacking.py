"""scikit-learn's own tests of stacking, with nothing but the import changed."""

from pathlib import Path

import pytest
from sklearn.ensemble import tests

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # scikit-learn lets its tests warn
]

_path = Path(tests.__path__[0]) / "test_stacking.py"
_source = _path.read_text()
_changed = _source.replace("    StackingClassifier,\n    StackingRegressor,\n", "", 1)
assert _changed != _source
exec(
    compile(
        "from stackfuse import StackingClassifier, StackingRegressor\n" + _changed, _path, "exec"
    )
)
