"""Networks from a function, a model, or the path of a model."""

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from stackfuse._core import sklearn_private
from stackfuse._keras import loading, own_code
from stackfuse._networks.builder import Builder, ignore_unbuilt_optimizers
from stackfuse._networks.parameters import (
    BARE,
    check_complete,
    check_names,
    is_bare,
    name_of,
    named_parameters,
    refuse_taken,
)

#: Letters of an error of Keras that are shown, which may be pages.
_LONGEST = 300


@dataclass(frozen=True)
class KerasBuilder(Builder):
    """Makes a network from a function, a model or a path.

    Attributes
    ----------
    model : callable, keras.Model or path
    owner : estimator
        Tells its own parameters, and is named in the messages.
    """

    model: Any = None
    owner: Any = None

    def take_parameters(self, params: dict[str, Any]) -> list[str]:
        """See :meth:`Builder.take_parameters`."""
        own = sklearn_private.parameter_names(type(self.owner))
        builder = params.get("model", self.model)
        if callable(builder):  # fit refuses anything else
            check_names(self.owner, builder, set(params) - set(own))
        refuse_taken(self.owner, params)
        return [name for name in params if name not in own]

    def routed(self, route: str) -> dict[str, Any]:
        """See :meth:`Builder.routed`; some settings need no prefix."""
        bare = {
            BARE[name][1]: value
            for name, value in self.settings.items()
            if is_bare(name, route, self.model)
        }
        return bare | super().routed(route)

    def is_for_fit(self, name: str) -> bool:
        """See :meth:`Builder.is_for_fit`."""
        return super().is_for_fit(name) or is_bare(name, "fit", self.model)

    def in_effect(self) -> list[str]:
        """See :meth:`Builder.in_effect`."""
        defaults = {"optimizer": "adam", "loss": None, "metrics": None}
        given = [name for name, value in defaults.items() if getattr(self, name) != value]
        routed = ("optimizer__", "loss__", "metrics__", "compile__")
        return given + [
            name
            for name in self.settings
            if name.startswith(routed) or is_bare(name, "compile", self.model)
        ]

    def content(self) -> dict[str, Any]:
        """Return the bytes of the file that holds the model."""
        if isinstance(self.model, str | os.PathLike) and os.path.isfile(self.model):
            return {"model": Path(self.model).read_bytes()}
        return {}

    def picklable(self) -> dict[str, Any]:
        """See :meth:`Builder.picklable`."""
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is None or optimizer.built:
            return {}
        with ignore_unbuilt_optimizers():
            return {"model": own_code.deep_copy(self.model)}

    def _loaded(self, path: Path) -> Any:
        """Return the model of a file; raise ValueError, in one sentence, if there is none."""
        if not path.exists() or path.is_dir():
            raise ValueError(
                f"model={str(path)!r} is not a file: pass the path of a .keras or .h5 file, or a "
                "function that returns a keras.Model."
            )
        try:
            if path.suffix in (".h5", ".hdf5"):
                return loading.load_uncompiled(path)
            if path.suffix != ".keras":
                raise OSError("its name does not end in .keras or .h5, as files of Keras do")
            loading.check_model_file(path)
            # Without epochs the optimizer is not used.
            with ignore_unbuilt_optimizers() if self.owner.epochs == 0 else nullcontext():
                return keras.models.load_model(path)
        except loading.FAILURES as error:
            reason = " ".join(str(error).split())
            reason = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} ..."
            raise ValueError(f"{str(path)!r} cannot be loaded: {reason}") from error

    def build(self, X, rows, target, meta, compile_kwargs) -> tuple[Any, bool]:
        """See :meth:`Builder.build`."""
        model = self.model
        check_names(self.owner, model, self.settings)
        if isinstance(model, keras.Model):
            with ignore_unbuilt_optimizers():
                return own_code.deep_copy(model), False
        if isinstance(model, str | os.PathLike):
            return self._loaded(Path(model)), False
        if model is None:
            name = type(self.owner).__name__
            raise TypeError(
                f"{name} has no model: pass a function that returns a keras.Model, {name}(build), "
                "or define _keras_build_fn in a subclass."
            )
        if not callable(model) or isinstance(model, keras.layers.Layer):
            raise TypeError(
                "model must be a function that returns a keras.Model, a keras.Model or a path to "
                f"a .keras file, got {model!r}."
            )
        named = named_parameters(model)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in named.values())
        takes_all = takes_any and not isinstance(model, type)
        known = {"meta": meta, "compile_kwargs": compile_kwargs, "params": self.owner.get_params()}
        arguments = {n: value for n, value in known.items() if takes_all or n in named}
        own = self._arguments()
        arguments |= {n: own[n] for n in own if n in named or takes_any}
        check_complete(self.owner, model, arguments)
        network: Any = model(**arguments)
        if not isinstance(network, keras.Model):
            raise TypeError(
                f"The builder {name_of(model)} must return a keras.Model, but it returned "
                f"{network!r}. Does it end in `return model`?"
            )
        took = network.compiled and network.optimizer is compile_kwargs["optimizer"]
        return network, "compile_kwargs" in named or (takes_all and took)

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of the user's function."""
        bare = {name for name in BARE if is_bare(name, BARE[name][0], self.model)}
        plain = {n: v for n, v in self.settings.items() if "__" not in n and n not in bare}
        return plain | self.routed("model")
