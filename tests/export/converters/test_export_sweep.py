"""Each estimator of scikit-learn is converted, and equal, or has its reason in the page."""

import warnings

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import all_estimators

import stackfuse as sf
from tests.support import sweep

SUBJECTS = list(sweep.subjects())


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_every_estimator_converts(subject, record_property):
    for task in subject.tasks():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of small data and few iterations
            outcome, detail = sweep.tried(subject, task)
        record_property("sweep", outcome)
        assert outcome == "exact", f"{subject} of a {task} target: {outcome}, {detail}"


def test_every_estimator_is_tried_or_has_its_reason():
    names = {name for name, _ in all_estimators()}
    tried = {subject.name for subject in SUBJECTS}
    assert tried | sweep.REASONS.keys() | set(sweep.NOT_TRIED) == names
    assert not tried & sweep.REASONS.keys()


@pytest.mark.parametrize("name", sorted(dict(all_estimators("transformer")).keys() & sweep.REASONS))
def test_masks_give_the_reason(name, iris):
    cls = dict(all_estimators("transformer"))[name]
    after = LogisticRegression().fit(*iris)
    with pytest.raises(sf.NotConvertible, match=f"{name} cannot be .*: it {sweep.REASONS[name]}"):
        sf.to_keras(make_pipeline(sweep.made(cls), after), X=iris[0])


@pytest.mark.skipif(
    sweep.release() != "1.9", reason="the page's table is of scikit-learn 1.9, which CI has"
)
def test_the_table_in_the_page_is_the_swept_one():
    assert sweep.in_page() == sweep.table()
