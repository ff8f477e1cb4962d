"""Out-of-fold predictions: every row predicted by estimators that did not see it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils import indexable
from sklearn.utils.validation import check_is_fitted, column_or_1d

from stackfuse._core import errors, fitting, multi_input, sklearn_private, targets
from stackfuse._oof.bases import (
    check_weights,
    named_bases,
    networks_from_files,
    pairs_of,
    route,
    router_of,
)
from stackfuse._oof.contributions import contribution
from stackfuse._oof.fitting import BaseFitter, FitOptions, Fits, Report, no_report
from stackfuse._oof.jobs import Data, FoldFit, FoldJob
from stackfuse._oof.plan import Plan, check_cv_name
from stackfuse._oof.prediction_columns import as_block, columns_of
from stackfuse._oof.result import OutOfFold, assemble


def out_of_fold(
    estimators: Iterable[tuple[str, Any]],
    X: Any,
    y: Any,
    *,
    cv: Any = None,
    groups: Any = None,
    stack_method: str | Mapping[str, str] = "auto",
    sample_weight: Any = None,
    engine: Any = "auto",
    n_jobs: int | None = None,
    memory: Any = None,
    on_error: str = "raise",
    time_limit: float | None = None,
    random_state: Any = None,
    classifier: bool | None = None,
    **fit_params: Any,
) -> OutOfFold:
    """Return the out-of-fold predictions of base estimators.

    Parameters
    ----------
    estimators : list of (str, estimator)
        The bases: pairs of a name and an unfitted estimator, which is cloned, or the path of a
        Keras file. With ``cv="prefit"``, the estimators are fitted already.
    X : array-like of shape (n_samples, ...)
        The rows; a :class:`MultiInput` or a dict of arrays for networks with several inputs.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The target: class labels, 0/1 indicators of labels, or numbers.
    cv : int, splitter, iterable, "prefit" or OutOfFold, default=None
        The folds; by default five, stratified for classifiers. The test sets need not cover all
        rows. ``"prefit"`` uses fitted bases as they are, and warns if they were trained on these
        rows. Earlier out-of-fold predictions are checked against the bases and y, and returned.
    groups : array-like of shape (n_samples,), default=None
        The groups of the rows, for the splitter, and for networks that hold rows out: they hold out
        whole groups.
    stack_method : {"auto", "predict_proba", "decision_function", "predict", "features"} or dict, \
default="auto"
        The method of the bases that predicts, or one method per name. "auto" takes the first of
        these that a base has. "features" are the outputs of a network's last layer but one; those
        of all folds are aligned with the first fold's.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows, for the fit of every base; with metadata routing, of bases that request
        them.
    engine : {"auto", "sequential", "fused", "dask", "ray"} or Engine, default="auto"
        How the fits are run: see :class:`StackingClassifier`.
    n_jobs : int, default=None
        The number of fits at a time, as in joblib.
    memory : str, path or joblib.Memory, default=None
        A folder in which fits are kept and found again. It holds pickles: use a folder that only
        you can write to.
    on_error : {"raise", "drop"}, default="raise"
        How to treat a base whose fit fails: raise the error, or go on without that base.
    time_limit : float, default=None
        Seconds for all fits. Bases that cannot be finished in this time are left out.
    random_state : int or None, default=None
        Seeds the random states that are None, with one seed per base and fold.
    classifier : bool, default=None
        Whether y holds classes. By default, True if one of the bases is a classifier.
    **fit_params : dict
        Further metadata for the bases and the splitter, if scikit-learn's metadata routing is
        enabled.

    Returns
    -------
    oof : OutOfFold
        The predictions, with folds, scores and histories.

    Raises
    ------
    ValueError
        If the bases, X, y or a setting are wrong.
    TypeError
        If `fit_params` are given without metadata routing, or a setting has the wrong type.
    Exception
        With ``on_error="raise"``, the error of a fit that fails.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> oof = sf.out_of_fold([("lr", LogisticRegression(max_iter=1000))], X, y, cv=3)
    >>> oof.to_frame().round(1).head(2)
       lr_0  lr_1  lr_2
    0   1.0   0.0   0.0
    1   1.0   0.0   0.0
    """
    options = FitOptions(engine, n_jobs, memory, on_error, random_state, time_limit)
    check_cv_name(cv)
    routing = sklearn_private.routing_enabled()
    if fit_params and not routing:
        raise TypeError(
            f"out_of_fold got an unexpected argument {next(iter(fit_params))!r}. Metadata for the "
            "estimators needs sklearn.set_config(enable_metadata_routing=True)."
        )
    pairs = pairs_of(estimators)
    names = names_of(pairs)
    if len(set(names)) < len(names):
        raise ValueError(
            f"The names of the estimators are not unique: {names}. Give each another name."
        )
    classifier = _holds_classes(pairs, classifier)
    bases = named_bases(networks_from_files(pairs, classifier=classifier))
    if not bases:
        raise ValueError("estimators is empty: pass a list of (name, estimator).")
    X = multi_input.rows_given(X, targets.n_rows(y, "y"))
    targets.check_same_length(X=X, y=y, groups=groups, sample_weight=sample_weight)
    targets.check_weights(sample_weight)
    (X,) = indexable(X)
    y, classes = _encoded(y, classifier, owner=bases[0][1])
    failures: dict[str, str] = {}
    if sample_weight is not None:
        fit_params["sample_weight"] = np.asarray(sample_weight)
        if not routing and not (isinstance(cv, str) and cv == "prefit"):
            bases = check_weights(bases, on_error, failures)
    router = router_of(bases, cv) if routing else None
    base_params, split_params = route(router, bases, groups, fit_params)
    plan = Plan(
        bases,
        X,
        y,
        classes,
        classifier,
        options,
        cv=cv,
        stack_method=stack_method,
        names=names,
        fit_params=base_params,
        split_params=split_params,
    )
    return run(plan)[0]


def _is_classifier(estimator) -> bool:
    instance = hasattr(estimator, "get_params") and not isinstance(estimator, type)
    return instance and is_classifier(estimator)


def _holds_classes(estimators: list[tuple[str, Any]], classifier: bool | None) -> bool:
    """Return whether y holds classes: what was said, if the estimators agree with it."""
    asked = fitting.Wanted(lambda given: given is None or fitting.is_flag(given), "True or False")
    fitting.check_settings({"classifier": classifier}, {"classifier": asked})
    classifiers = [n for n, e in estimators if _is_classifier(e)]
    if classifier is False and classifiers:
        raise ValueError(
            f"classifier=False means that y holds numbers, but base estimator {classifiers[0]!r} "
            "is a classifier. Leave classifier out, or pass regressors."
        )
    return bool(classifiers) if classifier is None else bool(classifier)


def names_of(bases: Sequence[tuple[str, Any]]) -> list[str]:
    """Return the names of bases."""
    return [name for name, _ in bases]


def _encoded(y, classifier: bool, owner) -> tuple[np.ndarray, np.ndarray | None]:
    """Check y; return it, labels as class numbers, and the classes of a single label."""
    y = targets.check_target(y, classifier=classifier, owner=owner)
    if not classifier:
        return y, None
    if targets.refuse_several_columns(y) == "multilabel":
        return y, None
    classes, numbers = np.unique(column_or_1d(y), return_inverse=True)
    return numbers, classes


def run(plan: Plan, report: Report = no_report) -> tuple[OutOfFold, Fits]:
    """Do what a plan says: the one out-of-fold run there is.

    Parameters
    ----------
    plan : Plan
    report : Report
        From the name of a base to a context around its fits.

    Returns
    -------
    oof : OutOfFold
    fits : Fits
        For each base the fit of every fold, and then the fit on all rows.
    """
    if plan.prefit:
        return _predicted_by_fitted_bases(plan)
    data = Data(plan.X, plan.y)
    with ExitStack() as open_files:
        aside = plan.file_for_predictions()
        if aside is not None:
            open_files.enter_context(aside)
        fitter = BaseFitter(data, plan.fitted_folds, plan.options, plan.check, plan.keeps, aside)
        fits = fitter.fit(plan.bases, plan.fit_params, report)
        if plan.saved is not None:
            return plan.saved.select(list(fits.of)), fits
        methods = [plan.methods[name] for name in fits.of]
        file = aside and open_files.enter_context(aside.another())
        oof = assemble(methods, fits.of, plan.folds, plan.y, plan.classes, file)
    fits.forget_predictions()
    return oof, fits


def _predicted_by_fitted_bases(plan: Plan) -> tuple[OutOfFold, Fits]:
    """Take the bases as they are; their predictions stand in for out-of-fold ones."""
    fits = Fits()
    for name, base in plan.bases:
        job, failure = FoldJob(base, plan.folds[0], plan.methods[name]), None
        try:
            with job.failing_here():
                base = _initialized(base, plan)
                _check_fitted(base)
                fit = FoldFit(base, contribution(base, job.method, plan.X), None, "fitted before")
            plan.check(name, [job], [fit])
            fits.of[name] = [fit]
        except errors.FitFailed as error:
            failure = error
        if failure is not None:
            fits.handle_failure(name, failure, plan.options)
    fits.check_any_left()
    columns, blocks = [], []
    n_classes = None if plan.classes is None else len(plan.classes)
    for name, [fit] in fits.of.items():
        block = as_block(fit.predictions, fit.estimator, plan.methods[name], plan.classes)
        blocks.append(block)
        columns += columns_of(name, plan.methods[name], block.shape[1], n_classes)
    everywhere = np.ones(len(plan.y), bool)
    table = np.hstack(blocks)
    oof = OutOfFold(table, everywhere, columns, [], {}, classes_=plan.classes, y=plan.y)
    return oof, fits


def _check_fitted(base) -> None:
    """Raise if a base has not been fitted."""
    try:
        check_is_fitted(base)
    except NotFittedError:
        raise NotFittedError(
            f"This {type(base).__name__} is not fitted. cross_val_score and searches make copies, "
            "which are not fitted. Fit it, and wrap it: sklearn.frozen.FrozenEstimator(...)."
        ) from None


def _initialized(base, plan: Plan) -> Any:
    """Return a base, of the path of a Keras file the network in it; the user's stay as they are."""
    from_file = isinstance(getattr(base, "model", None), str | os.PathLike)
    if from_file and getattr(base, "epochs", None) == 0 and not hasattr(base, "model_"):
        y = plan.y if plan.classes is None else plan.classes[plan.y]
        return clone(base).initialize(plan.X, y)
    return base
