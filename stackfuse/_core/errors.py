"""The errors that stackfuse raises, and the text of any error."""

import pickle

from stackfuse._core.messages import printable


class NotConvertible(TypeError):
    """Raised for an estimator that cannot become part of a Keras graph; the message says why.

    Examples
    --------
    >>> import stackfuse as sf
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import LocalOutlierFactor
    >>> X, y = load_iris(return_X_y=True)
    >>> try:
    ...     sf.to_keras(LocalOutlierFactor(novelty=True).fit(X))
    ... except sf.NotConvertible as error:
    ...     print(type(error).__name__)
    NotConvertible
    """


class ParityError(RuntimeError):
    """Raised if a graph does not reproduce its estimator; nothing is written then.

    Examples
    --------
    >>> import stackfuse as sf
    >>> raise sf.ParityError("The graph differs from the stack by 0.3 in row 7.")
    Traceback (most recent call last):
    ...
    stackfuse._core.errors.ParityError: The graph differs from the stack by 0.3 in row 7.
    """


class CannotTrainSideBySide(ValueError):
    """Raised if replicas cannot be trained side by side in one graph; the message says why."""


class OtherArchitecture(CannotTrainSideBySide):
    """Raised for a replica that can be trained side by side, but with others than these."""


class FitFailed(Exception):
    """Raised if the fit of one job failed, from the error of the fit.

    Parameters
    ----------
    place : str
        Which fit of its base estimator it was: ``"on fold 3"``, ``"on all rows"``, or ``""``.
    cause : Exception
        The error of the fit. It is kept here too: ``__cause__`` is lost between processes.
    """

    def __init__(self, place: str, cause: Exception):
        super().__init__(place, cause)
        self.place = place
        self.cause = cause

    def __reduce__(self):
        return type(self), (self.place, _picklable(self.cause))

    def make_picklable(self) -> None:
        """Replace the cause by one that can be pickled, before this goes to another process.

        With distributed imported, as LightGBM does if it is installed, an error is pickled together
        with its cause.
        """
        self.__cause__ = _picklable(self.cause).with_traceback(self.cause.__traceback__)
        self.__context__ = None


class EngineFailed(RuntimeError):
    """Raised if an engine can run no more jobs at all; no base estimator is to blame."""


class DiskFailed(EngineFailed, OSError):
    """Raised if what all bases share cannot be written; no base estimator is to blame."""


class ReplicaFailed(Exception):
    """Raised if one of the replicas that are trained side by side failed.

    Parameters
    ----------
    number : int
        The replica's place among them.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def _picklable(error: Exception) -> Exception:
    """Return the error, or if it cannot be pickled a RuntimeError with its message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # its class may do anything in __init__, __reduce__ or __setstate__
        return RuntimeError(f"{type(error).__name__}: {message_of(error)}")
    return error


def message_of(error: BaseException) -> str:
    """Return the first line of an error's message."""
    try:
        return printable(str(error).partition("\n")[0])
    except Exception as failure:
        return f"(its message cannot be shown: {type(failure).__name__})"
