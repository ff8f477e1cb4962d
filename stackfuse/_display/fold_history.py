"""Learning curves of networks, fold by fold."""

from typing import Any

from stackfuse._core import messages
from stackfuse._display import drawing


class FoldHistoryDisplay:
    """Learning curves of the networks among the bases, one line for each fold.

    Parameters
    ----------
    histories : dict of str to list of (dict of str to list of float, or None)
        For each base one entry per fold, as in ``oof.histories``: the values of each metric, one
        per epoch, or None where the fold has no history.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that ``plot`` drew on.
    figure_ : matplotlib Figure
        The figure of those axes.
    lines_ : dict of (str, int, str) to matplotlib Line2D
        The lines, by base, number of the fold and metric. Metrics of validation rows are dashed.

    Examples
    --------
    >>> import stackfuse as sf
    >>> shown = sf.FoldHistoryDisplay({"net": [{"loss": [0.9, 0.5]}, {"loss": [0.8, 0.6]}]}).plot()
    >>> sorted(shown.lines_)
    [('net', 0, 'loss'), ('net', 1, 'loss')]
    """

    ax_: Any
    figure_: Any
    lines_: dict[tuple[str, int, str], Any]

    def __init__(self, histories: dict[str, list[Any]]):
        self.histories = histories

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        name: str | None = None,
        metric: str = "loss",
        ax: Any = None,
        **kwargs: Any,
    ) -> "FoldHistoryDisplay":
        """Draw the learning curves of a fitted stack's networks.

        Parameters
        ----------
        estimator : StackingClassifier or StackingRegressor
            The fitted stack.
        name : str, default=None
            The base to draw. By default, all bases that have histories.
        metric : str, default="loss"
            The metric to draw, for training rows and, where a network has them, validation rows.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : FoldHistoryDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If no base has a history, or none has that name or metric.
        TypeError
            If the estimator is no stack.
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        drawing.check_stack(estimator)
        histories = estimator.oof_.histories
        return cls(histories).plot(ax, name=name, metric=metric, **kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, metric: str = "loss", **kwargs: Any
    ) -> "FoldHistoryDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        name : str, default=None
            The base to draw. By default, all bases that have histories.
        metric : str, default="loss"
            The metric to draw, for training rows and, where a network has them, validation rows.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : FoldHistoryDisplay
            This display.

        Raises
        ------
        ValueError
            If no base has a history, or none has that name or metric.
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no matplotlib Axes.
        """
        curves = self._curves(name, metric)
        self.ax_, self.figure_ = drawing.new_axes(ax)
        self.lines_ = {}
        names = list(dict.fromkeys(base for base, _, _ in curves))
        labels = dict(zip(names, drawing.labels_of(names)))
        for (base, fold, key), values in curves.items():
            validation = key.startswith("val_")
            first = not any(b == base and k == key for b, _, k in self.lines_)
            style: dict[str, Any] = {
                "color": f"C{names.index(base) % 10}",
                "linestyle": "--" if validation else "-",
                "alpha": 0.7,
                "label": f"{labels[base]}, {'validation' if validation else 'training'}"
                if first
                else None,
            }
            epochs = range(1, len(values) + 1)
            (line,) = self.ax_.plot(epochs, values, **{**style, **kwargs})
            self.lines_[base, fold, key] = line
        self.ax_.set_xlabel("epoch")
        self.ax_.set_ylabel(f"{metric}, one line for each fold")
        drawing.add_legend(self.ax_)
        return self

    def _curves(self, name: str | None, metric: str) -> dict[tuple[str, int, str], list[float]]:
        """Return the curves to draw, by base, fold and metric.

        Raises
        ------
        ValueError
            If that is nothing.
        """
        known = {base: kept for base, kept in self.histories.items() if any(kept)}
        if not known:
            raise ValueError(
                "No base has a training history; only KerasClassifier and KerasRegressor keep "
                "one. Use LeaderboardDisplay for other bases."
            )
        if name is not None and name not in known:
            raise ValueError(
                f"name must be {messages.listed(list(known))} (bases with a training history), got "
                f"{name!r}."
            )
        curves = {
            (base, fold, key): history[key]
            for base, kept in known.items()
            if name in (None, base)
            for fold, history in enumerate(kept)
            for key in (metric, f"val_{metric}")
            if history and key in history
        }
        if not curves:
            there = {key for kept in known.values() for one in kept for key in one or ()}
            told = sorted(key for key in there if not key.startswith("val_"))
            raise ValueError(f"metric must be {messages.listed(told)}, got {metric!r}.")
        return curves
