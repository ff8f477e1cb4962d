"""An out-of-fold run, drawn up and checked before anything is fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stackfuse._core import fitting, multi_input
from stackfuse._oof.bases import following_time, relabelled
from stackfuse._oof.checks import (
    FitCheck,
    check_averages,
    check_coverage,
    check_saved,
    refuse_or_tell_whole_reads,
    warn_seen_rows,
)
from stackfuse._oof.contributions import FEATURES
from stackfuse._oof.fitting import FitOptions
from stackfuse._oof.folds import (
    Fold,
    draw_folds,
    warn_growing,
    warn_missing_classes,
    whole,
)
from stackfuse._oof.prediction_columns import methods_of
from stackfuse._oof.result import OutOfFold, file_for


@dataclass
class Plan:
    """A plan: the fits, their rows, and the models to keep.

    Attributes
    ----------
    bases : list of (str, estimator)
        Those in use. Class weights of theirs are by label when they are given, and by number here.
        Where the folds are in the order of time, their networks hold out the last rows.
    X : array-like of shape (n_samples, ...)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class numbers where `classes` are given.
    classes : ndarray of shape (n_classes,) or None
    classifier : bool
    options : FitOptions
    cv : int, splitter, iterable, "prefit", OutOfFold or None
    stack_method : str or mapping of str to str
    names : sequence of str or None
        The names of all bases, also of dropped ones; None if none is dropped.
    fit_params : dict of str to dict
        By the name of the base.
    split_params : dict
        Arguments of the splitter besides X and y.
    refit : bool
        Whether the bases are also fitted on all rows, and these models are kept.
    stacked : bool
        Whether a meta-learner is going to be trained on the predictions, and so has to see every
        class. If the bases are not refitted, it is going to be given averages over the folds.
    methods : dict of str to str
        The method that predicts, for each base.
    folds : list of Fold
        Without that of all rows; one without training rows where the bases come fitted.
    saved : OutOfFold or None
        Earlier predictions, which take the place of the folds' predictions.

    Raises
    ------
    ValueError
        If bases, rows and folds do not go together.
    """

    bases: list[tuple[str, Any]]
    X: Any
    y: np.ndarray
    classes: np.ndarray | None
    classifier: bool
    options: FitOptions
    cv: Any = None
    stack_method: str | Mapping[str, str] = "auto"
    names: Sequence[str] | None = None
    fit_params: dict[str, dict] = field(default_factory=dict)
    split_params: dict[str, Any] = field(default_factory=dict)
    refit: bool = False
    stacked: bool = False
    methods: dict[str, str] = field(init=False)
    folds: list[Fold] = field(init=False)
    saved: OutOfFold | None = field(init=False)

    def __post_init__(self):
        check_cv_name(self.cv)
        self.saved = self.cv if isinstance(self.cv, OutOfFold) else None
        if not self.prefit:
            self.bases = [(name, relabelled(base, self.classes)) for name, base in self.bases]
        names = [name for name, _ in self.bases] if self.names is None else self.names
        self.methods = methods_of(self.bases, self.stack_method, names)
        if self.prefit:
            self.folds = [Fold(np.arange(0), np.arange(len(self.y)))]
        elif self.saved is not None:
            check_saved(
                self.saved, self.methods, self.y, self.classes, refit=self.refit or not self.stacked
            )
            self.folds = []
        else:
            self.folds = self._drawn_folds()
        folds = self.folds if self.saved is None else self.saved.folds
        self.bases = [(name, following_time(base, folds)) for name, base in self.bases]
        if not self.prefit:
            refuse_or_tell_whole_reads(self.bases, self.X)
        warn_seen_rows(self.bases, self.X, prefit=self.prefit)

    @property
    def prefit(self) -> bool:
        """Whether the bases come fitted."""
        return isinstance(self.cv, str) and self.cv == "prefit"

    @property
    def fitted_folds(self) -> list[Fold]:
        """The folds that the bases are fitted on, that of all rows last."""
        return [*self.folds, whole(len(self.y))] if self.refit else self.folds

    @property
    def predicted_rows(self) -> np.ndarray:
        """The rows that are predicted by any fold, and train the meta-learner."""
        if self.saved is not None:
            return np.flatnonzero(self.saved.mask)
        return np.unique(np.concatenate([fold.test for fold in self.folds]))

    @property
    def check(self) -> FitCheck:
        """Return a function that raises an error if the predictions of a base cannot be used."""
        constant = self.options.on_error == "raise"
        n_labels = 1 if self.y.ndim == 1 else self.y.shape[1]
        return FitCheck(self.methods, self.classes, constant, n_labels, self.prefit)

    def file_for_predictions(self) -> multi_input.WrittenRows | None:
        """Return a file for the predictions, if they would take too much of the memory."""
        if self.saved is not None:
            return None
        if self.classes is not None:
            several = 1 if len(self.classes) == 2 else len(self.classes)
            widths = {"predict": 1, FEATURES: 0}  # how many features is known when one is fitted
            n_columns = sum(widths.get(method, several) for method in self.methods.values())
        else:
            n_columns = len(self.methods) * (1 if self.y.ndim == 1 else self.y.shape[1])

        def folder() -> Path | None:
            store = self.options.store()
            return None if store is None else store.folder_for_tables()

        return file_for(len(self.y), n_columns, folder)

    def keeps(self, fold: Fold) -> bool:
        """Whether the model of a fold predicts later: that of all rows, or each fold's."""
        return self.stacked and (not self.refit or len(fold.test) == 0)

    def _drawn_folds(self) -> list[Fold]:
        folds = draw_folds(
            self.cv,
            self.X,
            self.y,
            classifier=self.classifier,
            classes=self.classes,
            split_params=self.split_params,
            random_state=self.options.random_state,
        )
        methods = list(self.methods.values())
        if self.stacked:
            averaged = not self.refit
            check_coverage(folds, self.y, self.classes, averaged=averaged, methods=methods)
            if averaged:
                warn_growing(folds)
        check_averages(folds, methods, self.classes)
        warn_missing_classes(folds, self.y, self.classes, methods)
        return folds


def check_cv_name(cv) -> None:
    """Raise if cv is a name that says nothing here, a class, or no number of folds."""
    if isinstance(cv, type):
        raise TypeError(f"cv is the class {cv.__name__}: pass an instance, {cv.__name__}().")
    if fitting.is_flag(cv) or isinstance(cv, float | np.floating):
        raise ValueError(f"cv must be a splitter, an integer or 'prefit', got {cv!r}.")
    if isinstance(cv, str) and cv == "outer":
        raise ValueError(
            "cv='outer' takes the folds of the stack around this one, but there is none. "
            "Give the outermost stack a splitter."
        )
    if isinstance(cv, str) and cv != "prefit":
        raise ValueError(f"cv must be a splitter, a number or 'prefit', got {cv!r}.")
