"""Calls that hypothesis draws: a right answer or an error of ours, never a foreign traceback."""

import os

from hypothesis import HealthCheck, given, note, settings

from tests.support.random_calls import Call, calls, outcome

#: ``make fuzz`` sets it, and draws other calls each time.
LONG = "FUZZ" in os.environ


@settings(
    max_examples=2000 if LONG else 200,
    derandomize=not LONG,
    database=None,
    deadline=None,  # other tests may run beside this one; pytest stops what hangs
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
    print_blob=True,
)
@given(call=calls())
def test_a_call_is_answered_right_or_refused(call: Call):
    note(str(call))
    assert outcome(call) in ("right", "refused")
