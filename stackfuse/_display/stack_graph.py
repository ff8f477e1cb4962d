"""The stack as a picture: inputs, bases, the columns that they contribute, the meta-learner."""

from collections.abc import Sequence
from typing import Any

from stackfuse._core import MultiInput, messages
from stackfuse._display import drawing

#: The most letters of a line in a box.
_LETTERS = 36


class StackGraphDisplay:
    """A stack as boxes and arrows: inputs, bases, columns, meta-learner, output.

    Parameters
    ----------
    bases : dict of str to str
        The class of each base, by its name.
    columns : dict of str to int
        The number of columns that each base contributes to the meta-learner's table.
    meta_learner : str
        The class of the meta-learner.
    inputs : sequence of str, default=("X",)
        The names of the inputs.
    passed : int, default=0
        The number of columns of X that the meta-learner sees too.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that ``plot`` drew on.
    figure_ : matplotlib Figure
        The figure of those axes.
    boxes_ : dict of str to matplotlib Text
        The boxes: ``"input"``, each base by its name, ``"columns"``, ``"meta-learner"`` and
        ``"output"``.
    arrows_ : dict of (str, str) to matplotlib Annotation
        The arrows, by the two boxes that they join.

    Examples
    --------
    >>> import stackfuse as sf
    >>> bases = {"net": "KerasClassifier", "forest": "RandomForestClassifier"}
    >>> shown = sf.StackGraphDisplay(bases, {"net": 3, "forest": 3}, "ConvexClassifier").plot()
    >>> shown.boxes_["columns"].get_text()
    '6 columns'
    """

    ax_: Any
    figure_: Any
    boxes_: dict[str, Any]
    arrows_: dict[tuple[str, str], Any]

    def __init__(
        self,
        bases: dict[str, str],
        columns: dict[str, int],
        meta_learner: str,
        *,
        inputs: Sequence[str] = ("X",),
        passed: int = 0,
    ):
        self.bases = bases
        self.columns = columns
        self.meta_learner = meta_learner
        self.inputs: list[str] = list(inputs)
        self.passed = passed

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, *, ax: Any = None, **kwargs: Any
    ) -> "StackGraphDisplay":
        """Draw a fitted stack.

        Parameters
        ----------
        estimator : StackingClassifier or StackingRegressor
            The fitted stack.
        X : array-like of shape (n_samples, ...), default=None
            Some rows. With them, the picture shows the names of their inputs and, for a stack with
            `passthrough`, the number of their columns that go to the meta-learner.
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``text`` of every box.

        Returns
        -------
        display : StackGraphDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is no stack.
        sklearn.exceptions.NotFittedError
            If the stack is not fitted.
        """
        drawing.check_stack(estimator)
        of_bases = estimator.oof_.columns
        kinds = {name: _kind(base) for name, base in estimator.named_estimators_.items()}
        columns = {name: sum(c.estimator == name for c in of_bases) for name in kinds}
        columns = {name: count for name, count in columns.items() if count}
        inputs = list(X.arrays) if isinstance(X, MultiInput) else ["X"]
        passed = 0 if X is None else estimator.transform(X).shape[1] - len(of_bases)
        display = cls(
            {name: kinds[name] for name in columns},
            columns,
            _kind(estimator.final_estimator_),
            inputs=inputs,
            passed=passed,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> "StackGraphDisplay":
        """Draw the boxes and arrows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. By default, new axes in a new figure.
        **kwargs : dict
            Passed to matplotlib's ``text`` of every box.

        Returns
        -------
        display : StackGraphDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `ax` is no matplotlib Axes.
        """
        n_bases = len(self.bases)
        self.ax_, self.figure_ = drawing.new_axes(ax, (10, 1.2 + 0.75 * max(n_bases, 2)))
        self.boxes_, self.arrows_ = {}, {}
        middle = (n_bases - 1) / 2
        total = sum(self.columns.values()) + self.passed
        self._box("input", 0.0, middle, "\n".join(drawing.labels_of(self.inputs)), kwargs)
        labels = drawing.labels_of(self.bases)
        for place, (name, kind) in enumerate(self.bases.items()):
            kind = kind.replace(" + ", " +\n") if len(kind) > _LETTERS else kind
            words = f"{labels[place]}\n{kind}" if name != kind else kind
            self._box(name, 1.5, n_bases - 1 - place, words, kwargs)
        self._box("columns", 3.0, middle, messages.counted(total, "column"), kwargs)
        self._box("meta-learner", 4.2, middle, self.meta_learner, kwargs)
        self._box("output", 5.4, middle, "prediction", kwargs)
        for name in self.bases:
            count = self.columns[name]
            self._arrow("input", name)
            self._arrow(name, "columns", messages.counted(count, "column"))
        if self.passed:
            self._arrow("input", "columns", f"{self.passed} of X", bend=0.12 * (n_bases + 1))
        self._arrow("columns", "meta-learner")
        self._arrow("meta-learner", "output")
        self.ax_.set(xlim=(-0.5, 5.9), ylim=(-0.7, n_bases - 0.3))
        self.ax_.set_axis_off()
        return self

    def _box(self, name: str, x: float, y: float, words: str, style: dict) -> None:
        look = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": "0.4"}
        fixed = {"ha": "center", "va": "center", "fontsize": 9, "bbox": look, "zorder": 3}
        self.boxes_[name] = self.ax_.text(x, y, messages.printable(words), **{**fixed, **style})

    def _arrow(self, start: str, end: str, words: str = "", *, bend: float = 0.0) -> None:
        one, other = self.boxes_[start], self.boxes_[end]
        (x0, y0), (x1, y1) = one.get_position(), other.get_position()
        look: dict[str, Any] = {
            "arrowstyle": "-|>",
            "color": "0.4",
            "connectionstyle": f"arc3,rad={bend}",
        }
        ends = {"patchA": one.get_bbox_patch(), "patchB": other.get_bbox_patch()}
        self.arrows_[start, end] = self.ax_.annotate(
            "",
            xy=(x1, y1),
            xytext=(x0, y0),
            arrowprops={**look, **ends, "shrinkA": 0, "shrinkB": 2},
            zorder=1,  # behind boxes that it passes
        )
        if words:
            x, y = x0 + 0.62 * (x1 - x0), y0 + 0.62 * (y1 - y0) - bend * (x1 - x0) / 3
            plain = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            self.ax_.text(x, y, words, ha="center", va="center", fontsize=8, bbox=plain, zorder=4)


def _kind(estimator) -> str:
    """Return the class of an estimator, or the classes of a pipeline's steps."""
    estimator = estimator[0] if isinstance(estimator, list) else estimator  # a model of each fold
    steps = getattr(estimator, "steps", None)
    parts = [step for _, step in steps] if steps else [estimator]
    return " + ".join(type(part).__name__ for part in parts if not isinstance(part, str))
