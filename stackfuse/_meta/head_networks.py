"""Build the networks of Keras heads: a fusion strategy between a table and a target.

Some strategies keep the meaning of their inputs: a mean of probabilities is a probability, and a
mean of forecasts is a forecast. Their output is the prediction. The other strategies make features,
and a dense layer on top predicts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from stackfuse._core import fitting, messages, targets
from stackfuse._fusion import fusion_named
from stackfuse._meta.blocks import (
    Block,
    blocks_by_base,
    blocks_of,
    check_columns,
    fit_calibrator,
)
from stackfuse._meta.combining.pooling import (
    SMALLEST_PROBABILITY,
    SMALLEST_SUM,
)

#: Strategies that weigh the bases row by row, by all columns of the table.
_WEIGHTED_BY_ROW = ("attention", "gated")

#: Strategies that make features, for classes and for numbers.
_FEATURES = ("dense", "concat", "bilinear")

#: Strategies that make features for numbers only: a sum or a product of forecasts is no forecast.
_FEATURES_OF_NUMBERS = ("add", "multiply")

#: Strategies with layers of their own.
_WITH_HIDDEN_LAYERS = ("dense", "gated")

#: Hidden units of a gate by default.
_GATE_UNITS = (16,)


_WIDTHS = fitting.Wanted(
    lambda units: (
        isinstance(units, list | tuple | np.ndarray)
        and all(fitting.is_whole(width, 1) for width in units)
    ),
    "a sequence of widths, integers of at least 1",
)


@dataclass(frozen=True)
class Head:
    """How a table of predictions is combined.

    Attributes
    ----------
    fusion : str
        The strategy.
    hidden_units : sequence of int
    activation : str
        The activation of the hidden layers.
    columns : sequence of Column or None
        The origin of each column of the table.
    """

    fusion: str
    hidden_units: Sequence[int]
    activation: str
    columns: Sequence | None

    def check(self) -> None:
        """Raise if a setting is invalid, or settings contradict each other."""
        fusion_named(self.fusion)
        check_columns(self.columns)
        if isinstance(self.hidden_units, int):
            raise ValueError(
                f"hidden_units must be a sequence of widths, got {self.hidden_units}: "
                f"use hidden_units=({self.hidden_units},)."
            )
        try:
            keras.activations.get(self.activation)
        except ValueError:
            raise ValueError(
                f"activation={self.activation!r} is not in keras.activations."
                f"{messages.did_you_mean(str(self.activation), vars(keras.activations))}"
            ) from None
        fitting.check_settings({"hidden_units": self.hidden_units}, {"hidden_units": _WIDTHS})
        if len(self.hidden_units) and self.fusion not in _WITH_HIDDEN_LAYERS:
            raise ValueError(
                f"fusion={self.fusion!r} has no hidden layers, got "
                f"hidden_units={self.hidden_units!r}: use hidden_units=() or "
                f"fusion={messages.listed(_WITH_HIDDEN_LAYERS)}."
            )

    def makes_features(self, *, numbers: bool) -> bool:
        """Whether the strategy makes features, so that a layer on top has to predict."""
        return self.fusion in _FEATURES or (numbers and self.fusion in _FEATURES_OF_NUMBERS)

    def network(self, X: np.ndarray, y: np.ndarray, task: targets.Task, width: int) -> Any:
        """Return the untrained network.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_columns), dtype float64
            Out-of-fold predictions, and perhaps columns that are passed through.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class numbers, indicators or numbers.
        task : Task
        width : int
            Number of classes, labels or target columns.

        Returns
        -------
        network : keras.Model
        """
        table = keras.Input((X.shape[1],), dtype="float64")
        numbers = task in ("regression", "multioutput")
        if self.makes_features(numbers=numbers):
            outputs = self._output_layer(self._features(table, X, task, width), y, task, width)
        elif numbers:
            blocks = self._blocks(X, task, width)
            self._check_positive(blocks, X)
            outputs = self._fuse(table, [_take_block(table, block) for block in blocks], X)
        else:
            blocks = self._blocks(X, task, width)
            probabilities = [_base_probabilities(table, block, X, y, task) for block in blocks]
            outputs = _as_probabilities(self._fuse(table, probabilities, X, normalize=True), task)
        return keras.Model(table, outputs)

    def _blocks(self, X, task: targets.Task, width: int) -> list[Block]:
        names = [f"x{k}" for k in range(X.shape[1])]
        by_row = self.fusion in _WEIGHTED_BY_ROW
        return blocks_of(self.columns, X, names, task=task, width=width, allow_passthrough=by_row)

    def _fuse(self, table, tensors: list, X: np.ndarray, *, normalize: bool = False):
        """Apply the strategy to predictions of one shape; those of a single base stay unchanged."""
        if len(tensors) == 1:
            return tensors[0]
        options: dict[str, Any] = {}
        if self.fusion in _WEIGHTED_BY_ROW:
            options["context"] = standardized(table, X)
        if self.fusion == "gated":
            options |= {"hidden_units": tuple(self.hidden_units) or _GATE_UNITS}
            options |= {"activation": self.activation}
        if self.fusion in ("multiply", "geometric"):
            options["normalize"] = normalize
        if self.fusion == "geometric":
            options["weights"] = "learned"
        if normalize and self.fusion in ("multiply", "geometric"):
            tensors = [_raised_from_zero(tensor) for tensor in tensors]
        return fusion_named(self.fusion)(tensors, **options)

    def _features(self, table, X: np.ndarray, task: targets.Task, width: int):
        """Apply the strategy so that its result can be the input of a dense layer."""
        strategy = fusion_named(self.fusion)
        if self.fusion == "dense":
            units = {"hidden_units": self.hidden_units, "activation": self.activation}
            return strategy([standardized(table, X)], **units)
        if self.fusion in _FEATURES:
            scaled = standardized(table, X)
            parts = [_take_block(scaled, block) for block in self._blocks_of_table(X)]
            if self.fusion == "bilinear" and len(parts) < 2:
                raise ValueError(
                    "fusion='bilinear' multiplies two bases, but X holds the predictions of one. "
                    "Add a base, or use another fusion."
                )
            return strategy(parts)
        blocks = self._blocks(X, task, width)
        fused = strategy([_take_block(table, block) for block in blocks])
        return standardized(fused, np.asarray(keras.Model(table, fused)(X)))

    def _blocks_of_table(self, X: np.ndarray) -> list[Block]:
        """Return the bases' blocks, and one more block for the columns that are passed through."""
        if self.columns is None:
            return [Block(f"x{k}", (k,)) for k in range(X.shape[1])]
        blocks, passed = blocks_by_base(self.columns, X)
        return [*blocks, Block("X", passed)] if passed else blocks

    def _output_layer(self, features, y: np.ndarray, task: targets.Task, width: int):
        """Return the output of a dense layer, on the scale of y."""
        links: dict[str, str] = dict.fromkeys(["binary", "multiclass"], "softmax")
        link = (links | {"multilabel": "sigmoid"}).get(task)
        outputs = layers.Dense(width, link, dtype="float64")(features)
        if link is None:
            mean, scale = _moments(y.reshape(len(y), -1))
            outputs = _frozen_affine(scale, mean)(outputs)
        return outputs

    def _check_positive(self, blocks: list[Block], X: np.ndarray) -> None:
        """Raise if a geometric mean would be taken of numbers that are not positive."""
        if self.fusion != "geometric":
            return
        lowest = min(block.of(X).min() for block in blocks)
        if lowest <= 0:
            raise ValueError(
                f"fusion='geometric' needs positive predictions, but X holds {lowest:.4g}: use "
                "fusion='weighted'."
            )


def _take_block(table, block: Block):
    return ops.take(table, np.array(block.places), axis=1)


def _base_probabilities(table, block: Block, X: np.ndarray, y: np.ndarray, task: targets.Task):
    """Return a base's probabilities of the classes; of labels, of lacking and of having each.

    Returns
    -------
    probabilities : KerasTensor of shape (batch, n_classes) or (batch, n_labels, 2)
    """
    outputs = _take_block(table, block)
    if block.scores:
        scaler, logistic = (step for _, step in fit_calibrator(block.of(X), y).steps)
        outputs = _frozen_affine(1 / scaler.scale_, -scaler.mean_ / scaler.scale_)(outputs)
        kernel, bias = logistic.coef_.T, logistic.intercept_
        link = "sigmoid" if len(bias) == 1 else "softmax"
        layer = layers.Dense(len(bias), link, trainable=False, dtype="float64")
        outputs = layer(outputs)
        layer.set_weights([kernel, bias])
    if task == "multilabel":
        return ops.stack([1 - outputs, outputs], axis=-1)
    return ops.concatenate([1 - outputs, outputs], axis=-1) if outputs.shape[1] == 1 else outputs


def _raised_from_zero(probabilities):
    """Raise probabilities of zero, whose logarithm would outvote all other bases."""
    return ops.maximum(probabilities, np.full(1, SMALLEST_PROBABILITY))


def _as_probabilities(pooled, task: targets.Task):
    """Return pooled probabilities as the output of an activation; those of classes sum to one."""
    logs = ops.log(ops.maximum(pooled, np.full(1, SMALLEST_SUM)))
    if task == "multilabel":
        return layers.Activation("sigmoid", dtype="float64")(logs[..., 1] - logs[..., 0])
    return layers.Activation("softmax", dtype="float64")(logs)


def standardized(tensor, values: np.ndarray):
    """Scale a tensor so that the given values of it have mean 0 and standard deviation 1.

    Parameters
    ----------
    tensor : KerasTensor of shape (batch, n_columns)
    values : ndarray of shape (n_samples, n_columns)
    """
    mean, scale = _moments(values)
    return _frozen_affine(1 / scale, -mean / scale)(tensor)


def _moments(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns' means and standard deviations, 1 where a column is constant."""
    scale = table.std(axis=0, dtype=np.float64)
    return table.mean(axis=0, dtype=np.float64), np.where(scale > 0, scale, 1.0)


def _frozen_affine(scale: np.ndarray, offset: np.ndarray):
    """Return a frozen layer that computes ``x * scale + offset``, column by column.

    A batch normalisation of mean 0 and variance 1 does that with two weights. So heads for
    different data have one architecture and share one compiled program.
    """
    layer = keras.layers.BatchNormalization(epsilon=0.0, trainable=False, dtype="float64")
    layer.build((None, len(scale)))
    layer.gamma.assign(scale)
    layer.beta.assign(offset)
    return layer
