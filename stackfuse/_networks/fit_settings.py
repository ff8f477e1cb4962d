"""How a network is trained: epochs, batches, validation, callbacks, weights of rows."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np

from stackfuse._core import fitting, progress, sklearn_private, targets
from stackfuse._keras import Rows, own_code
from stackfuse._networks.builder import Builder
from stackfuse._networks.fitted_network import FittedNetwork
from stackfuse._networks.holdout import hold_out
from stackfuse._networks.objects import build_from_settings, check_callbacks
from stackfuse._networks.parameters import check_for_call
from stackfuse._networks.target import Target, class_weights
from stackfuse._training import Training, rows_of

#: A weight for each row by itself and by its class; None where it was not given.
RowWeights = tuple[np.ndarray | None, np.ndarray | None]


#: The values that settings of ``model.fit`` may have. Counts of rows and epochs are checked apart.
_WANTED = {
    "shuffle": fitting.FLAG,
    "verbose": fitting.Wanted(
        lambda value: fitting.is_flag(value) or value in (0, 1, 2, "auto"), "0, 1, 2 or 'auto'"
    ),
    "validation_freq": fitting.Wanted(
        lambda value: not fitting.is_whole(value, most=0) and not isinstance(value, str),
        "an integer of at least 1, or a list of epochs",
    ),
}


@dataclass(frozen=True)
class FitSettings:
    """The settings of a fit.

    Attributes
    ----------
    for_fit : dict of str to object
        Arguments of ``model.fit``: ``epochs``, ``batch_size``, ``shuffle``, ``verbose``, ...
    validation_split, callbacks, class_weight, validation : object
        See :class:`KerasClassifier`.
    callback_settings : dict of str to object
        For callbacks that are classes.
    """

    for_fit: dict[str, Any]
    validation_split: Any = 0.0
    callbacks: Any = None
    class_weight: Any = None
    callback_settings: dict[str, Any] = field(default_factory=dict)
    validation: Any = "auto"

    @classmethod
    def of(cls, estimator, builder: Builder, **further) -> Self:
        """Read the settings from an estimator's parameters."""
        names = ("epochs", "batch_size", "shuffle", "verbose")
        return cls(
            {name: getattr(estimator, name) for name in names} | builder.routed("fit"),
            estimator.validation_split,
            estimator.callbacks,
            estimator.class_weight,
            builder.routed("callbacks"),
            estimator.validation,
            **further,
        )

    def changed(self, for_this_call: dict[str, Any], owner) -> Self:
        """Return the settings with those of one call in their place.

        Parameters
        ----------
        for_this_call : dict of str to object
            By the names of ``model.fit``.
        owner : estimator
            Named in the message.

        Raises
        ------
        TypeError
            If ``model.fit`` has no such setting, or it is not to be set there.
        """
        check_for_call(owner, "fit", for_this_call)
        ours = ("validation_split", "callbacks", "class_weight")
        own = {name: value for name, value in for_this_call.items() if name in ours}
        rest = {name: value for name, value in for_this_call.items() if name not in ours}
        return replace(self, for_fit=self.for_fit | rest, **own)

    def row_weights(self, X, sample_weight, target: Target, owner) -> RowWeights:
        """Return the weights of the rows by themselves and by their class.

        Parameters
        ----------
        X : array-like
            As many rows as there are weights.
        sample_weight : array-like of shape (n_samples,) or None
        target : Target
        owner : estimator
            Named in the message.

        Raises
        ------
        ValueError
            If a weight is negative, or class weights are given for numbers.
        """
        if sample_weight is not None:
            if np.asarray(sample_weight).ndim:
                targets.check_weights(sample_weight)
            sample_weight = sklearn_private.check_sample_weight(
                sample_weight, X, dtype=np.float32, ensure_non_negative=True
            )
        if self.class_weight is None:
            return sample_weight, None
        if target.classes is None:
            raise ValueError(
                f"{type(owner).__name__} has no classes, so class_weight must be None."
            )
        return sample_weight, class_weights(self.class_weight, target.numbers, target.classes)

    def n_epochs(self, model, n_samples: int) -> Any:
        """Return the number of epochs that the model is trained for."""
        return self.for_fit["epochs"]

    def checked(self, model, n_samples: int) -> dict[str, Any]:
        """Return the arguments of ``model.fit``, checked.

        Parameters
        ----------
        model : keras.Model
        n_samples : int

        Raises
        ------
        ValueError
            If a number is none.
        """
        for_fit = dict(self.for_fit)
        fitting.check_settings(
            for_fit, {name: _WANTED[name] for name in _WANTED if name in for_fit}
        )
        for_fit["epochs"] = self.n_epochs(model, n_samples)
        fitting.check_count("epochs", for_fit["epochs"], least=0)
        for_fit["batch_size"] = fitting.rows_per_batch(for_fit["batch_size"], n_samples)
        if for_fit.get("validation_batch_size") is not None:
            for_fit["validation_batch_size"] = fitting.rows_per_batch(
                for_fit["validation_batch_size"], n_samples, "validation_batch_size"
            )
        return for_fit

    def fraction(self, n_rows: int, strata, groups) -> Any:
        """Return the fraction of the rows to hold out for validation."""
        return self.validation_split

    def hold_out(self, n_rows: int, seed: int, strata=None, groups=None) -> tuple:
        """Return the rows to train on, and those to validate on or None."""
        fraction = self.fraction(n_rows, strata, groups)
        return hold_out(n_rows, fraction, seed % 2**32, strata, groups, self.validation)

    def training(
        self,
        fitted: FittedNetwork,
        rows: Rows,
        target: Target,
        weights: RowWeights,
        groups,
        for_fit: dict[str, Any],
    ) -> Training:
        """Return the training of a network: its rows and settings.

        Parameters
        ----------
        fitted : FittedNetwork
        rows : Rows
        target : Target
        weights : tuple
            See :meth:`row_weights`.
        groups : array-like of shape (n_samples,) or None
        for_fit : dict of str to object
            See :meth:`checked`.
        """
        numbers = fitted.outputs_.encode(target.numbers, fitted.target_dtype)
        kept, held_out = self.hold_out(len(target.numbers), fitted.run_seed, target.strata, groups)
        own, by_class = weights  # as in Keras, classes have no weights in validation
        validation = None if held_out is None else _part(rows, numbers, own, held_out)
        both = own if by_class is None else by_class if own is None else by_class * own
        if held_out is not None:
            rows, numbers, both = _part(rows, numbers, both, kept)
        names = {field.name for field in fields(Training)}
        return Training(
            fitted.model_,
            rows,
            numbers,
            both,
            fitted.optimizer_state,
            seed=fitted.run_seed,
            validation=validation,
            callbacks=self.fresh_callbacks(),
            first_epoch=fitted.n_epochs,
            fit_params={name: value for name, value in for_fit.items() if name not in names},
            **{name: value for name, value in for_fit.items() if name in names},
        )

    def fresh_callbacks(self) -> list:
        """Return new callbacks: made from classes, or copied."""
        callbacks = build_from_settings(self.callbacks, self.callback_settings, "callbacks") or []
        if isinstance(callbacks, dict):
            callbacks = list(callbacks.values())
        callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
        check_callbacks(callbacks)
        copies = own_code.deep_copy(callbacks)
        for callback in copies:
            _name_files(callback)
        return copies


def _name_files(callback) -> None:
    """Put the name of the fold into the path that a callback writes to, in place of {fold}."""
    for name in ("filepath", "filename", "backup_dir", "log_dir"):
        path = vars(callback).get(name)
        if isinstance(path, str):
            setattr(callback, name, path.replace("{fold}", progress.name_of_fold()))


def _part(rows: Rows, numbers, weights, places: np.ndarray) -> tuple:
    """Return some rows of the training data."""
    kept = rows_of(numbers, places)
    return rows.part(places), kept, None if weights is None else weights[places]
