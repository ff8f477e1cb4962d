"""The fit of both stacks: the bases out-of-fold, the meta-learner on them."""

import copy
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Bunch, indexable
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    get_routing_for_object,
)
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import (
    MultiInput,
    fitting,
    messages,
    multi_input,
    progress,
    sampling,
    sklearn_private,
    targets,
)
from stackfuse._oof import FitOptions, OutOfFold, Plan, bases, jobs, prediction_columns, run
from stackfuse._stacking.fitted import DIGESTED_ROWS, FittedStack
from stackfuse._stacking.passthrough import check_taken, chosen_columns
from stackfuse._stacking.sketch import held_by, sketch_of
from stackfuse._stacking.uncertainty.calibrating import group_numbers
from stackfuse._stacking.uncertainty.calibration import HeldCalibration


def _names_columns(passthrough: Any) -> bool:
    """Whether a `passthrough` is True, False, or columns in a list, an array or an index."""
    several = hasattr(passthrough, "__len__") and hasattr(passthrough, "__getitem__")
    single = isinstance(passthrough, bytes | Mapping)  # for text an error says what to type
    return fitting.is_flag(passthrough) or (several and not single)


#: The values that options of a stack may have; FitOptions checks those of its fits.
_SETTINGS = {
    "passthrough": fitting.Wanted(_names_columns, "True, False or a list of columns"),
    "verbose": fitting.VERBOSE,
    "refit": fitting.FLAG,
    "recency": fitting.Wanted(
        lambda rows: rows is None or fitting.is_positive(rows),
        "a positive number of rows, or None",
    ),
}


class Stack(CallbackSupportMixin, FittedStack):
    """The shared part of both stacks, where they differ from scikit-learn's, which they inherit."""

    FITTED = (
        "classes_",
        "engine_",
        "estimators_",
        "failures_",
        "feature_names_in_",
        "final_estimator_",
        "fit_seconds_",
        "fold_estimators_",
        "named_estimators_",
        "oof_",
        "stack_method_",
        "_base_seconds",
        "_calibration",
        "_final_params",
        "_groups",
        "_seen_rows",
        "_shared_columns",
        "_sketch",
    )

    oof_: OutOfFold
    estimators_: list[Any]
    fold_estimators_: list[list[Any]]
    named_estimators_: Any
    final_estimator_: Any
    stack_method_: list[str]
    engine_: dict[str, str]
    fit_seconds_: dict[str, float]
    failures_: dict[str, str]
    feature_names_in_: Any

    def __init__(
        self,
        estimators: Any,
        final_estimator: Any = None,
        *,
        cv: Any = None,
        stack_method: Any = "auto",
        n_jobs: int | None = None,
        passthrough: bool | Sequence[Any] = False,
        verbose: int = 0,
        refit: bool = True,
        engine: Any = "auto",
        memory: Any = None,
        on_error: str = "raise",
        time_limit: float | None = None,
        recency: float | None = None,
        random_state: Any = None,
    ):
        self.estimators = estimators
        self.final_estimator = final_estimator
        self.cv = cv
        self.stack_method = stack_method
        self.n_jobs = n_jobs
        self.passthrough = passthrough
        self.verbose = verbose
        self.refit = refit
        self.engine = engine
        self.memory = memory
        self.on_error = on_error
        self.time_limit = time_limit
        self.recency = recency
        self.random_state = random_state

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_sketch")  # what fit sets last

    @staticmethod
    @abstractmethod
    def _default_final():
        """Return the meta-learner that ``final_estimator=None`` stands for, if it can."""

    @abstractmethod
    def _default_for(self, table_columns: Sequence[prediction_columns.Column]):
        """Return what it stands for where the meta-learner's table has these columns."""

    @abstractmethod
    def _encode(self, y) -> tuple[np.ndarray, np.ndarray | None]:
        """Check y; return what the estimators are trained on, and the classes of a single label."""

    @staticmethod
    def _within(estimator: Any, function: str) -> Any:
        """Return a stack, or the best one of a search over stacks.

        Parameters
        ----------
        estimator : object
            A stack, or a search whose best estimator is one.
        function : str
            The name of the function that takes it, for the message.

        Returns
        -------
        stack : StackingClassifier or StackingRegressor
            The stack.

        Raises
        ------
        TypeError
            If there is no stack.
        """
        stack = getattr(estimator, "best_estimator_", estimator)
        if not isinstance(stack, Stack):
            kind = isinstance(stack, type)
            given = f"the class {stack.__name__}" if kind else type(stack).__name__
            raise TypeError(
                f"{function} takes a fitted StackingClassifier or StackingRegressor, got {given}. "
                f"Pass the stack at the end of a pipeline: {function}(pipeline[-1]). Turn other "
                "estimators into a graph: to_keras(estimator)."
            )
        return stack

    def fit(self, X: Any, y: Any = None, *, groups: Any = None, **fit_params: Any) -> Self:
        """Train the bases out-of-fold, the meta-learner on their predictions, and refit the bases.

        Parameters
        ----------
        X : array-like, data frame or MultiInput of shape (n_samples, ...)
            The training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The target. It is required.
        groups : array-like of shape (n_samples,), default=None
            The groups of the rows: for the splitter, and for networks and Keras heads, which hold
            out whole groups for validation.
        **fit_params : dict
            ``sample_weight``, for all bases and the meta-learner; other metadata if scikit-learn's
            metadata routing is enabled.

        Returns
        -------
        self : estimator
            The fitted stack.

        Raises
        ------
        ValueError
            If X, y, the folds, an estimator or a setting cannot be used; nothing is fitted then.
        Exception
            With ``on_error="raise"``, the error of a base that fails.
        """
        sklearn_private.raise_for_params(fit_params, self, "fit", allow=["sample_weight"])
        fitting.check_settings(self.get_params(deep=False), _SETTINGS)
        X = multi_input.rows_given(X, None if y is None else targets.n_rows(y, "y"))
        targets.check_same_length(
            X=X, y=y, groups=groups, sample_weight=fit_params.get("sample_weight")
        )
        targets.check_weights(fit_params.get("sample_weight"))
        targets.check_groups(groups)
        with progress.progress_bars(self):
            self._become(lambda twin: twin._fit(X, y, groups, fit_params))
        if self.verbose:
            progress.show("Base estimators were fitted", self.engine_)
        return self

    def _become(self, fit: Callable[[Any], Any]) -> None:
        """Fit a twin, and become it in one step: the old fit answers other threads until then.

        Parameters
        ----------
        fit : callable
            Takes the twin, which has the parameters of this stack and nothing that was fitted: an
            earlier fit may have had other options. If it raises, this stack is not fitted either.
        """
        twin = fitting.as_it_is(self)
        twin._forget()
        try:
            fit(twin)
        except BaseException:
            self._forget()
            raise
        self.__dict__ = vars(twin)

    def _forget(self) -> None:
        fitted = {*self.FITTED, "_label_encoder"}
        self.__dict__ = {n: value for n, value in vars(self).items() if n not in fitted}

    @with_callbacks
    def _fit(self, X, y, groups, fit_params):
        (X,) = indexable(X)
        options = FitOptions(
            self.engine,
            self.n_jobs,
            self.memory,
            self.on_error,
            self.random_state,
            self.time_limit,
        )
        self._check_passthrough(X)
        y, classes = self._encode(y)
        in_use = self._check_parts(classes, fit_params)
        base_params, split_params = bases.route(self, in_use, groups, fit_params)
        plan = Plan(
            in_use,
            X,
            y,
            classes,
            is_classifier(self),
            options,
            cv=self.cv,
            stack_method=self.stack_method,
            names=[name for name, _ in self.estimators],
            fit_params=base_params,
            split_params=split_params,
            refit=self.refit,
            stacked=True,
        )
        if self._passes_through():
            self._passed(X, plan.predicted_rows)
        context = sklearn_private.callback_context(self, len(in_use) + 1)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        started = time.perf_counter()
        self.oof_, fits = run(plan, self._report(plan, context))
        self.fit_seconds_ = {"bases": time.perf_counter() - started}
        self._base_seconds = fits.seconds
        self.failures_ |= fits.failures
        self.engine_ = fits.how_fitted()
        self._keep(fits.of, refit=self.refit or plan.prefit)
        self.stack_method_ = [plan.methods[name] for name, _ in self._columns_by_base()]
        self._name_estimators()
        self._groups = group_numbers(groups) if np.ndim(groups) == 1 else None
        self._fit_final(X, self._route_to_final(fit_params), context)
        places = sampling.spread(sklearn_private.num_samples(X), DIGESTED_ROWS)
        self._seen_rows = sampling.row_digests(X, places)
        self._sketch = sketch_of(X, held_by(self))
        context.call_on_fit_task_end(estimator=self, X=X, y=y)

    def fit_on_bases_of(self, fitted: Any, X: Any, **fit_params: Any) -> Self:
        """Train the meta-learner alone, on bases that another stack has fitted.

        Parameters
        ----------
        fitted : StackingClassifier or StackingRegressor
            A fitted stack that differs from this one in the parameters of the meta-learner alone.
            Both use its bases from now on.
        X : array-like of shape (n_samples, ...)
            The rows that it was fitted on.
        **fit_params : dict
            The arguments that it was fitted with.

        Returns
        -------
        self : estimator
            The fitted stack.

        Raises
        ------
        TypeError
            If `fitted` is no stack of this kind.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        of_classes = isinstance(self, ClassifierMixin)
        if not isinstance(fitted, Stack) or isinstance(fitted, ClassifierMixin) != of_classes:
            raise TypeError(
                f"fitted must be a fitted {type(self).__name__}, got {messages.in_short(fitted)}."
            )
        fitted._check_is_fitted()
        self._become(lambda twin: twin._fit_on_bases_of(fitted, X, fit_params))
        return self

    @with_callbacks
    def _fit_on_bases_of(self, fitted, X, fit_params):
        X = multi_input.rows_given(X)
        of_bases = {*self.FITTED, "_label_encoder"} - {"final_estimator_", "_sketch"}
        for name in of_bases & {*vars(fitted)}:
            setattr(self, name, getattr(fitted, name))
        if fit_params.get("sample_weight") is None:
            self._check_final(fitted.oof_.classes_)  # the bases were checked when they were fitted
        else:
            self._check_parts(fitted.oof_.classes_, fit_params)
        self.failures_ = dict(fitted.failures_)
        context = sklearn_private.callback_context(self, 1)
        context.call_on_fit_task_begin(estimator=self, X=X, y=fitted.oof_.y)
        self._fit_final(X, self._route_to_final(fit_params), context)
        # A meta-learner that sees columns of X may hold words of theirs.
        passes = self._passes_through()
        self._sketch = sketch_of(X, held_by(self)) if passes else fitted._sketch
        context.call_on_fit_task_end(estimator=self, X=X, y=fitted.oof_.y)

    def _report(self, plan: Plan, context):
        """Return what reports the fits of a base, by its name, as tasks of this fit."""
        names = [
            f"fold {k}" if len(fold.test) else "all rows"
            for k, fold in enumerate(plan.fitted_folds)
        ]
        data = {"X": plan.X, "y": plan.y}
        return lambda base: progress.tasks(context, f"base {base}", names, owner=self, data=data)

    def _keep(self, fits: dict[str, list], *, refit: bool) -> None:
        """Keep the models that predict: those of all rows, or those of the folds."""
        models = [[fit.estimator for fit in of_base] for of_base in fits.values()]
        if refit:
            self.estimators_ = [of_base[-1] for of_base in models]
        else:
            self.fold_estimators_ = models

    def refit_final(
        self, final_estimator: Any = None, X: Any = None, *, sample_weight: Any = None
    ) -> Self:
        """Train another meta-learner on the kept out-of-fold predictions; no base is fitted.

        Parameters
        ----------
        final_estimator : estimator, default=None
            The new meta-learner; None stands for the default one.
        X : array-like of shape (n_samples, ...), default=None
            The rows given to ``fit``. Only a stack with `passthrough` needs them.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the training of the meta-learner.

        Returns
        -------
        self : estimator
            The stack, with the new meta-learner.

        Raises
        ------
        ValueError
            If X is needed and missing, or has other rows than those of ``fit``.
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        check_is_fitted(self)
        self._check_rows_of_fit(X, sample_weight)
        twin = fitting.as_it_is(self)  # until it is fitted, this stack predicts as before
        twin.final_estimator = final_estimator
        twin._validate_final_estimator()
        twin.final_estimator_ = bases.relabelled(twin.final_estimator_, self.oof_.classes_)
        params = {} if sample_weight is None else {"sample_weight": sample_weight}
        twin._fit_final(X, params, None)
        self.__dict__ = vars(twin)
        return self

    def of_bases(self, names: Sequence[str], X: Any = None, *, sample_weight: Any = None) -> Any:
        """Return a stack over some of the bases: the meta-learner is trained anew, no base is.

        Parameters
        ----------
        names : list of str
            The names of the bases that stay.
        X : array-like of shape (n_samples, ...), default=None
            The rows given to ``fit``. Only a stack with `passthrough` needs them.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the training of the meta-learner.

        Returns
        -------
        stack : StackingClassifier or StackingRegressor
            Another fitted stack with these bases. It shares them with this one.

        Raises
        ------
        ValueError
            If a name is none of a base in use; if X is needed and missing, or has other rows than
            those of ``fit``.
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        check_is_fitted(self)
        known = [name for name, _ in self._columns_by_base()]
        if not isinstance(names, Iterable):
            raise TypeError(f"names must be a list of {messages.listed(known)}, got {names!r}.")
        names = names if isinstance(names, str) else list(names)
        unknown = [name for name in names if name not in known]
        if unknown or isinstance(names, str) or not len(names):
            given = repr(unknown[0]) if unknown and not isinstance(names, str) else repr(names)
            raise ValueError(f"names must be a list of {messages.listed(known)}, got {given}.")
        places = [k for k, name in enumerate(known) if name in names]
        twin = fitting.as_it_is(self)
        twin.estimators = [(name, base) for name, base in self.estimators if name in names]
        twin.oof_ = self.oof_.select([known[k] for k in places])
        if isinstance(self.cv, OutOfFold):
            twin.cv = twin.oof_
        if isinstance(self.stack_method, Mapping):
            twin.stack_method = {n: how for n, how in self.stack_method.items() if n in names}
        for attribute in ("estimators_", "fold_estimators_", "stack_method_"):
            if hasattr(self, attribute):
                setattr(twin, attribute, [getattr(self, attribute)[k] for k in places])
        twin.engine_ = {name: how for name, how in self.engine_.items() if name in names}
        twin.failures_, twin._shared_columns = {}, None
        twin._name_estimators()
        return twin.refit_final(self.final_estimator, X, sample_weight=sample_weight)

    def _fit_final(self, X, fit_params, context) -> None:
        """Fit the meta-learner on the rows that have out-of-fold predictions."""
        rows = np.flatnonzero(self.oof_.mask)
        predictions = self.oof_.predictions
        if len(rows) < len(predictions) or predictions.flags.writeable:  # a copy to work on
            predictions = predictions[rows]
        table = self._with_passthrough(predictions, self._passed(X, rows))
        seed = None if self.random_state is None else jobs.derived_seed(self.random_state, "final")
        table_columns = self._table_columns(table)
        if self.final_estimator is None:
            self.final_estimator_ = self._default_for(table_columns)
        # It was made for this fit, so nobody else has it.
        final = bases.following_time(self.final_estimator_, self.oof_.folds)
        final = prediction_columns.set_columns(jobs.seeded(final, seed), table_columns)
        params = sklearn_private.check_method_params(
            self.oof_.predictions, self._params_for(final, fit_params), indices=rows
        )
        target = np.asarray(self.oof_.y)[rows]
        started = time.perf_counter()
        if context is None:
            final.fit(table, target, **params)
        else:
            with progress.task(context, "meta-learner", owner=self, inner=final):
                final.fit(table, target, **params)
        self.final_estimator_ = final
        self._calibration = HeldCalibration()
        self._final_params = tuple(n for n, value in fit_params.items() if value is not None)
        seconds = time.perf_counter() - started
        self.fit_seconds_ = {**self.fit_seconds_, "meta-learner": seconds}

    def _params_again(self, weight, last: int | None = None) -> dict[str, Any]:
        """Return the fit parameters for another fit of the meta-learner on the same rows."""
        given = {} if weight is None else {"sample_weight": np.asarray(weight)}
        return self._params_for(self.final_estimator_, given, last)

    def _params_for(
        self, final, fit_params: dict[str, Any], last: int | None = None
    ) -> dict[str, Any]:
        """Return the fit parameters of a meta-learner, with groups and the weights of old rows.

        The age of rows is counted from the last one of all, or from the one with the number `last`.
        """
        if not sklearn_private.routing_enabled():
            fit_params = fit_params | bases.with_groups(final, self._groups)
        if self.recency is None:
            return fit_params
        name = bases.parameter_for_weights(final)
        numbers, given = np.arange(len(self.oof_.predictions)), fit_params.get(name)
        last = len(numbers) - 1 if last is None else last
        weights = 0.5 ** (np.maximum(last - numbers, 0) / self.recency)
        return fit_params | {name: weights if given is None else weights * np.asarray(given)}

    # ------------------------------------------------------------------ checking

    def _check_parts(self, classes, fit_params: dict[str, Any]) -> list[tuple[str, Any]]:
        """Check the estimators, and make the meta-learner; return the bases in use."""
        in_use = bases.named_bases(zip(*self._validate_estimators()))
        self._check_final(classes)
        self.failures_ = {}
        if fit_params.get("sample_weight") is None or sklearn_private.routing_enabled():
            return in_use
        return bases.check_weights(in_use, self.on_error, self.failures_, self.final_estimator_)

    def _check_final(self, classes) -> None:
        """Check the meta-learner, and make it."""
        self._validate_final_estimator()
        self.final_estimator_ = bases.relabelled(self.final_estimator_, classes)
        if self.recency is not None and self.final_estimator is not None:
            bases.parameter_for_weights(self.final_estimator_)  # raises if there is none

    def _check_passthrough(self, X) -> None:
        if isinstance(self.passthrough, str):
            raise ValueError(
                f"passthrough must be True, False or a list of columns, got {self.passthrough!r}: "
                f"use [{self.passthrough!r}]."
            )
        if self.passthrough is True and isinstance(X, MultiInput):
            raise ValueError(
                "passthrough=True appends the columns of X, but X is a MultiInput. "
                "Use passthrough=False, or a list of inputs."
            )
        if self._passes_through() and self.passthrough is not True:
            chosen_columns(sklearn_private.safe_indexing(X, [0]), self.passthrough)

    def _passed(self, X, rows: np.ndarray) -> Any:
        """Return some rows of X, if the meta-learner sees columns of them and can take these."""
        if not self._passes_through():
            return None
        X = sklearn_private.safe_indexing(X, rows)
        chosen = X if self.passthrough is True else chosen_columns(X, self.passthrough)
        check_taken(chosen, self.final_estimator)
        return X

    def _validate_estimators(self):
        """Check the estimators; files of Keras models become networks that are not trained."""
        several = isinstance(self.estimators, Sequence | np.ndarray | Mapping)
        if isinstance(self.estimators, Iterable) and not several:
            raise TypeError(
                "estimators is read several times, and "
                f"{messages.with_article(type(self.estimators).__name__)} can be read or copied "
                "only once: pass list(estimators)."
            )
        twin = copy.copy(self)
        pairs = bases.pairs_of(self.estimators)
        twin.estimators = bases.networks_from_files(pairs, classifier=is_classifier(self))
        bases.named_bases(twin.estimators)  # raises if one is no estimator
        return super(Stack, twin)._validate_estimators()

    def _route_to_final(self, fit_params: dict[str, Any]) -> dict[str, Any]:
        """Return what the meta-learner requests; where it says nothing, what it can take."""
        if not sklearn_private.routing_enabled():
            return fit_params
        request = get_routing_for_object(self.final_estimator_)
        if isinstance(request, MetadataRouter):
            return {k: fit_params[k] for k in request.consumes("fit", fit_params)}
        wanted = {}
        for name, answer in request.fit.requests.items():
            source = answer if isinstance(answer, str) else name
            if answer is not False and source in fit_params:
                wanted[name] = fit_params[source]
        return wanted

    def get_metadata_routing(self) -> Any:
        """Return the routes of metadata to the bases, the meta-learner and the splitter.

        Returns
        -------
        routing : MetadataRouter
            The routes, as scikit-learn reads them.
        """
        return bases.with_splitter(super().get_metadata_routing(), self.cv)

    def _name_estimators(self) -> None:
        replicas = self._replicas()
        fitted = {name: replicas[k] for k, (name, _) in enumerate(self._columns_by_base())}
        self.named_estimators_ = Bunch()
        for name, _ in self.estimators:
            if name not in fitted:
                self.named_estimators_[name] = "drop"
                continue
            one = hasattr(self, "estimators_")
            self.named_estimators_[name] = fitted[name][0] if one else fitted[name]
            if hasattr(fitted[name][0], "feature_names_in_"):
                self.feature_names_in_ = fitted[name][0].feature_names_in_

    def _fit_depends_on(self) -> dict[str, Any]:
        """Return what a fit of this stack depends on, when it is a base of another."""
        idle = {"fit_seconds_", "_base_seconds", "memory", "n_jobs", "verbose"}
        idle |= {"_calibration", "_skl_callbacks"}
        return {name: value for name, value in vars(self).items() if name not in idle}
