"""The errors that stackfuse raises, and what they say."""


class NotConvertible(TypeError):
    """An estimator that cannot become part of a Keras graph; the message says why."""


class ParityError(RuntimeError):
    """A graph that does not reproduce the estimator it was made from; nothing is written."""


class CannotTrainSideBySide(ValueError):
    """Replicas that cannot be trained side by side in one graph; the message says why."""


def message_of(error: BaseException) -> str:
    """Return the first line of what an error says."""
    try:
        return str(error).partition("\n")[0]
    except Exception as failure:
        return f"(its message cannot be shown: {type(failure).__name__})"
