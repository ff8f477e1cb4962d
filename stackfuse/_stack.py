"""What both stacks do: train the bases out-of-fold, the meta-learner on them, and predict."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse
from sklearn.base import TransformerMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import NotFittedError
from sklearn.utils import Bunch, _safe_indexing, indexable
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_method_params,
    _num_samples,
    check_is_fitted,
)

from stackfuse._checks import check_same_length, relabelled
from stackfuse._folds import draw_folds, whole
from stackfuse._inputs import MultiInput
from stackfuse._oof import (
    Column,
    OutOfFold,
    as_block,
    assemble,
    columns_of,
    fold_seeds,
    response_method,
)
from stackfuse._progress import shown, task
from stackfuse._stack_checks import (
    check_coverage,
    check_weights,
    is_dropped,
    named_bases,
)
from stackfuse.engines import FoldFits, derived_seed, engine_named, replica

#: Training rows that a stack keeps, so that an exported graph can be checked on real ones.
SAMPLE_ROWS = 64


def final_has(method: str):
    """Return the check whether a stack's meta-learner, fitted or not, has a method."""

    def check(stack) -> bool:
        final = getattr(stack, "final_estimator_", stack.final_estimator)
        getattr(stack._default_final() if final is None else final, method)
        return True

    return check


class Stack(CallbackSupportMixin, TransformerMixin):
    """What the two stacks do differently from scikit-learn's, whose classes they also inherit."""

    FITTED = (
        "classes_",
        "estimators_",
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
        cv=None,
        stack_method="auto",
        n_jobs=None,
        passthrough=False,
        verbose=0,
        refit=True,
        engine="auto",
        memory=None,
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
        """Return the meta-learner that ``final_estimator=None`` stands for."""

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
        with shown(self):
            return self._fit(X, y, groups, fit_params)

    @with_callbacks
    def _fit(self, X, y, groups, fit_params):
        _raise_for_params(fit_params, self, "fit", allow=["sample_weight"])
        check_same_length(X=X, y=y, groups=groups, sample_weight=fit_params.get("sample_weight"))
        for name in self.FITTED:  # an earlier fit may have had other options
            self.__dict__.pop(name, None)
        (X,) = indexable(X)
        bases = named_bases(*self._validate_estimators())
        y, classes = self._encode(y)
        if self.cv != "prefit":
            bases = [(name, relabelled(base, classes)) for name, base in bases]
        self._validate_final_estimator()
        self.final_estimator_ = relabelled(self.final_estimator_, classes)
        self._check_options()
        if self.passthrough and isinstance(X, MultiInput):
            raise ValueError(
                "passthrough=True appends the columns of X, but X is a MultiInput. "
                "Use passthrough=False."
            )
        if fit_params.get("sample_weight") is not None and not _routing_enabled():
            check_weights([*bases, ("final_estimator", self.final_estimator_)])
        methods = [response_method(name, base, self.stack_method) for name, base in bases]
        base_params, split_params = self._route(bases, groups, fit_params)
        self.stack_method_ = methods
        context = self._init_callback_context(max_subtasks=len(bases) + 1)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        if self.cv == "prefit":
            self.oof_ = self._collect_prefit(bases, methods, X, classes)
        else:
            folds = draw_folds(
                self.cv,
                X,
                y,
                classifier=hasattr(self, "classes_"),
                split_params=split_params,
                random_state=self.random_state,
            )
            check_coverage(folds, y, classes, averaged=not self.refit, methods=methods)
            fits = self._fit_bases(bases, methods, X, y, folds, base_params, context)
            names = [name for name, _ in bases]
            self.oof_ = assemble(names, methods, fits, folds, y, classes)
        self._name_estimators(bases)

        self._fit_final(X, y, fit_params, context)
        self._sample_X = _safe_indexing(X, _spread(_num_samples(X), SAMPLE_ROWS))
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self

    def _fit_bases(self, bases, methods, X, y, folds, base_params, context) -> list[FoldFits]:
        """Fit every base on every fold and, to keep, on all rows."""
        engine = engine_named(self.engine, self.n_jobs)
        jobs = [*folds, whole(len(y))] if self.refit else folds
        titles = [f"fold {k}" for k in range(len(folds))] + ["all rows"]
        fits = []
        for (name, base), method in zip(bases, methods):
            part = context.subcontext(task_name=f"base {name}", max_subtasks=len(jobs))
            part.call_on_fit_task_begin(estimator=self, X=X, y=y)

            def watch(k: int, inner, part=part):
                return task(part, titles[k], owner=self, inner=inner)

            fits.append(
                engine.fit_folds(
                    base,
                    X,
                    y,
                    jobs,
                    method=method,
                    fit_params=base_params[name],
                    seeds=fold_seeds(self.random_state, name, len(jobs)),
                    watch=watch,
                )
            )
            part.call_on_fit_task_end(estimator=self, X=X, y=y)
        if self.refit:
            self.estimators_ = [fit.estimators[-1] for fit in fits]
        else:
            self.fold_estimators_ = [fit.estimators for fit in fits]
        return fits

    def _collect_prefit(self, bases, methods, X, classes) -> OutOfFold:
        """Take the bases as they are; their predictions stand in for out-of-fold ones."""
        self.estimators_ = []
        columns, blocks = [], []
        for (name, base), method in zip(bases, methods):
            check_is_fitted(base)
            self.estimators_.append(base)
            block = as_block(getattr(base, method)(X), base, method, classes)
            blocks.append(block)
            columns += columns_of(name, method, block.shape[1], _count(classes))
        n_samples = _num_samples(X)
        return OutOfFold(
            np.hstack(blocks), np.ones(n_samples, bool), columns, [], {}, classes_=classes
        )

    def _fit_final(self, X, y, fit_params, context) -> None:
        """Fit the meta-learner on the rows that have out-of-fold predictions."""
        rows = np.flatnonzero(self.oof_.mask)
        table = self._with_passthrough(
            self.oof_.predictions[rows], _safe_indexing(X, rows) if self.passthrough else None
        )
        seed = None if self.random_state is None else derived_seed(self.random_state, "final")
        self.final_estimator_ = replica(self.final_estimator_, seed)
        params = _check_method_params(X, fit_params, indices=rows)
        with task(context, "meta-learner", owner=self, inner=self.final_estimator_):
            self.final_estimator_.fit(table, _safe_indexing(y, rows), **params)

    # ------------------------------------------------------------------ predicting

    def transform(self, X):
        """Return the bases' predictions for X, the columns that the meta-learner sees.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        predictions : ndarray or sparse matrix of shape (n_samples, n_columns)
            In float64, followed by X itself with ``passthrough=True``.
        """
        check_is_fitted(self)
        labels = self._labels_of_bases()
        blocks = []
        for replicas, method in zip(self._replicas(), self.stack_method_):
            votes = [as_block(getattr(e, method)(X), e, method, labels) for e in replicas]
            blocks.append(votes[0] if len(votes) == 1 else np.mean(votes, axis=0))
        return self._with_passthrough(np.hstack(blocks), X)

    def fit_transform(self, X, y=None, **fit_params):
        """Fit, and return the out-of-fold predictions of X: no row is predicted by its own model.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        **fit_params : dict
            See :meth:`fit`.

        Returns
        -------
        predictions : ndarray or sparse matrix of shape (n_samples, n_columns)
            NaN in rows that no fold predicts.
        """
        self.fit(X, y, **fit_params)
        return self._with_passthrough(self.oof_.predictions, X)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns that :meth:`transform` returns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of X's columns, used with ``passthrough=True``.

        Returns
        -------
        names : ndarray of str
        """
        check_is_fitted(self, "n_features_in_")
        input_features = _check_feature_names_in(
            self, input_features, generate_names=self.passthrough
        )
        prefix = type(self).__name__.lower()
        names = []
        for name, columns in self._columns_by_base():
            several = len(columns) > 1
            names += [f"{prefix}_{name}{j if several else ''}" for j in range(len(columns))]
        if self.passthrough:
            return np.concatenate((names, input_features))
        return np.asarray(names, dtype=object)

    @property
    def n_features_in_(self):
        """Number of features seen during fit."""
        try:
            check_is_fitted(self)
        except NotFittedError as error:
            raise AttributeError(
                f"{type(self).__name__} object has no attribute n_features_in_"
            ) from error
        return self._replicas()[0][0].n_features_in_

    def _replicas(self) -> list[list]:
        """Return the fitted estimators that stand for each base: the refitted, or one per fold."""
        if hasattr(self, "estimators_"):
            return [[estimator] for estimator in self.estimators_]
        return self.fold_estimators_

    def _labels_of_bases(self) -> np.ndarray | None:
        """Return the classes as the bases know them: by number, unless they came fitted."""
        classes = self.oof_.classes_
        return classes if classes is None or not self.oof_.folds else np.arange(len(classes))

    def _columns_by_base(self) -> Iterator[tuple[str, list[Column]]]:
        for name, base in self.estimators:
            if not is_dropped(base):
                yield name, [column for column in self.oof_.columns if column.estimator == name]

    def _with_passthrough(self, predictions: np.ndarray, X):
        if not self.passthrough:
            return predictions
        if scipy.sparse.issparse(X):
            return scipy.sparse.hstack([predictions, X], format=X.format)
        if np.ndim(X) > 2:
            raise ValueError(
                f"passthrough=True appends the columns of X, but X has shape {np.shape(X)}. "
                "Use passthrough=False."
            )
        return np.hstack([predictions, X])

    @available_if(final_has("predict"))
    def predict(self, X, **predict_params):
        """Return the meta-learner's prediction for X.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
        **predict_params : dict
            Passed to the meta-learner's ``predict``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        check_is_fitted(self)
        return super().predict(X, **predict_params)

    # ------------------------------------------------------------------ checking

    def _check_options(self) -> None:
        if self.memory is not None:
            raise ValueError("memory must be None: storing the fits on disk is not available yet.")
        if self.on_error != "raise":
            raise ValueError(f"on_error must be 'raise', got {self.on_error!r}.")
        if self.random_state is not None and not isinstance(self.random_state, int | np.integer):
            raise ValueError(f"random_state must be an integer or None, got {self.random_state!r}.")

    def _route(self, bases, groups, fit_params):
        """Return the fit parameters of each base, and the splitter's."""
        if not _routing_enabled():
            split_params = {} if groups is None else {"groups": groups}
            return {name: fit_params for name, _ in bases}, split_params
        if groups is not None:
            fit_params = {**fit_params, "groups": groups}
        routed = process_routing(self, "fit", **fit_params)
        return {name: routed[name]["fit"] for name, _ in bases}, routed["splitter"]["split"]

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

    def _name_estimators(self, bases) -> None:
        fitted = dict(zip((name for name, _ in bases), self._replicas()))
        self.named_estimators_ = Bunch()
        for name, _ in self.estimators:
            if name not in fitted:
                self.named_estimators_[name] = "drop"
                continue
            self.named_estimators_[name] = fitted[name][0] if self.refit else fitted[name]
            if hasattr(fitted[name][0], "feature_names_in_"):
                self.feature_names_in_ = fitted[name][0].feature_names_in_


class _NoSplitter:
    """Stands in for a cv that takes no metadata, such as a number of folds."""

    def get_metadata_routing(self):
        return MetadataRouter(owner=self)


def _count(classes: Sequence | np.ndarray | None) -> int | None:
    return None if classes is None else len(classes)


def _spread(n_rows: int, n_wanted: int) -> np.ndarray:
    """Return evenly spread row numbers."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, n_wanted)).astype(np.intp))
