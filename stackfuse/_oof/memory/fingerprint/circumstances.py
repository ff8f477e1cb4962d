"""The circumstances that results depend on: versions, threads, global settings."""

import importlib.metadata
import os
import sys
from functools import cache
from typing import Any

import joblib
import keras
import sklearn

from stackfuse._oof.memory.fingerprint.releases import is_own_class, release_of

#: Settings of scikit-learn that say how it works, and not what it computes.
_NO_MATTER = {"display", "print_changed_only", "working_memory", "pairwise_dist_chunk_size"}


def circumstances() -> list:
    """Return versions, the number of threads, and what is set in Keras and scikit-learn."""
    packages = ("keras", "numpy", "pandas", "scikit-learn", "scipy", "stackfuse", "tensorflow")
    versions = [_version(package) for package in packages]
    threads = [os.environ.get("OMP_NUM_THREADS"), joblib.cpu_count()]
    return [list(sys.version_info[:2]), versions, threads, _keras_settings(), _sklearn_settings()]


@cache
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # tensorflow-cpu, for example
        return None


def _keras_settings() -> dict[str, Any]:
    """Return the settings in ``keras.config``."""
    config = keras.config
    return {
        "backend": config.backend(),
        "dtype_policy": config.dtype_policy().name,
        "epsilon": config.epsilon(),
        "floatx": config.floatx(),
        "image_data_format": config.image_data_format(),
        "flash_attention": config.is_flash_attention_enabled(),
        "max_epochs": getattr(config, "max_epochs", lambda: None)(),
        "max_steps": getattr(config, "max_steps_per_epoch", lambda: None)(),
    }


def _sklearn_settings() -> dict[str, Any]:
    settings = sklearn.get_config()
    return {name: settings[name] for name in sorted(settings) if name not in _NO_MATTER}


def registered(texts: set[str]) -> dict[str, Any]:
    """Return the user's classes and functions in Keras' registry that texts name.

    ``Dense(activation="swirl")`` takes what is registered by that name.
    """
    found = {}
    for name, thing in keras.saving.get_custom_objects().items():
        if texts.isdisjoint({name, name.rpartition(">")[2]}):
            continue
        if isinstance(thing, type):
            if is_own_class(thing):
                found[name] = thing
        elif release_of(getattr(thing, "__module__", None)) is None:
            found[name] = thing
    return found
