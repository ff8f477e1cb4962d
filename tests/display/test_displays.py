"""The displays draw numbers that scikit-learn and numpy compute as well."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.calibration import calibration_curve
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import stackfuse as sf

plt = pytest.importorskip("matplotlib.pyplot")

BASES = [("bayes", GaussianNB()), ("knn", KNeighborsClassifier())]


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def binary(cancer):
    X, y = cancer
    return sf.StackingClassifier(BASES, LogisticRegression(), cv=3).fit(X, y), X, y


@pytest.fixture(scope="module")
def numbers(diabetes):
    X, y = diabetes
    bases = [("ridge", Ridge()), ("knn", KNeighborsRegressor())]
    return sf.StackingRegressor(bases, Ridge(), cv=3).fit(X, y), X, y


def cross_fitted(stack, y, method="predict"):
    """Return what meta-learners say of the rows of folds that they were not trained on."""
    table = stack.oof_.predictions
    said = [
        (test, getattr(type(stack.final_estimator_)().fit(table[train], y[train]), method))
        for train, test in stack.oof_.folds
    ]
    whole = np.concatenate([ask(table[test]) for test, ask in said])
    return whole[np.argsort(np.concatenate([test for test, _ in said]))]


def test_the_leaderboard_has_the_scores_of_cross_validation(binary):
    stack, X, y = binary
    shown = sf.LeaderboardDisplay.from_estimator(stack)
    assert shown.names == ["bayes", "knn", "(stack)"]
    for place, (_, base) in enumerate(BASES):
        scores = -cross_val_score(base, X, y, cv=3, scoring="neg_log_loss")
        assert shown.scores[place] == pytest.approx(scores.mean(), rel=1e-6)
        assert shown.errors[place] == pytest.approx(scores.std(ddof=1) / np.sqrt(3), rel=1e-6)
    assert not shown.greater_is_better
    assert shown.stack_ is not None
    drawn = shown.stack_.lines[0]
    assert_allclose(drawn.get_xdata(), shown.scores[2:])
    ends = shown.stack_.lines[2][0].get_segments()[0][:, 0]
    assert_allclose(np.diff(ends), 4 * shown.errors[2:])
    # The best is at the top.
    order = [label.get_text() for label in shown.ax_.get_yticklabels()]
    assert order == [shown.names[k] for k in np.argsort(-shown.scores)]


def test_a_leaderboard_of_predictions(binary):
    stack, X, y = binary
    said = {name: cross_val_predict(b, X, y, cv=3, method="predict_proba") for name, b in BASES}
    shown = sf.LeaderboardDisplay.from_predictions(y, said, folds=stack.oof_.fold_ids)
    assert_allclose(shown.scores, sf.LeaderboardDisplay.from_estimator(stack).scores[:2], rtol=1e-6)
    whole = sf.LeaderboardDisplay.from_predictions(y, said)
    assert_allclose(whole.scores, [log_loss(y, one) for one in said.values()], rtol=1e-6)
    assert np.isnan(whole.errors).all()
    truth, one = np.array([1.0, 2.0, 4.5]), np.array([1.5, 2.0, 4.0])
    by_r2 = sf.LeaderboardDisplay.from_predictions(truth, {"a": one})
    assert by_r2.scores[0] == pytest.approx(r2_score(truth, one))

    def largest(y_true, y_pred):
        return np.abs(y_true - y_pred).max()

    shown = sf.LeaderboardDisplay.from_predictions(
        truth, {"a": one}, metric=largest, greater_is_better=False
    )
    assert (shown.metric, shown.scores[0]) == ("largest", 0.5)


def test_weights_are_those_of_the_meta_learner(cancer):
    X, y = cancer
    stack = sf.StackingClassifier(BASES, sf.ConvexClassifier(), cv=3).fit(X, y)
    shown = sf.WeightsDisplay.from_estimator(stack)
    assert_allclose([bar.get_width() for bar in shown.bars_], stack.final_estimator_.weights_)
    stack.refit_final(KNeighborsClassifier())
    with pytest.raises(ValueError, match="a KNeighborsClassifier, has neither weights nor"):
        sf.WeightsDisplay.from_estimator(stack)


def test_correlations_are_numpys(binary):
    stack, _, y = binary
    shown = sf.ErrorCorrelationDisplay.from_estimator(stack)
    errors = stack.oof_.predictions - (y == "malignant")[:, None]
    wanted = np.corrcoef(np.vstack([errors, -errors]).T)  # those of both classes
    assert_allclose(shown.correlations, wanted)
    assert_allclose(np.asarray(shown.image_.get_array()), wanted)
    assert shown.texts_[0][1].get_text() == f"{wanted[0, 1]:.2f}"
    named = dict(zip(["bayes", "knn"], stack.oof_.predictions.T))
    assert_allclose(sf.ErrorCorrelationDisplay.from_predictions(y, named).correlations, wanted)


def test_calibration_is_scikit_learns(binary):
    stack, _, y = binary
    shown = sf.CalibrationDisplay.from_estimator(stack, n_bins=5)
    assert list(shown.lines_) == ["bayes", "knn", "(stack)"]
    target = y == "malignant"
    columns = {
        "bayes": stack.oof_.predictions[:, 0],
        "knn": stack.oof_.predictions[:, 1],
        "(stack)": cross_fitted(stack, target, "predict_proba")[:, 1],
    }
    for name, said in columns.items():
        happened, expected = calibration_curve(target, said, n_bins=5)
        assert_allclose(shown.lines_[name].get_xdata(), expected)
        assert_allclose(shown.lines_[name].get_ydata(), happened)
    alone = sf.CalibrationDisplay.from_predictions(y, columns["knn"], n_bins=5)
    assert_allclose(alone.lines_["model"].get_ydata(), shown.lines_["knn"].get_ydata())


def test_calibration_counts_each_class_against_the_rest(iris):
    X, y = iris
    stack = sf.StackingClassifier(BASES, cv=3).fit(X, y)
    shown = sf.CalibrationDisplay.from_estimator(stack)
    said = stack.oof_.predictions[:, :3]
    happened, expected = calibration_curve(np.eye(3)[y].ravel(), said.ravel(), n_bins=10)
    assert_allclose(shown.curves["bayes"], (expected, happened))
    labels = np.eye(3, dtype=int)[y]
    of_labels = sf.CalibrationDisplay.from_predictions(labels, {"bayes": said})
    assert_allclose(of_labels.curves["bayes"], (expected, happened))


def test_residuals_are_those_of_cross_fitted_meta_learners(numbers):
    stack, X, y = numbers
    shown = sf.ResidualsDisplay.from_estimator(stack)
    said = cross_fitted(stack, y)
    assert_allclose(shown.residuals, y - said)
    assert_allclose(np.asarray(shown.scatter_.get_offsets()), np.column_stack([said, y - said]))
    base = sf.ResidualsDisplay.from_estimator(stack, name="ridge", kind="actual_vs_predicted")
    alone = cross_val_predict(Ridge(), X, y, cv=3)
    assert_allclose(np.asarray(base.scatter_.get_offsets()), np.column_stack([alone, y]))
    given = sf.ResidualsDisplay.from_predictions(y, alone)
    assert_allclose(given.residuals, y - alone)


def build(meta):
    import keras

    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(meta["n_classes_"], "softmax"),
        ]
    )


def test_histories_and_the_graph(iris):
    X, y = iris
    network = sf.KerasClassifier(build, epochs=2, validation_split=0.2)
    bases = [("net", make_pipeline(StandardScaler(), network)), ("tree", DecisionTreeClassifier())]
    stack = sf.StackingClassifier(bases, cv=2, passthrough=[0, 1], random_state=0).fit(X, y)
    shown = sf.FoldHistoryDisplay.from_estimator(stack)
    keys = {("net", fold, key) for fold in (0, 1) for key in ("loss", "val_loss")}
    assert set(shown.lines_) == keys
    for (name, fold, key), line in shown.lines_.items():
        assert_allclose(line.get_ydata(), stack.oof_.histories[name][fold][key])
        assert list(line.get_xdata()) == [1, 2]
    with pytest.raises(ValueError, match="metric must be 'loss', got 'accuracy'"):
        sf.FoldHistoryDisplay.from_estimator(stack, metric="accuracy")
    with pytest.raises(
        ValueError, match=r"name must be 'net' .bases with a training history., got"
    ):
        sf.FoldHistoryDisplay.from_estimator(stack, name="tree")

    graph = sf.StackGraphDisplay.from_estimator(stack, X)
    assert set(graph.boxes_) == {"input", "net", "tree", "columns", "meta-learner", "output"}
    assert graph.boxes_["net"].get_text() == "net\nStandardScaler + KerasClassifier"
    assert graph.boxes_["columns"].get_text() == "8 columns"
    assert ("input", "columns") in graph.arrows_
    graph.figure_.canvas.draw()


def test_many_long_names_leave_room_for_the_picture():
    names = [f"gradient_boosting_of_all_the_columns_of_$_in_{k}" for k in range(7)]
    curves = {name: (np.array([0.0, 1.0]), np.array([0.0, 1.0])) for name in names}
    pictures = [
        sf.LeaderboardDisplay(names, np.ones(7), np.ones(7)).plot(),
        sf.WeightsDisplay(names, np.ones(7)).plot(),
        sf.ErrorCorrelationDisplay(names, np.eye(7)).plot(),
        sf.CalibrationDisplay(curves).plot(),
    ]
    for shown in pictures:
        shown.figure_.canvas.draw()
        assert shown.ax_.get_window_extent().width > 0.3 * shown.figure_.bbox.width
        labels = [label.get_text() for label in shown.ax_.get_yticklabels()]
        assert max(map(len, labels)) <= 33
    legend = pictures[-1].ax_.get_legend()
    assert legend.get_window_extent().x0 >= pictures[-1].ax_.get_window_extent().x1
    graph = sf.StackGraphDisplay(
        dict.fromkeys(names, "ColumnTransformer + HistGradientBoostingClassifier"),
        dict.fromkeys(names, 1),
        "PoolClassifier",
    ).plot()
    graph.figure_.canvas.draw()
    boxes = {name: box.get_bbox_patch().get_window_extent() for name, box in graph.boxes_.items()}
    assert max(boxes[name].x1 for name in names) < boxes["columns"].x0
    assert boxes[names[1]].y1 < boxes[names[0]].y0


def test_axes_of_ones_own_and_styles(binary):
    stack, _, _ = binary
    figure, axes = plt.subplots(1, 2)
    shown = sf.WeightsDisplay.from_estimator(stack, ax=axes[1], color="red")
    assert shown.ax_ is axes[1]
    assert shown.figure_ is figure
    assert shown.bars_[0].get_facecolor() == (1, 0, 0, 1)
    again = shown.plot()
    assert again is shown
    assert again.ax_ is not axes[1]
    shown.figure_.canvas.draw()


def test_mistakes_are_told(binary, numbers):
    stack, X, y = binary
    regressor = numbers[0]
    with pytest.raises(ValueError, match="predictions of numbers: use ResidualsDisplay"):
        sf.CalibrationDisplay.from_estimator(regressor)
    with pytest.raises(ValueError, match="is a classifier: use CalibrationDisplay"):
        sf.ResidualsDisplay.from_estimator(stack)
    with pytest.raises(ValueError, match=r"name must be one of \['ridge', 'knn', '\(stack\)'\]"):
        sf.ResidualsDisplay.from_estimator(regressor, name="net")
    with pytest.raises(ValueError, match="kind must be 'residual_vs_predicted' or"):
        sf.ResidualsDisplay.from_predictions([1.0], [2.0], kind="other")  # pyright: ignore
    with pytest.raises(TypeError, match=r"got a Pipeline: pass pipeline\[-1\] of a pipeline"):
        sf.LeaderboardDisplay.from_estimator(make_pipeline(StandardScaler(), stack))
    with pytest.raises(NotFittedError):
        sf.StackGraphDisplay.from_estimator(sf.StackingClassifier(BASES))
    with pytest.raises(ValueError, match="No base has a training history"):
        sf.FoldHistoryDisplay.from_estimator(stack)
    with pytest.raises(ValueError, match=r"'a' have the shape \(2, 3\), expected \(2, 2\)"):
        sf.CalibrationDisplay.from_predictions([0, 1], {"a": np.ones((2, 3)) / 3})
    decisions = sf.StackingClassifier([("r", RidgeClassifier())], RidgeClassifier()).fit(X, y)
    with pytest.raises(ValueError, match="Neither the bases nor the meta-learner give prob"):
        sf.CalibrationDisplay.from_estimator(decisions)


def test_matplotlib_is_imported_when_something_is_drawn():
    code = (
        "import sys, stackfuse as sf\n"
        "shown = sf.WeightsDisplay(['a'], [1.0])\n"
        "assert not {'matplotlib', 'tensorflow'} & set(sys.modules)\n"
        "sys.modules['matplotlib'] = None\n"
        "try:\n    shown.plot()\n"
        "except ImportError as error:\n    print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == (
        "Plots need matplotlib, which is not installed: pip install 'stackfuse[plot]'."
    )
