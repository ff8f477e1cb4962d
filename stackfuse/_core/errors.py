"""The errors that stackfuse raises, and what they say."""

import pickle


class NotConvertible(TypeError):
    """An estimator that cannot become part of a Keras graph; the message says why."""


class ParityError(RuntimeError):
    """A graph that does not reproduce the estimator it was made from; nothing is written."""


class CannotTrainSideBySide(ValueError):
    """Replicas that cannot be trained side by side in one graph; the message says why."""


class OtherArchitecture(CannotTrainSideBySide):
    """A replica that cannot be trained beside these others, but could be beside others like it."""


class FitFailed(Exception):
    """The fit of one job failed; raised from what the fit raised.

    Parameters
    ----------
    place : str
        Which fit of its base estimator it was: ``"on fold 3"``, ``"on all rows"``, or ``""``.
    cause : Exception
        What the fit raised. Kept here too, since a traceback does not come back from a process.
    """

    def __init__(self, place: str, cause: Exception):
        super().__init__(place, cause)
        self.place = place
        self.cause = cause

    def __reduce__(self):
        return type(self), (self.place, _that_travels(self.cause))


class ReplicaFailed(Exception):
    """One of several replicas failed that were being trained side by side.

    Parameters
    ----------
    number : int
        Its place among them.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def _that_travels(error: Exception) -> Exception:
    """Return an error that can be pickled: where it cannot, another one with its message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does in __init__, __reduce__ or __setstate__
        return RuntimeError(f"{type(error).__name__}: {message_of(error)}")
    return error


def message_of(error: BaseException) -> str:
    """Return the first line of what an error says."""
    try:
        return str(error).partition("\n")[0]
    except Exception as failure:
        return f"(its message cannot be shown: {type(failure).__name__})"
