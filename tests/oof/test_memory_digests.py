"""Digests of builders and estimators drawn from seeds: equal where equal, changed by any change."""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from stackfuse._oof.memory.fingerprint import fingerprint
from tests.support.random_builders import PIECES, draw

N_DRAWS = 300

_PRINT_DIGESTS = """
import json
from tests.oof.test_memory_digests import digests
print(json.dumps(digests()))
"""


def digests() -> list[str]:
    """Return the digest of every draw as it is, and one of what draws do not hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [fingerprint(drawn.thing(drawn.load())) for drawn in map(draw, range(N_DRAWS))]
    other = fingerprint({"a", "b"}, pd.DataFrame({"x": ["u", "v"]}), Ridge(), np.eye(3))
    return [*found, other]


def test_equal_modules_have_equal_digests_in_three_processes():
    others = [
        subprocess.Popen(
            [sys.executable, "-c", _PRINT_DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    here = digests()
    assert here == digests()
    assert len(set(here)) == N_DRAWS + 1
    for other in others:
        assert json.loads(other.communicate()[0].splitlines()[-1]) == here


@pytest.mark.filterwarnings("ignore")
def test_no_digest_stays_when_what_is_read_changes():
    assert len(PIECES) < N_DRAWS
    stayed = []
    for seed in range(N_DRAWS):
        drawn = draw(seed)
        module = drawn.load()
        before = fingerprint(drawn.thing(module))
        exec(drawn.change, vars(module))
        if fingerprint(drawn.thing(module)) == before:
            stayed.append((seed, drawn.change))
    assert stayed == []
