"""From a fitted estimator to a Keras model with named outputs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.base import is_classifier
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from stackfuse._core import NotConvertible, fitting, messages, multi_input
from stackfuse._export.graph.at_once import refuse_at_once
from stackfuse._export.graph.build import (
    WHOLE,
    Build,
    building,
)
from stackfuse._export.graph.convert import convert
from stackfuse._export.graph.coverage import covered, maker_of
from stackfuse._export.graph.frame import Frame
from stackfuse._export.graph.masks import without_refused
from stackfuse._export.graph.names import rename_clashing
from stackfuse._export.graph.nodes import refuse_taken_for_bias
from stackfuse._export.graph.signature import Signature
from stackfuse._export.graph.traced import TRACED
from stackfuse._export.graph.trees import TreeSums
from stackfuse._export.tied_neighbors import averaged, check_ties
from stackfuse._keras import copies, private
from stackfuse._stacking import Sketch
from stackfuse._training import undisturbing

#: The precisions of all arithmetic outside networks.
PRECISIONS = ("float64", "float32")

#: The number of made-up rows that show the kind of X.
_ROWS_OF_A_KIND = 8

#: Rows that the graph computes at a time while it is checked.
BATCH = 4096


def to_keras(
    estimator: Any,
    *,
    X: Any = None,
    precision: str = "float64",
    trainable: bool = False,
    ties: str = "refuse",
    coverage: Any = None,
) -> Any:
    """Bake a fitted stack, or any convertible estimator, into one Keras model.

    The model is made of stock Keras layers and ``keras.ops`` only. Meta-learners and scikit-learn
    estimators compute in float64, Keras networks in the dtype that they were trained in.

    Parameters
    ----------
    estimator : fitted estimator
        A stack, a pipeline, a search over them, or a single estimator.
    X : array-like of shape (n_samples, ...), default=None
        Some rows as the graph will be given them. Needed only where an estimator that is no stack
        was fitted on a data frame with columns of strings: they show which columns these are.
    precision : {"float64", "float32"}, default="float64"
        The dtype of X and of all arithmetic outside networks. float32 is for runtimes that know
        no other; then scores may differ by about 1e-6.
    trainable : bool, default=False
        Whether networks and linear models can be trained on, with ``fit``; networks then keep
        their dropout.
    ties : {"refuse", "average"}, default="refuse"
        How to treat k nearest neighbours, and ``KNNImputer``, whose training rows lie at equal
        distances with different targets: which of them scikit-learn takes depends on its search.
        "refuse" raises. With "average", all training rows that are equally far as the k-th share:
        if n rows are nearer and m equally far, each of the m counts (k - n) / m, in votes and
        means, times the weight of its distance. Equally far means up to rounding: compared
        distances (squares of Euclidean ones) that differ by no more than 1e-10 of that of the
        k-th row; of Euclidean distances by (n_features + 8) * 2**-52 times the squared length of
        the row and of the longest training row more.
    coverage : float or dict, default=None
        Adds outputs to the graph of a stack, or of a pipeline or search around one: of a regressor
        ``"lower"`` and ``"upper"``, the ends that its ``predict_interval`` returns for this
        coverage; of a classifier ``"set"``, int64 of shape (n_samples, n_classes): 1 for the
        classes that its ``predict_set`` returns, else 0. A dict has what these methods take, for
        example ``{"coverage": 0.9, "method": "adaptive"}``.

    Returns
    -------
    graph : keras.Model
        The model. It takes X, float64 of shape (n_samples, n_features), or the shape of the rows
        that the stack was fitted on. A ``MultiInput`` becomes a dict of its arrays. A data frame
        with columns of strings becomes a dict of all columns, each of shape (n_samples, 1), in
        their order and by their names; letters, digits and ``_`` stay in the names, all else
        becomes ``_``.

        It returns a dict. A classifier gives ``"probabilities"`` of shape (n_samples, n_classes)
        and ``"label"``, the number of the class in ``classes_``, int64 of shape (n_samples,). A
        classifier without probabilities gives ``"decision"`` in their place. A regressor gives
        ``"prediction"``, in the shape of ``predict``. If scikit-learn returns a list, one array per
        column of classes, the outputs are ``"probabilities_0"``, ``"probabilities_1"``, and so on.

        Rows that scikit-learn would refuse, for an unknown category or a value that is missing,
        infinite or too large, have outputs of NaN, and -1 as label and in the set.

    Raises
    ------
    NotConvertible
        If some estimator in it has no exact counterpart; the message names it.
    NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    ``graph(X)`` computes with X as it is. ``graph.predict(X)`` rounds X to float32 first, as Keras
    does for every model.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> import stackfuse as sf
    >>> X, y = load_iris(return_X_y=True)
    >>> graph = sf.to_keras(LogisticRegression(max_iter=1000).fit(X, y))
    >>> [(name, tuple(t.shape)) for name, t in sorted(graph(X[:2]).items())]
    [('label', (2,)), ('probabilities', (2, 3))]
    """
    check_ties(ties)
    fitting.check_settings({"trainable": trainable}, {"trainable": fitting.FLAG})
    multi_input.check_width(X, estimator, "X")
    estimator = covered(estimator, coverage)
    estimator = averaged(estimator) if ties == "average" else estimator
    return build_graph(estimator, X, Build(precision, trainable)).model


@dataclass(frozen=True)
class Graph:
    """A stack's Keras model and its inputs: what :meth:`Format.write` writes.

    Parameters
    ----------
    model : keras.Model
        The model, of stock layers.
    signature : Signature
        The inputs: their names, shapes and dtypes.

    Examples
    --------
    >>> import stackfuse as sf
    >>> class Printed(sf.formats.Format):
    ...     def write(self, graph: sf.formats.Graph, path):
    ...         path.write_text(graph.model.to_json())
    """

    model: Any
    signature: Signature

    def __call__(self, fed: dict[str, np.ndarray]) -> Mapping[str, Any]:
        """Return the outputs for arrays by the names of the inputs."""
        return self.model(fed["x"] if self.signature.kind == "table" else fed)

    @property
    def tree_sums(self) -> list[TreeSums]:
        """The layers that become operators for trees in formats that have some."""
        layers = private.flatten_layers(self.model)
        return [layer for layer in layers if isinstance(layer, TreeSums)]

    @property
    def half_precision(self) -> tuple[str, str] | None:
        """The name and the dtype of a layer of a network in half precision, if there is one."""
        parts = [part for part in private.flatten_layers(self.model) if part is not self.model]
        networks = [part for part in parts if isinstance(part, keras.Model)]
        half = [
            layer
            for layer in (layer for network in networks for layer in network.layers)
            if layer.compute_dtype in ("float16", "bfloat16")
            and not isinstance(layer, keras.Model | keras.layers.InputLayer)
        ]
        return (half[0].name, half[0].compute_dtype) if half else None

    def specs(self) -> Any:
        """Return the inputs as TensorFlow specifies them.

        Returns
        -------
        specs : tf.TensorSpec or dict of str to tf.TensorSpec
            One specification for a table, else one for each input by its name.
        """
        specs = {
            name: tf.TensorSpec((None, *entry.shape), entry.dtype, name=name)
            for name, entry in self.signature.inputs.items()
        }
        return specs["x"] if self.signature.kind == "table" else specs


def build_graph(estimator, rows, build: Build) -> Graph:
    """Return the graph of an estimator for rows of the shape that some rows have.

    Parameters
    ----------
    estimator : fitted estimator
    rows : array-like of shape (n_samples, ...) or None
        By default the rows are as those that the estimator was fitted on.
    build : Build
    """
    refuse_at_once(estimator)
    if build.precision not in PRECISIONS:
        raise ValueError(
            f"precision must be {messages.listed(PRECISIONS)}, got {build.precision!r}."
        )
    check_is_fitted(estimator)

    def outputs_of(x) -> dict[str, Any]:
        outputs = {}
        for name, method in (output_methods(estimator) | coverage_outputs(estimator)).items():
            y = convert(estimator, x, method)
            y = y.numbers(wanted_by="The output of a graph") if isinstance(y, Frame) else y
            outputs |= named_outputs(name, y)
        return outputs

    return assemble_graph(outputs_of, _signature(estimator, rows, build.precision), build)


def assemble_graph(outputs_of: Callable, signature: Signature, build: Build) -> Graph:
    """Return a graph of stock layers from a function that computes its outputs.

    Parameters
    ----------
    outputs_of : callable
        From what it takes, symbolic, to a dict of tensors by the names of the outputs.
    signature : Signature
    build : Build

    Raises
    ------
    NotConvertible
        If the graph holds a layer that only loads with code of its own.
    """
    with undisturbing(), building(build):  # layers draw initial weights that are never used
        inputs, x = signature.symbolic_inputs()
        outputs = {}
        for name, tensor in without_refused(outputs_of(x), build.precision).items():
            dtype = "int64" if name in WHOLE else build.precision
            outputs[name] = keras.layers.Identity(name=name, dtype=dtype)(tensor)
        refuse_taken_for_bias(outputs.values())
        rename_clashing(outputs.values(), {*signature.inputs, *outputs})
        model = keras.Model(inputs, outputs, name="stack")
        if not build.trainable:
            model.trainable = False
    besides = (TreeSums,) if build.native_trees else TRACED if build.traced else ()
    copies.check_stock(model, besides=besides)
    return Graph(model, signature)


def named_outputs(name: str, y) -> dict[str, Any]:
    """Return an output by its name; the outputs of a list get numbered names."""
    return {f"{name}_{k}": part for k, part in enumerate(y)} if isinstance(y, list) else {name: y}


def coverage_outputs(estimator) -> dict[str, str]:
    """Return the outputs that a coverage adds, with the method that gives each."""
    maker = maker_of(estimator)
    return {} if maker is None else {name: name for name in maker.names}


def output_methods(estimator) -> dict[str, str]:
    """Return the graph's outputs by name, with the method that gives each."""
    if is_classifier(estimator):
        for name, method in (("probabilities", "predict_proba"), ("decision", "decision_function")):
            if hasattr(estimator, method):
                return {name: method, "label": "label"}
        return {"label": "label"}
    if hasattr(estimator, "predict"):
        return {"prediction": "predict"}
    if hasattr(estimator, "transform"):
        return {"features": "transform"}
    raise NotConvertible(f"{type(estimator).__name__} neither predicts nor transforms.")


def _signature(estimator, rows, precision: str) -> Signature:
    """Return the signature of an estimator's graph."""
    if rows is None:
        parts = _parts_that_see_X(estimator)
        sketch = next((s for p in parts if (s := sketch_within(p)) is not None), None)
        rows = None if sketch is None else sketch.rows(_ROWS_OF_A_KIND, np.random.default_rng(0))
    if rows is not None:
        return Signature.of_rows(rows, precision, getattr(estimator, "feature_names_in_", None))
    for part in _parts_that_see_X(estimator):
        if hasattr(part, "X_shape_"):
            return Signature.of_shape(part.X_shape_, precision)
    if isinstance(estimator, IsotonicRegression):  # does not count its features
        return Signature.of_shape((1,), precision)
    if not hasattr(estimator, "n_features_in_"):
        raise NotConvertible(
            f"{type(estimator).__name__} does not know how many features it was fitted on. Pass "
            "some of its rows: to_keras(estimator, X=rows)."
        )
    return Signature.of_shape((estimator.n_features_in_,), precision)


def _parts_that_see_X(estimator) -> Iterator[Any]:
    """Yield an estimator and the parts that see X itself: the best estimator, the first step."""
    while estimator is not None and not isinstance(estimator, str):
        yield estimator
        if isinstance(estimator, Pipeline):
            steps = [s for _, s in estimator.steps if not isinstance(s, str) and s is not None]
            estimator = steps[0] if steps else None
        else:
            estimator = getattr(estimator, "best_estimator_", None)


def sketch_within(estimator) -> Sketch | None:
    """Return the sketch of training rows in a stack, or in a search's best one, or None."""
    return getattr(getattr(estimator, "best_estimator_", estimator), "_sketch", None)
