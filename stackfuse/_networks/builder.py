"""How a network is made and compiled."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from stackfuse._core import fitting, messages
from stackfuse._keras import check_network, losses, own_code, private, several_outputs
from stackfuse._networks.objects import (
    build_from_settings,
    check_loss,
    check_metrics,
    fresh_optimizer,
)
from stackfuse._networks.target import ProbabilityTarget, Target
from stackfuse._training import seeded

#: The values that settings of ``model.compile`` may have.
_WANTED = {
    "run_eagerly": fitting.FLAG,
    "jit_compile": fitting.Wanted(
        lambda value: value is None or fitting.is_flag(value) or value == "auto",
        "True, False or 'auto'",
    ),
    "steps_per_execution": fitting.Wanted(
        lambda value: value == "auto" or fitting.is_whole(value, 1),
        "an integer of at least 1, or 'auto'",
    ),
}


@dataclass(frozen=True)
class Builder(ABC):
    """Makes a compiled network for the data of one fit.

    Attributes
    ----------
    optimizer, loss, metrics : object
        See :class:`KerasClassifier`.
    settings : dict of str to object
        Further settings by name, such as ``optimizer__learning_rate``.
    """

    optimizer: Any = "adam"
    loss: Any = None
    metrics: Any = None
    settings: dict[str, Any] = field(default_factory=dict)

    @abstractmethod
    def build(
        self, X, rows: np.ndarray | None, target: Target, meta: dict, compile_kwargs: dict
    ) -> tuple[Any, bool]:
        """Return a network, and whether it was built with the `compile_kwargs`.

        Parameters
        ----------
        X : array, sparse matrix or MultiInput of shape (n_all_samples, ...)
        rows : ndarray of int of shape (n_samples,), or None
            The rows of X that the target belongs to; None for all.
        target : Target
        meta : dict of str to object
            Facts about X and y.
        compile_kwargs : dict of str to object
        """

    def routed(self, route: str) -> dict[str, Any]:
        """Return the settings for a part of Keras: an optimizer, a loss, ``model.compile``, ..."""
        prefix = f"{route}__"
        return {
            name.removeprefix(prefix): value
            for name, value in self.settings.items()
            if name.startswith(prefix)
        }

    def take_parameters(self, params: dict[str, Any]) -> list[str]:
        """Return the names of those parameters that belong to no constructor but are taken.

        Raises
        ------
        ValueError
            If nothing takes a name.
        """
        return []

    def in_effect(self) -> list[str]:
        """Return the names of parameters that differ from their defaults and act in compile."""
        return []

    def is_for_fit(self, name: str) -> bool:
        """Whether a parameter acts in training and not in the making of the network."""
        return name.startswith(("fit__", "predict__", "callbacks__"))

    def content(self) -> dict[str, Any]:
        """Return the contents of parameters that name a place, by the parameters' names."""
        return {}

    def picklable(self) -> dict[str, Any]:
        """Return copies of the parameters that cannot be pickled as they are."""
        return {}

    def network(
        self, X, rows: np.ndarray | None, target: Target, meta: dict, seed: int
    ) -> tuple[Any, several_outputs.AnyOutputs]:
        """Return a new compiled network, and what its outputs mean.

        Parameters
        ----------
        X, rows, target, meta
            See :meth:`build`.
        seed : int
            The seed of the initial weights.
        """
        compile_kwargs = self._compile_kwargs()
        with seeded(seed):
            network, took_kwargs = self.build(X, rows, target, meta, compile_kwargs)
            check_network(network, X)
            if network.compiled and not took_kwargs:
                self._refuse_second_compile()
                if network.loss is None:
                    raise ValueError(
                        "The builder compiled the model without a loss. Pass one to "
                        "model.compile, or return the model uncompiled."
                    )
            compiled = network.compiled and network.loss is not None
            loss = network.loss if compiled else compile_kwargs["loss"]
            soft = isinstance(target, ProbabilityTarget)
            if soft and losses.is_sparse(loss):
                loss = losses.for_probabilities(loss)
                compile_kwargs["loss"] = loss
                if compiled:
                    network.compile(**private.compile_arguments(network) | {"loss": loss})
            self._check_output_names(network)
            part = self.routed("predict").get("output")
            outputs = several_outputs.read_network(network, X, target.task, target.info, loss, part)
            if soft:
                outputs = _for_probabilities(outputs)
            outputs = outputs.trained_with(loss, y_is_column=target.is_column)
            if not compiled:
                if isinstance(self.metrics, str) and isinstance(
                    outputs, several_outputs.SeveralOutputs
                ):
                    compile_kwargs["metrics"] = outputs.for_each([self.metrics])
                compile_kwargs["loss"] = outputs.default_loss() if loss is None else loss
                network.compile(**compile_kwargs)
            if soft:
                _refuse_class_numbers(network)
        return network, outputs

    def _check_output_names(self, network) -> None:
        """Raise if losses or metrics are for outputs that a network does not have."""
        if isinstance(network, keras.Sequential):
            known = [layer.name for layer in network.layers[-1:]]
        else:
            known = list(getattr(network, "output_names", []))
            known += [*network.output] if known and isinstance(network.output, dict) else []
        for name in ("loss", "metrics"):
            given = getattr(self, name)
            unknown = [key for key in given if key not in known] if isinstance(given, dict) else []
            if known and unknown:
                raise ValueError(
                    f"{name} names {unknown[0]!r}, but the model's outputs are {known}."
                    f"{messages.did_you_mean(unknown[0], known)}"
                )

    def _compile_kwargs(self) -> dict[str, Any]:
        for_compile = self.routed("compile")
        given = {name: wanted for name, wanted in _WANTED.items() if name in for_compile}
        fitting.check_settings(for_compile, given)
        return {
            "optimizer": fresh_optimizer(self.optimizer, self.routed("optimizer")),
            "loss": check_loss(build_from_settings(self.loss, self.routed("loss"), "loss")),
            "metrics": own_code.deep_copy(
                check_metrics(build_from_settings(self.metrics, self.routed("metrics"), "metrics"))
            ),
            **for_compile,
        }

    def _refuse_second_compile(self) -> None:
        """Raise if parameters would be ignored because the network comes compiled."""
        given = self.in_effect()
        if given:
            raise ValueError(
                f"{messages.listed(given, 'and')} would have no effect, because the model is "
                "already compiled. Let the builder return it uncompiled, or take an argument "
                "`compile_kwargs` and call model.compile(**compile_kwargs)."
            )


def _for_probabilities(outputs: several_outputs.AnyOutputs) -> several_outputs.Outputs:
    """Return the meaning of outputs that learn probabilities; raise if there are several."""
    if isinstance(outputs, several_outputs.SeveralOutputs):
        raise ValueError(
            f"The network has {len(outputs.parts)} outputs, but learns probabilities with one. "
            "End it with a single Dense layer with one unit for each label."
        )
    return outputs.for_probabilities()


def _refuse_class_numbers(network) -> None:
    """Raise if a metric compares class numbers, where the target holds probabilities."""
    arguments = private.compile_arguments(network)
    metrics = [arguments.get(name) for name in ("metrics", "weighted_metrics")]
    for metric in keras.tree.flatten(metrics):
        if metric is not None and losses.loss_name(metric).lower().startswith("sparse"):
            raise ValueError(
                f"The metric {losses.loss_name(metric)!r} compares class numbers, but the target "
                "holds probabilities of the classes. Use 'accuracy' or "
                "'categorical_crossentropy'."
            )


@contextmanager
def ignore_unbuilt_optimizers() -> Iterator[None]:
    """Ignore Keras' warning of optimizers without variables in a copied or loaded model.

    A model that is compiled and not trained yet has such an optimizer.
    """
    with warnings.catch_warnings():
        for beginning in private.OPTIMIZER_WARNINGS:
            warnings.filterwarnings("ignore", beginning)
        yield
