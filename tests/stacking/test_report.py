"""Did stacking help? The report's numbers, computed once more by scikit-learn."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_diabetes, make_blobs, make_friedman1
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score
from sklearn.model_selection import (
    KFold,
    LeaveOneOut,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor

import stackfuse as sf
from stackfuse._stacking import judging
from stackfuse._stacking.report import (
    BaseReport,
    Estimate,
    Report,
)
from tests.support.networks import build_classifier

BASES = [("nb", GaussianNB()), ("knn", KNeighborsClassifier()), ("lr", LogisticRegression())]


def by_hand(stack, y, metric, places=None):
    """Score the meta-learner on each fold of the bases, trained on the others."""
    table = stack.oof_.predictions
    table = table if places is None else table[:, places]
    final = type(stack.final_estimator_)
    scores = []
    for train, test in stack.oof_.folds:
        model = final(max_iter=1000).fit(table[train], y[train])
        scores.append(metric(y[test], model.predict_proba(table[test])))
    return np.array(scores)


def test_a_report_is_what_cross_validation_says(iris):
    X, y = iris
    stack = sf.StackingClassifier(BASES, LogisticRegression(max_iter=1000), cv=4).fit(X, y)
    report = stack.report()
    wanted = by_hand(stack, y, log_loss)
    assert report.stack.mean == pytest.approx(wanted.mean())
    assert report.stack.error == pytest.approx(wanted.std(ddof=1) / 2)
    alone = -cross_val_score(KNeighborsClassifier(), X, y, cv=4, scoring="neg_log_loss")
    assert report.bases[1].score.mean == pytest.approx(alone.mean(), rel=1e-6)
    without = by_hand(stack, y, log_loss, places=[0, 1, 2, 6, 7, 8])
    lost = report.bases[1].lost_without
    assert lost.mean == pytest.approx((without - wanted).mean())
    assert lost.error == pytest.approx((without - wanted).std(ddof=1) / 2)
    best = [np.array([s["log_loss"]]).mean() for s in stack.oof_.scores.values()]
    assert report.best is not None
    assert report.best.name == BASES[int(np.argmin(best))][0]
    assert report.n_folds == 4
    assert (report.metric, report.greater_is_better) == ("log-loss", False)


def test_errors_are_correlated_as_numpy_does(iris):
    X, y = iris
    stack = sf.StackingClassifier(BASES, sf.ConvexClassifier(), cv=3).fit(X, y)
    errors = stack.oof_.predictions.reshape(len(y), 3, 3) - np.eye(3)[y][:, None]
    wanted = np.corrcoef(errors.swapaxes(0, 1).reshape(3, -1))
    assert_allclose(stack.report().correlations.to_numpy(), wanted)
    weights = [base.weight for base in stack.report().bases]
    assert_allclose(weights, stack.final_estimator_.weights_)


def test_no_base_is_fitted_and_nothing_is_changed(iris, monkeypatch):
    X, y = iris
    stack = sf.StackingClassifier(BASES[:2], sf.GreedyClassifier(), cv=3).fit(X, y)
    before = stack.predict_proba(X)
    monkeypatch.setattr(GaussianNB, "fit", None)
    monkeypatch.setattr(KNeighborsClassifier, "fit", None)
    one, other = stack.report(), stack.report()
    assert_frame_equal(one.to_frame(), other.to_frame())
    assert (one.verdict, one.optimism) == (other.verdict, other.optimism)
    assert_allclose(stack.predict_proba(X), before)


def test_other_metrics_and_weights(cancer):
    X, y = cancer
    stack = sf.StackingClassifier(BASES, LogisticRegression(max_iter=1000), cv=3).fit(X, y)
    report = stack.report(scoring="roc_auc")
    target = (y == "malignant").astype(int)
    wanted = by_hand(stack, target, lambda t, p: roc_auc_score(t, p[:, 1]))
    assert report.stack.mean == pytest.approx(wanted.mean())
    test = stack.oof_.folds[0].test
    weight = np.random.default_rng(0).uniform(size=len(y))
    weighted = stack.report(sample_weight=weight).bases[0].score.mean
    by_fold = [
        log_loss(target[t], stack.oof_.predictions[t, 0], sample_weight=weight[t])
        for _, t in stack.oof_.folds
    ]
    assert weighted == pytest.approx(np.mean(by_fold), rel=1e-6)
    assert len(test) > 1


def test_decisions_are_scored_by_accuracy(iris):
    X, y = iris
    bases = [("svm", LinearSVC(random_state=0)), ("ridge", Ridge())]
    report = sf.StackingClassifier(bases, LogisticRegression(), cv=3).fit(X, y).report()
    alone = cross_val_score(LinearSVC(random_state=0), X, y, cv=3)
    assert report.metric == "accuracy"
    assert report.bases[0].score.mean == pytest.approx(alone.mean())
    assert np.isnan(report.bases[1].score.mean)  # numbers are no classes
    assert np.isfinite(report.bases[1].lost_without.mean)
    stack = sf.StackingClassifier(bases[1:], LogisticRegression(), cv=3).fit(X, y)
    assert stack.report().verdict.startswith("No base is scored alone. The stack has")


def test_regression_with_passthrough_and_time(diabetes):
    X, y = diabetes
    bases = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=2, random_state=0))]
    stack = sf.StackingRegressor(bases, Ridge(), cv=TimeSeriesSplit(4), passthrough=[0, 1])
    stack.fit(X, y)
    with pytest.raises(ValueError, match=r"also uses columns of X \(passthrough\). Pass X="):
        stack.report()
    report = stack.report(X)
    table = np.hstack([stack.oof_.predictions, X[:, :2]])
    scores = []
    for train, test in stack.oof_.folds[1:]:  # nothing was predicted before the first fold
        train = train[stack.oof_.mask[train]]
        scores.append(r2_score(y[test], Ridge().fit(table[train], y[train]).predict(table[test])))
    assert report.stack.mean == pytest.approx(np.mean(scores))
    assert report.n_folds == 3
    coef = np.abs(stack.final_estimator_.coef_) * table[stack.oof_.mask].std(axis=0)
    assert_allclose([base.weight for base in report.bases], (coef / coef.sum())[:2])


def test_several_outputs_and_labels(iris):
    X, y = load_diabetes(return_X_y=True)
    stack = sf.StackingRegressor([("r", Ridge()), ("k", KNeighborsRegressor())], Ridge(), cv=3)
    Y = np.column_stack([y, y[::-1]])
    report = stack.fit(X, Y).report()
    wanted = [r2_score(Y[t], stack.oof_.predictions[t][:, :2]) for _, t in stack.oof_.folds]
    assert report.bases[0].score.mean == pytest.approx(np.mean(wanted))

    X, y = iris
    labels = np.eye(3, dtype=int)[y]
    bases = [("k", KNeighborsClassifier()), ("t", DecisionTreeClassifier(max_depth=2))]
    stack = sf.StackingClassifier(bases, MultiOutputClassifier(LogisticRegression()), cv=3)
    report = stack.fit(X, labels).report()
    said = stack.oof_.predictions[:, :3]
    wanted = [
        float(np.mean([log_loss(labels[t, j], said[t, j], labels=[0, 1]) for j in range(3)]))
        for _, t in stack.oof_.folds
    ]
    assert report.bases[0].score.mean == pytest.approx(np.mean(wanted))
    assert stack.report(scoring="accuracy").bases[0].score.mean == pytest.approx(
        np.mean([accuracy_score(labels[t], said[t] > 0.5) for _, t in stack.oof_.folds])
    )


def test_a_single_base_and_bases_that_came_fitted(iris):
    X, y = iris
    stack = sf.StackingClassifier(BASES[:1], LogisticRegression(), cv=3).fit(X, y)
    assert np.isnan(stack.report().bases[0].lost_without.mean)
    # Averaged with nothing it is the base: the last bit of a score is no gain and no loss.
    report = sf.StackingClassifier(BASES[:1], sf.ConvexClassifier(), cv=3).fit(X, y).report()
    assert report.gain == Estimate(0.0, 0.0)
    assert report.verdict.startswith("Stacking makes no difference beyond noise")
    fitted = [("nb", GaussianNB().fit(X[:50], y[:50])), ("t", KNeighborsClassifier().fit(X, y))]
    stack = sf.StackingClassifier(fitted, LogisticRegression(), cv="prefit").fit(X[50:], y[50:])
    assert stack.report().n_folds == 5


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_four_digits_do_not_show_makes_no_difference(sign):
    import pandas as pd

    base = BaseReport("a", Estimate(0.5, 0.1), 0.4, Estimate(0.1, 0.1))
    scores, gain = Estimate(0.5 + 1e-6 * sign, 0.1), Estimate(-1e-6 * sign, 1e-8)
    report = Report("log-loss", False, [base], scores, gain, pd.DataFrame(), 5)
    assert report.verdict.startswith("Stacking makes no difference beyond noise: log-loss 0.5 ag")


@pytest.mark.parametrize(
    ("gain", "beginning"),
    [
        (Estimate(0.2, 0.05), "Stacking helps clearly: log-loss 0.3 against 0.5 of the best base"),
        (Estimate(0.03, 0.01), "Stacking helps a little: log-loss 0.3 against 0.5 of the best b"),
        (Estimate(0.002, 0.0007), "Stacking helps by a hair: log-loss 0.3 against 0.5 of the bes"),
        # Two standard errors are not enough with five folds: Student's t asks for 2.78.
        (Estimate(0.002, 0.0008), "Stacking makes no difference beyond noise: log-loss 0.3 again"),
        (Estimate(0.2, 0.15), "Whether stacking helps cannot be told from 5 folds: log-loss 0.3"),
        (Estimate(-0.2, 0.05), "Stacking hurts clearly: log-loss 0.3"),
        (Estimate(0.2), "Whether stacking helps cannot be told from one fold: log-loss 0.3"),
    ],
)
def test_the_verdict(gain, beginning):
    import pandas as pd

    bases = [
        BaseReport("a", Estimate(0.5, 0.1), 0.4, Estimate(0.1, 0.1)),
        BaseReport("b<i>", Estimate(0.6, 0.1), 0.6, Estimate(0.1, 0.1)),
    ]
    report = Report("log-loss", False, bases, Estimate(0.3, 0.1), gain, pd.DataFrame(), 5)
    assert report.verdict.startswith(beginning)
    assert str(report).startswith(beginning)
    assert list(report.to_frame().index) == ["a", "b<i>", "(stack)"]
    assert report.to_frame().loc["b<i>", "weight"] == 0.6
    assert "b&lt;i&gt;" in report._repr_html_()
    assert "<i>" not in report._repr_html_()


@pytest.mark.parametrize(
    ("stack", "base", "error", "beginning"),
    [
        (0.9795, 0.9792, 0.00005, "Stacking helps by a hair: R2 0.9795 against 0.9792"),
        (0.86, 0.42, 0.25, "Whether stacking helps cannot be told from 4 folds: R2 0.86 against"),
        (0.86, 0.42, 0.05, "Stacking helps clearly: R2 0.86 against 0.42"),
        (-0.1, -0.3, 0.01, "Stacking helps clearly: R2 -0.1 against -0.3"),
    ],
)
def test_the_verdict_of_scores(stack, base, error, beginning):
    import pandas as pd

    bases = [BaseReport("a", Estimate(base, 0.1), 0.4, Estimate(0.1, 0.1))]
    gain = Estimate(stack - base, error)
    report = Report("R2", True, bases, Estimate(stack, 0.1), gain, pd.DataFrame(), 4)
    assert report.verdict.startswith(beginning)


def test_folds_whose_other_rows_lack_a_label_are_not_scored(iris):
    X, y = iris
    order = np.argsort(y, kind="stable")
    X, labels = X[order], np.stack([y > 0, X[:, 0] > 0], axis=1)[order].astype(int)
    final = MultiOutputClassifier(LogisticRegression())
    stack = sf.StackingClassifier([("net", KNeighborsClassifier())], final, cv=3).fit(X, labels)
    # Without the first fold all rows have the first label.
    assert stack.report().n_folds == 2


def report_of(lost, error, costs):
    """Return a report on two bases, of a stack whose best base leaves 0.5 to win."""
    bases = [
        BaseReport(name, Estimate(0.5, 0.01), 0.5, Estimate(lost, error)) for name in ("a", "b")
    ]
    frame = pd.DataFrame(costs, index=["a", "b"], columns=["s to fit", "ms for a row", "kB"])
    return Report(
        "log-loss",
        False,
        bases,
        Estimate(0.4, 0.01),
        Estimate(0.1, 0.01),
        pd.DataFrame(),
        5,
        costs=frame,
    )


@pytest.mark.parametrize(
    ("lost", "error", "judged"),
    [
        (0.05, 0.01, False),  # more than 2 % of 0.5
        (0.05, 0.04, False),  # it may be noise, and may be worth it
        (0.0, 0.02, False),  # the folds differ too much to tell
        (0.009, 0.0001, True),  # by a hair
        (-0.05, 0.01, True),
        (0.0, np.nan, False),  # one fold
    ],
)
def test_a_base_must_be_worth_its_cost(lost, error, judged):
    report = report_of(lost, error, [[95, np.nan, 10], [5, np.nan, 0.5]])
    assert list(report.not_worth_it) == ["a"] * judged
    if judged:
        assert report.not_worth_it["a"] == "95% of the time to fit and 95% of the size"
        assert report.advice[0].startswith("The base 'a' is not worth its cost: it takes 95%")
        assert report.advice[0] in str(report)


def test_no_base_that_the_verdict_advises_is_to_be_left_out():
    report = report_of(-0.05, 0.01, [[95, np.nan, 10], [5, np.nan, 5]])
    assert list(report.not_worth_it) == ["a", "b"]
    hurts = replace(report, stack=Estimate(0.6, 0.01), gain=Estimate(-0.1, 0.01))
    assert hurts.verdict.startswith("Stacking hurts clearly: log-loss 0.6 against 0.5 of the best")
    assert hurts.best is report.bases[0]
    assert list(hurts.not_worth_it) == ["b"]
    over = Estimate(0.001, 0.01)
    idle = replace(report, constant=Estimate(0.41, 0.01), over_constant=over)
    assert idle.verdict.startswith("Nothing predicts better than a constant")
    assert idle.advice == []


def test_costs_of_bases_are_measured(cancer):
    X, y = cancer
    bases = [
        ("forest", RandomForestClassifier(60, random_state=0)),
        ("nb", GaussianNB()),
        ("lr", LogisticRegression()),
    ]
    stack = sf.StackingClassifier(bases, cv=3).fit(X, y)
    report = stack.report()
    costs = report.costs
    assert list(costs.index) == ["forest", "nb", "lr"]
    assert costs["s to fit"].sum() <= stack.fit_seconds_["bases"]
    assert costs["s to fit"]["forest"] > 0.8 * costs["s to fit"].sum()
    assert (costs > 0).all(axis=None)
    assert costs["kB"]["forest"] == pytest.approx(
        len(pickle.dumps([stack.estimators_[0]])) / 1000, rel=0.05
    )
    assert "Costs of the bases:" in str(report)
    assert report.facts is not None
    assert list(report.facts.bases.columns[-3:]) == ["s to fit", "ms for a row", "kB"]
    smaller = stack.of_bases(["nb", "lr"]).report(X).costs
    assert list(smaller.index) == ["nb", "lr"]
    restored = pickle.loads(pickle.dumps(stack)).report().costs
    assert_allclose(restored["s to fit"], costs["s to fit"])


def test_of_a_network_the_weights_count(iris):
    X, y = iris
    network = sf.KerasClassifier(build_classifier, epochs=1, random_state=0)
    stack = sf.StackingClassifier([("net", network), ("nb", GaussianNB())], cv=2).fit(X, y)
    n_numbers = 4 * 8 + 8 + 8 * 3 + 3
    assert 4 * n_numbers / 1000 < stack.report().costs["kB"]["net"] < 4 * n_numbers / 1000 + 0.2


def test_where_a_stack_fools_itself_is_told(iris):
    X, y = iris
    final = DecisionTreeClassifier(random_state=0)
    noisy = np.random.default_rng(0).permutation(y)
    stack = sf.StackingClassifier(BASES, final, cv=5).fit(X, noisy)
    report = stack.report(scoring="accuracy")
    table = stack.oof_.predictions
    folds = stack.oof_.folds
    gaps = [
        stack.final_estimator_.score(table[test], noisy[test])
        - final.fit(table[train], noisy[train]).score(table[test], noisy[test])
        for train, test in folds
    ]
    assert report.optimism.mean == pytest.approx(np.mean(gaps))
    assert report.optimism.error == pytest.approx(np.std(gaps, ddof=1) / 5**0.5)
    assert report.advice[-1].startswith("The stack fools itself: its accuracy is")
    calm = sf.StackingClassifier(BASES, cv=5).fit(X, y).report()
    assert not any("fools itself" in said for said in calm.advice)


@pytest.mark.parametrize("final", [None, RidgeCV(), RandomForestRegressor(20, random_state=0)])
def test_only_a_meta_learner_that_overfits_fools_itself(final):
    X, y = make_friedman1(300, noise=3, random_state=0)
    bases = [("ridge", Ridge()), ("knn", KNeighborsRegressor(10)), ("tree", ExtraTreeRegressor())]
    report = sf.StackingRegressor(bases, final, random_state=0).fit(X, y).report()
    told = [said for said in report.advice if "fools itself" in said]
    # With a weight for each base a little is lost on new folds: 2 n_models / n_samples or so.
    part = report.optimism.mean / (1 - max(base.score.mean for base in report.bases))
    assert len(told) == isinstance(final, RandomForestRegressor) == (part > 0.25)


def test_a_weak_signal_in_many_rows_is_no_constant_though_the_folds_differ():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(500, 3))
    y = (generator.uniform(size=500) < 1 / (1 + np.exp(2 - 0.6 * X[:, 0]))).astype(int)
    bases = [("linear", LogisticRegression()), ("bayes", GaussianNB())]
    report = sf.StackingClassifier(bases, random_state=0).fit(X, y).report()
    assert report.verdict.startswith("Stacking makes no difference beyond noise")
    assert report.evidence is not None
    apart, folds = np.zeros(500), []
    for train, test in StratifiedKFold(5).split(X, y):
        share = y[train].mean()
        apart[test] = -np.log(np.where(y[test] == 1, share, 1 - share))
        apart[test] -= report.evidence.losses["linear"].to_numpy()[test]  # best
        folds.append(apart[test].mean())
    assert_allclose(report.over_constant.mean, apart.mean())
    errors = apart.std() / np.sqrt(500), np.std(folds, ddof=1) / np.sqrt(5)
    assert_allclose(report.over_constant.error, max(errors))
    assert 1.645 < report.over_constant.mean / max(errors) < stats.t.ppf(0.975, 4)


@pytest.mark.parametrize("task", ["numbers", "chances", "labels", "two targets"])
def test_the_error_of_the_rows_is_that_of_a_weighted_mean(task):
    X, y = make_friedman1(90, random_state=0)
    weight = np.random.default_rng(0).uniform(size=90)
    stack = sf.StackingRegressor([("ridge", Ridge())], cv=KFold(3), random_state=0)
    if task == "two targets":
        y = np.column_stack([y, y**2])
    if task in ("chances", "labels"):
        y, base = (y > 14).astype(int), [LogisticRegression(), LinearSVC()][task == "labels"]
        final = None if task == "chances" else LinearSVC()
        stack = sf.StackingClassifier([("base", base)], final, cv=KFold(3), random_state=0)
    stack.fit(X, y, sample_weight=weight)
    judged = stack._judged(stack.oof_.predictions, weight)
    measure = judging._measure(None, judged)
    assert measure.rows is not None
    for (model, rows), (_, test) in zip(judged.cross_fitted(judged.columns), judged.folds):
        parts = measure.rows(model, rows, judged.y[test], weight[test])
        whole = measure.of(model, rows, judged.y[test], weight[test])
        assert_allclose(np.average(parts, weights=weight[test]), whole, rtol=1e-9)


def test_where_nothing_beats_a_constant_the_report_says_so_of_any_meta_learner():
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(120, 4)), generator.normal(size=120)
    bases = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))]
    report = sf.StackingRegressor(bases, RidgeCV(), cv=KFold(4)).fit(X, y).report()
    means = cross_val_score(DummyRegressor(), X, y, cv=KFold(4))
    assert report.constant.mean == pytest.approx(means.mean())
    assert report.verdict.startswith("Nothing predicts better than a constant beyond noise: R2")
    assert report.verdict.endswith(f"'ridge', {means.mean():.4g} of the mean of y.")
    assert report._content("", None, ()).outlook == "even"
    labels = generator.permutation(np.arange(120) % 3)
    stack = sf.StackingClassifier(BASES, LogisticRegression(), cv=KFold(4)).fit(X, labels)
    report = stack.report()
    shares = cross_val_score(DummyClassifier(), X, labels, cv=KFold(4), scoring="neg_log_loss")
    assert report.constant.mean == pytest.approx(-shares.mean())
    assert report.verdict.endswith(f"{-shares.mean():.4g} of the shares of the classes.")
    # What is clearly better than a constant is told as before, and so is what a scorer scores.
    y = X[:, 0] + generator.normal(size=120)
    known = sf.StackingRegressor(bases, cv=KFold(4)).fit(X, y)
    assert known.report().verdict.startswith("Stacking")
    assert np.isnan(known.report(scoring="r2").constant.mean)


def test_a_stack_that_answers_with_a_constant_gives_no_advice_and_says_where_a_base_is_better():
    generator = np.random.default_rng(1)
    X, y = generator.normal(size=(200, 4)), generator.permutation(np.arange(200) % 2)
    report = sf.StackingClassifier(BASES, random_state=0).fit(X, y).report()
    assert report.is_constant
    assert report.verdict.endswith("So the stack predicts the shares of the classes for every row.")
    assert report.advice == []
    bases = [BaseReport("a", Estimate(0.7, 0.01), 0.0, Estimate(0.0, 0.0))]
    gain = Estimate(-0.2, 0.01)
    scored = Report(
        "roc_auc", True, bases, Estimate(0.5, 0.0), gain, pd.DataFrame(), 5, is_constant=True
    )
    assert "by roc_auc the base 'a' is better: 0.7 against 0.5." in scored.verdict


def test_probabilities_of_one_are_no_worse_for_being_rounded():
    X, y = make_blobs(100, 2, centers=2, cluster_std=0.1, random_state=0)
    report = sf.StackingClassifier(BASES[:2], cv=2).fit(X, y).report()
    assert report.stack.mean == report.bases[1].score.mean == 0
    assert report.verdict.startswith("Stacking makes no difference beyond noise: log-loss 0 again")


def test_old_rows_weigh_less_for_the_meta_learner_that_is_judged():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(400, 2))
    y = np.where(np.arange(400) < 200, X[:, 0], X[:, 1]) + generator.normal(0, 0.1, 400)
    stack = sf.StackingRegressor(
        [("first", Told(0)), ("second", Told(1))], Ridge(), cv=TimeSeriesSplit(4), recency=10
    ).fit(X, y)
    said, folds = stack.oof_.predictions, stack.oof_.folds
    scores, errors = [], []
    for train, test in folds[1:]:
        rows = train[stack.oof_.mask[train]]
        # As in fit, the last row weighs 1. Ridge penalises rows of small weights by more.
        weights = 0.5 ** ((rows[-1] - rows) / 10)
        meta = Ridge().fit(said[rows], y[rows], sample_weight=weights)
        scores.append(r2_score(y[test], meta.predict(said[test])))
        errors.append(np.abs(y[test] - meta.predict(said[test])))
    report = stack.report()
    assert report.stack.mean == pytest.approx(np.mean(scores))
    assert scores[-1] == pytest.approx(0.99, abs=0.02)
    wanted = np.sort(np.concatenate(errors))[int(np.ceil(241 * 0.9)) - 1]
    lower, upper = stack.predict_interval(X[:1])[0]
    assert (upper - lower) / 2 == pytest.approx(wanted)
    # Counted from the last row of all, the weights would be 0 in the first folds.
    stack = sf.StackingRegressor(stack.estimators, cv=TimeSeriesSplit(4), recency=0.1).fit(X, y)
    assert np.isfinite(stack.report().stack.mean)


def test_classes_over_time_are_scored_on_the_folds_that_earlier_ones_teach(cancer):
    X, y = cancer[0], (cancer[1] == "benign").astype(int)
    stack = sf.StackingClassifier(BASES[:2], LogisticRegression(), cv=TimeSeriesSplit(3))
    stack.fit(X, y)
    said, mask, folds = stack.oof_.predictions, stack.oof_.mask, stack.oof_.folds
    losses, scores = [], []
    for train, test in folds[1:]:
        rows = train[mask[train]]
        chances = LogisticRegression().fit(said[rows], y[rows]).predict_proba(said[test])
        losses.append(log_loss(y[test], chances))
        scores += list(1 - chances[np.arange(len(test)), y[test]])
    report = stack.report()
    assert report.n_folds == 2
    assert report.stack.mean == pytest.approx(np.mean(losses))
    limit = np.sort(scores)[int(np.ceil((len(scores) + 1) * 0.95)) - 1]
    members = stack.predict_set(X, coverage=0.95)
    assert_array_equal(members, 1 - stack.predict_proba(X) <= limit + 1e-6)


def test_folds_of_one_row_are_not_scored(cancer):
    X, y = cancer
    stack = sf.StackingClassifier(BASES[:1], cv=LeaveOneOut()).fit(X[:30], y[:30])
    with pytest.raises(ValueError, match=r"Each of the 30 folds predicts one row.*cv=10"):
        stack.report()


class Told(RegressorMixin, BaseEstimator):
    """A regressor that answers a column of X."""

    def __init__(self, column=0):
        self.column = column

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return X[:, self.column]


def test_tiny_scores_and_predictions_are_shown(diabetes):
    X, y = diabetes
    bases = [("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=2))]
    stack = sf.StackingRegressor(bases, cv=3).fit(X, y * 1e-9)
    report = stack.report(scoring="neg_mean_absolute_error")
    for base in report.bases:
        assert f"{base.score.mean:.4g}" in str(report)
    assert f"<td>{stack.oof_.predictions[0, 0]:.4g}</td>" in stack.oof_._repr_html_()


def test_long_names_stand_once_beside_the_correlations(iris):
    X, y = iris
    names = [f"naive_bayes_of_the_first_four_columns_{k}" for k in range(4)]
    bases = [(name, GaussianNB()) for name in names]
    lines = str(sf.StackingClassifier(bases, cv=2).fit(X, y).report()).splitlines()
    start = lines.index("Correlation of errors:")
    assert lines[start + 1].split() == ["1", "2", "3", "4"]
    assert lines[start + 2].split() == ["1", names[0], "1.00", "1.00", "1.00", "1.00"]


def test_a_base_that_was_left_out_is_named(iris):
    X, y = iris
    bases = [("tree", DecisionTreeClassifier(max_depth=2)), ("nb", MultinomialNB())]
    stack = sf.StackingClassifier(bases, cv=2, on_error="drop", random_state=0)
    with pytest.warns(UserWarning, match="'nb'"):
        stack.fit(X - 5, y)
    report = stack.report()
    assert report.failures == stack.failures_
    assert f"The base 'nb' was left out: {stack.failures_['nb']}" in str(report).splitlines()
    assert "Negative values" in report.failures["nb"]
