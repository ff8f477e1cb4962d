"""Give rows that scikit-learn would refuse outputs of NaN and the label -1: a graph cannot raise.

Otherwise an unknown category, or NaN in front of an estimator that takes none, would pass the next
tree and become a number like any other. So each converter refuses such rows where they enter, and
the outputs of all refused rows are replaced at the end.
"""

import warnings
from collections.abc import Callable, Set
from typing import Any

import numpy as np
from keras import ops
from sklearn.utils import get_tags

from stackfuse._core import MultiInput
from stackfuse._export.graph.arithmetic import constant
from stackfuse._export.graph.build import LARGEST, SMALL, WHOLE, Refusal, current_build
from stackfuse._export.graph.frame import MISSING

#: The label of a row that is refused.
NO_CLASS = -1

#: A number too large for float32. Estimators that compute in float32, such as trees, refuse it.
_TOO_LARGE = 2.0 * float(np.finfo(np.float32).max)


def refuse_rows(where) -> None:
    """Refuse rows, of all outputs of the graph that is being built.

    Parameters
    ----------
    where : tensor of bool, shape (batch, n_columns)
        A row in which any is true is refused.
    """
    current_build().refused.append(Refusal(where, ops.any(where, axis=1)))


def refuse_infinite(x) -> None:
    """Refuse rows with an infinite number, for an estimator that takes NaN.

    Parameters
    ----------
    x : tensor of numbers, shape (batch, n_columns)
    """
    _refuse_numbers(x, {"infinite"})


def refuse_as(estimator, x, method: str) -> None:
    """Refuse rows with NaN, infinity or a number above float32, if the estimator refuses them.

    The estimator is tried on such rows, since its tags do not tell.

    Parameters
    ----------
    estimator : fitted estimator
    x : tensor, shape (batch, ...), or dict of such
        Those of strings stay as they are.
    method : str
        See :func:`stackfuse.convert`.
    """

    def answer(rows):
        getattr(estimator, "predict" if method == "label" else method)(rows)

    refuse_where_raising(answer, x, takes_missing=get_tags(estimator).input_tags.allow_nan)


def refuse_missing_strings(x) -> None:
    """Refuse rows that lack a string, for an estimator that takes strings.

    Parameters
    ----------
    x : tensor of strings, shape (batch, ...)
    """
    refuse_rows(ops.reshape(ops.equal(x, MISSING), (-1, int(np.prod(x.shape[1:], dtype=int)))))


def refuse_where_raising(answer: Callable, x, *, takes_missing: bool) -> None:
    """Refuse rows with NaN, infinity or a number above float32, if a function raises for them.

    Parameters
    ----------
    answer : callable
        Takes rows, and raises if it refuses them.
    x : tensor, shape (batch, ...), or dict of such
        Those of strings stay as they are.
    takes_missing : bool
        Whether it is known to take NaN.
    """
    tensors = [t for t in (x.values() if isinstance(x, dict) else [x]) if t.dtype != "string"]
    if not tensors:
        return
    known = frozenset.intersection(*map(refused_numbers, tensors))
    refused = set()
    if not known.issuperset({"missing", "infinite", "too large"}):

        def raises(number: float) -> bool:
            return _raises(answer, x, number)

        # An estimator that refuses numbers too large for float32 refuses infinity.
        if any(t.dtype == "float64" for t in tensors) and "too large" not in known:
            refused |= {"infinite", "too large"} if raises(_TOO_LARGE) else set()
        if "infinite" not in known | refused and raises(np.inf):
            refused.add("infinite")
        if not takes_missing and "missing" not in known and raises(np.nan):
            refused.add("missing")
    for tensor in tensors:
        _refuse_numbers(tensor, refused)


def refused_numbers(tensor) -> frozenset[str]:
    """Return the kinds of numbers for which rows of a tensor are refused already."""
    refused = current_build().refused
    return frozenset().union(*(r.numbers for r in refused if r.tensor is tensor))


def pass_refusals_on(tensor, rounded) -> None:
    """Note that the rows refused for numbers of a tensor hold those of another one, too."""
    if numbers := refused_numbers(tensor):
        current_build().refused.append(Refusal(rounded, None, numbers))


def _refuse_numbers(tensor, numbers: Set[str]) -> None:
    """Refuse the rows of a tensor that hold such numbers."""
    new = frozenset(numbers) - refused_numbers(tensor)
    axes = tuple(range(1, len(tensor.shape)))
    most = float(np.finfo(tensor.dtype).max)
    masks = []
    if current_build().traced and new >= {"missing", "infinite", "too large"}:
        # As below; and numbers too large for float32 become infinite in it.
        rounded = ops.cast(tensor, "float32")
        total = ops.sum(ops.cast(rounded, "float64"), axis=axes)
        masks = [ops.logical_not(ops.isfinite(total))]
    elif current_build().traced and new == {"missing", "infinite"} and len(axes) == 1:
        weights = np.full((tensor.shape[1], 1), SMALL, tensor.dtype)  # a product takes less time
        total = ops.reshape(ops.matmul(tensor, weights), (-1,))
        masks = [ops.logical_not(ops.isfinite(total))]
    elif new == {"missing", "infinite"}:
        # A sum is finite if all numbers are; it is quicker than asking each.
        total = ops.abs(ops.sum(tensor * constant(SMALL, tensor), axis=axes))
        # Not "not at most": TensorFlow folds that into "more than", which NaN is not.
        masks = [ops.logical_or(ops.isnan(total), ops.greater(total, constant(most, tensor)))]
    else:
        limit = constant(min(most, LARGEST) if "too large" in new else most, tensor)
        if new & {"infinite", "too large"}:
            # Not "greater": in OpenVINO that is true of NaN.
            masks.append(ops.any(ops.less(limit, ops.abs(tensor)), axis=axes))
        if "missing" in new:
            masks.append(ops.any(ops.isnan(tensor), axis=axes))
    for mask in masks:
        current_build().refused.append(Refusal(tensor, mask, new))


def _raises(answer: Callable, x, number: float) -> bool:
    """Whether a function refuses a row in which every value is the given number."""

    def row(tensor) -> np.ndarray:
        shape = (1, *tensor.shape[1:])
        return np.full(shape, "", object) if tensor.dtype == "string" else np.full(shape, number)

    rows = MultiInput(**{n: row(t) for n, t in x.items()}) if isinstance(x, dict) else row(x)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answer(rows)
    except Exception:  # each package has an error of its own
        return True
    return False


def without_refused(outputs: dict[str, Any], precision: str) -> dict[str, Any]:
    """Return a graph's outputs by name, with NaN for refused rows, or -1 in whole numbers."""
    masks = [r.mask for r in current_build().refused if r.mask is not None]
    if not masks:
        return outputs
    refused = masks[0]
    for mask in masks[1:]:
        refused = ops.logical_or(refused, mask)
    none = np.full(1, NO_CLASS, np.int64)
    if current_build().traced:  # in TensorFlow quicker than a choice
        kept = ops.cast(ops.logical_not(refused), precision)
    else:
        kept = ops.where(refused, np.zeros(1, precision), np.ones(1, precision))
    return {
        name: ops.where(_one_per_row(refused, y), none, y)
        if name in WHOLE
        # 0 / 0 gives NaN, which JSON cannot hold as a constant; other rows keep every bit.
        else y * _one_per_row(kept, y) / _one_per_row(kept, y)
        for name, y in outputs.items()
    }


def _one_per_row(values, y):
    """Return one value per row in a shape that broadcasts to y."""
    return ops.reshape(values, (-1, *(1 for _ in y.shape[1:]))) if len(y.shape) > 1 else values
