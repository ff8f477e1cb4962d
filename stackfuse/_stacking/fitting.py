"""What both stacks do to fit: the bases out-of-fold, the meta-learner on them."""

import copy
import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Bunch, indexable
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import (
    MultiInput,
    progress,
    sampling,
    sklearn_private,
    targets,
)
from stackfuse._meta import set_columns
from stackfuse._oof.assembly import assemble
from stackfuse._oof.bases import (
    FitOptions,
    Fits,
    check_any_left,
    fit_bases,
    handle_failure,
)
from stackfuse._oof.checks import (
    FitCheck,
    check_averages,
    warn_if_large,
)
from stackfuse._oof.columns import (
    Column,
    as_block,
    columns_of,
    methods_of,
)
from stackfuse._oof.contributions import contribution
from stackfuse._oof.engines import (
    FoldFits,
    derived_seed,
    replica,
)
from stackfuse._oof.folds import (
    Fold,
    draw_folds,
    warn_missing_classes,
    whole,
)
from stackfuse._oof.labels import relabelled
from stackfuse._oof.result import OutOfFold
from stackfuse._stacking.checks import (
    check_coverage,
    check_saved,
    check_weights,
    named_bases,
    networks_from_files,
    warn_seen_rows,
)
from stackfuse._stacking.fitted import (
    SAMPLE_ROWS,
    FittedStack,
)
from stackfuse._stacking.passthrough import chosen_columns


class Stack(CallbackSupportMixin, FittedStack):
    """What the two stacks do differently from scikit-learn's, whose classes they also inherit."""

    FITTED = (
        "classes_",
        "estimators_",
        "failures_",
        "feature_names_in_",
        "final_estimator_",
        "fold_estimators_",
        "named_estimators_",
        "oof_",
        "stack_method_",
        "_sample_X",
    )

    def __init__(
        self,
        estimators,
        final_estimator=None,
        *,
        cv: Any = None,
        stack_method: Any = "auto",
        n_jobs=None,
        passthrough: bool | Sequence = False,
        verbose=0,
        refit=True,
        engine="auto",
        memory: Any = None,
        on_error="raise",
        random_state=None,
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
        self.random_state = random_state

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_sample_X")  # what fit sets last

    @staticmethod
    @abstractmethod
    def _default_final():
        """Return the meta-learner that ``final_estimator=None`` stands for, if it can."""

    @abstractmethod
    def _default_for(self, columns: Sequence[Column]):
        """Return what it stands for where the meta-learner's table has these columns."""

    @abstractmethod
    def _encode(self, y) -> tuple[np.ndarray, np.ndarray | None]:
        """Check y; return what the estimators are trained on, and the classes of a single label."""

    def fit(self, X, y, *, groups=None, **fit_params):
        """Train the bases out-of-fold, the meta-learner on their predictions, and refit the bases.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target.
        groups : array-like of shape (n_samples,), default=None
            Passed to the splitter.
        **fit_params : dict
            ``sample_weight``, passed to all bases and the meta-learner; other metadata where
            scikit-learn's metadata routing is enabled.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            Before anything is fitted: if X, y, the folds or an estimator cannot be used.
        """
        with progress.progress_bars(self):
            return self._fit(X, y, groups, fit_params)

    @with_callbacks
    def _fit(self, X, y, groups, fit_params):
        sklearn_private.raise_for_params(fit_params, self, "fit", allow=["sample_weight"])
        targets.check_same_length(
            X=X, y=y, groups=groups, sample_weight=fit_params.get("sample_weight")
        )
        for name in self.FITTED:  # an earlier fit may have had other options
            self.__dict__.pop(name, None)
        (X,) = indexable(X)
        how = self._how_to_fit()
        self._check_passthrough(X)
        bases = named_bases(*self._validate_estimators())
        y, classes = self._encode(y)
        prefit = isinstance(self.cv, str) and self.cv == "prefit"
        if not prefit:
            bases = [(name, relabelled(base, classes)) for name, base in bases]
        self._validate_final_estimator()
        self.final_estimator_ = relabelled(self.final_estimator_, classes)
        self.failures_ = {}
        if fit_params.get("sample_weight") is not None and not sklearn_private.routing_enabled():
            bases = check_weights(bases, self.final_estimator_, self.on_error, self.failures_)
        methods = methods_of(bases, self.stack_method, [name for name, _ in self.estimators])
        base_params, split_params = self._route(bases, groups, fit_params)
        context = self._init_callback_context(max_subtasks=len(bases) + 1)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        warn_seen_rows(bases, X, prefit=prefit)
        if prefit:
            self.oof_ = self._collect_prefit(bases, methods, X, y, classes)
        else:
            self.oof_ = self._fit_bases(
                bases, methods, X, y, classes, how, base_params, split_params, context
            )
        self.stack_method_ = [methods[name] for name, _ in self._columns_by_base()]
        self._name_estimators()
        self._fit_final(X, self._route_to_final(fit_params), context)
        self._sample_X = sklearn_private.safe_indexing(
            X, sampling.spread(sklearn_private.num_samples(X), SAMPLE_ROWS)
        )
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self

    def refit_final(self, final_estimator=None, X=None, *, sample_weight=None):
        """Train another meta-learner on the kept out-of-fold predictions; no base is fitted.

        Parameters
        ----------
        final_estimator : estimator, default=None
            The new meta-learner; None stands for the default one.
        X : array-like of shape (n_samples, ...), default=None
            The rows of fit; needed with `passthrough` only.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If X is needed, or has other rows than those of fit.
        """
        check_is_fitted(self)
        self._check_rows_of_fit(X, sample_weight)
        before = self.final_estimator, self.final_estimator_
        try:
            self.final_estimator = final_estimator
            self._validate_final_estimator()
            self.final_estimator_ = relabelled(self.final_estimator_, self.oof_.classes_)
            params = {} if sample_weight is None else {"sample_weight": sample_weight}
            self._fit_final(X, params, None)
        except BaseException:  # the stack still predicts, by the old meta-learner
            self.final_estimator, self.final_estimator_ = before
            raise
        return self

    def _fit_bases(
        self, bases, methods, X, y, classes, how, base_params, split_params, context
    ) -> OutOfFold:
        """Fit every base on every fold and, to keep, on all rows; assemble the predictions."""
        saved = self.cv if isinstance(self.cv, OutOfFold) else None
        if saved is not None:
            check_saved(saved, methods, y, classes, refit=self.refit)
            folds = []
        else:
            folds = draw_folds(
                self.cv,
                X,
                y,
                classifier=is_classifier(self),
                split_params=split_params,
                random_state=self.random_state,
            )
            check_coverage(folds, y, classes, averaged=not self.refit, methods=methods.values())
            check_averages(folds, list(methods.values()), classes)
            warn_missing_classes(folds, y, classes, methods.values())
            warn_if_large(list(methods.values()), y, classes)
        jobs = [*folds, whole(len(y))] if self.refit else folds

        @contextmanager
        def watch(name: str) -> Iterator[Any]:
            part = context.subcontext(task_name=f"base {name}", max_subtasks=len(jobs))
            part.call_on_fit_task_begin(estimator=self, X=X, y=y)
            titles = [f"fold {k}" if len(fold.test) else "all rows" for k, fold in enumerate(jobs)]
            try:
                yield lambda k, inner: progress.task(part, titles[k], owner=self, inner=inner)
            finally:
                part.call_on_fit_task_end(estimator=self, X=X, y=y)

        fits = fit_bases(
            bases,
            list(methods.values()),
            X,
            y,
            jobs,
            how=how,
            fit_params=base_params,
            check=FitCheck(jobs, methods, classes, constant=self.on_error == "raise"),
            keep=self._keeps,
            watch=watch,
        )
        self.failures_ |= fits.failures
        self._keep(fits)
        if saved is not None:
            return saved.select(list(fits.folds))
        used = [methods[name] for name in fits.folds]
        return assemble(used, fits.folds, folds, y, classes)

    def _keeps(self, fold: Fold) -> bool:
        """Whether the model of a fold is needed to predict: that of all rows, or each fold's."""
        return not self.refit or len(fold.test) == 0

    def _keep(self, fits: Fits) -> None:
        if self.refit:
            self.estimators_ = [fit.estimators[-1] for fit in fits.folds.values()]
        else:
            self.fold_estimators_ = [fit.estimators for fit in fits.folds.values()]

    def _collect_prefit(self, bases, methods, X, y, classes) -> OutOfFold:
        """Take the bases as they are; their predictions stand in for out-of-fold ones."""
        n_samples = sklearn_private.num_samples(X)
        folds = [Fold(np.arange(0), np.arange(n_samples))]
        used = FitCheck(folds, methods, classes, constant=self.on_error == "raise", prefit=True)
        from_files = {n for n, base in self.estimators if isinstance(base, str | os.PathLike)}
        fits: dict[str, FoldFits] = {}
        for name, base in bases:
            try:
                if name in from_files:
                    base.initialize(X, y if classes is None else classes[y])
                check_is_fitted(base)
                fits[name] = FoldFits([base], [contribution(base, methods[name], X)], [None])
                used(name, fits[name])
            except Exception as error:
                fits.pop(name, None)
                self.failures_[name] = handle_failure(name, error, "", self.on_error)
        check_any_left(fits, self.failures_)
        self.estimators_ = [fit.estimators[0] for fit in fits.values()]
        columns, blocks = [], []
        for name, (estimators, predictions, _) in fits.items():
            block = as_block(predictions[0], estimators[0], methods[name], classes)
            blocks.append(block)
            n_classes = None if classes is None else len(classes)
            columns += columns_of(name, methods[name], block.shape[1], n_classes)
        mask = np.ones(n_samples, bool)
        return OutOfFold(np.hstack(blocks), mask, columns, [], {}, classes_=classes, y=y)

    def _fit_final(self, X, fit_params, context) -> None:
        """Fit the meta-learner on the rows that have out-of-fold predictions."""
        rows = np.flatnonzero(self.oof_.mask)
        passed = sklearn_private.safe_indexing(X, rows) if self._passes_through() else None
        table = self._with_passthrough(self.oof_.predictions[rows], passed)
        seed = None if self.random_state is None else derived_seed(self.random_state, "final")
        columns = self._table_columns(table)
        if self.final_estimator is None:
            self.final_estimator_ = self._default_for(columns)
        final = set_columns(replica(self.final_estimator_, seed), columns)
        params = sklearn_private.check_method_params(
            self.oof_.predictions, fit_params, indices=rows
        )
        target = sklearn_private.safe_indexing(self.oof_.y, rows)
        if context is None:
            final.fit(table, target, **params)
        else:
            with progress.task(context, "meta-learner", owner=self, inner=final):
                final.fit(table, target, **params)
        self.final_estimator_ = final

    # ------------------------------------------------------------------ checking

    def _how_to_fit(self) -> FitOptions:
        if isinstance(self.cv, str) and self.cv not in ("prefit", "outer"):
            raise ValueError(f"cv must be a splitter, a number or 'prefit', got {self.cv!r}.")
        if isinstance(self.cv, str) and self.cv == "outer":
            raise ValueError(
                "cv='outer' takes the folds of the stack around this one, but there is none. "
                "Give the outermost stack a splitter."
            )
        return FitOptions(self.engine, self.n_jobs, self.memory, self.on_error, self.random_state)

    def _check_passthrough(self, X) -> None:
        if self.passthrough is True and isinstance(X, MultiInput):
            raise ValueError(
                "passthrough=True appends the columns of X, but X is a MultiInput. "
                "Use passthrough=False, or a list of inputs."
            )
        if isinstance(self.passthrough, str):
            raise ValueError(
                f"passthrough must be True, False or a list of columns, got {self.passthrough!r}: "
                f"use [{self.passthrough!r}]."
            )
        if self._passes_through() and self.passthrough is not True:
            chosen_columns(sklearn_private.safe_indexing(X, [0]), self.passthrough)

    def _validate_estimators(self):
        """Check the estimators; files of Keras models become networks that are not trained."""
        twin = copy.copy(self)
        twin.estimators = networks_from_files(self.estimators, classifier=is_classifier(self))
        return super(Stack, twin)._validate_estimators()

    def _route(self, bases, groups, fit_params):
        """Return the fit parameters of each base, and the splitter's."""
        if not sklearn_private.routing_enabled():
            split_params = {} if groups is None else {"groups": groups}
            return {name: fit_params for name, _ in bases}, split_params
        if groups is not None:
            fit_params = {**fit_params, "groups": groups}
        routed = process_routing(self, "fit", **fit_params)
        return {name: routed[name]["fit"] for name, _ in bases}, routed["splitter"]["split"]

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

    def get_metadata_routing(self):
        """Return where metadata goes: to the bases, the meta-learner and the splitter.

        Returns
        -------
        routing : MetadataRouter
        """
        router = super().get_metadata_routing()
        splits = MethodMapping().add(caller="fit", callee="split")
        splitter = self.cv if hasattr(self.cv, "get_metadata_routing") else _NoSplitter()
        return router.add(splitter=splitter, method_mapping=splits)

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
        idle = {"memory", "n_jobs", "verbose", "_skl_callbacks"}
        return {name: value for name, value in vars(self).items() if name not in idle}


class _NoSplitter:
    """Stands in for a cv that takes no metadata, such as a number of folds."""

    def get_metadata_routing(self):
        return MetadataRouter(owner=self)
