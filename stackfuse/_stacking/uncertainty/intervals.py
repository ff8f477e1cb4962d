"""Intervals for numbers: which errors they are made from, and how wide they are where."""

from typing import Any

import numpy as np

from stackfuse._core import fitting, messages
from stackfuse._stacking.fitted import final_has
from stackfuse._stacking.uncertainty.calibration import Calibration, base_columns
from stackfuse._stacking.uncertainty.quantile import COVERAGE

METHODS = ("absolute", "normalised", "quantile")


class PredictsIntervals:
    """A stack that predicts intervals."""

    @fitting.available_if(final_has("predict"))
    @fitting.of_one_fit
    def predict_interval(
        self,
        X: Any,
        coverage: float = 0.9,
        *,
        method: str = "absolute",
        bounds: tuple[str, str] | None = None,
    ) -> np.ndarray:
        """Return intervals that hold the targets of new rows with a given probability.

        How far off the stack is for rows that it has not seen is measured on its out-of-fold
        predictions: the meta-learner is trained anew for each fold, on the predictions for the
        other folds, and no base is fitted. This is done when intervals are first asked for; see
        :meth:`calibrate`.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            New rows.
        coverage : float, default=0.9
            The probability, above 0 and below 1.
        method : {"absolute", "normalised", "quantile"}, default="absolute"
            "absolute": the prediction plus and less the quantile of the absolute errors, the same
            width everywhere [1]_. "normalised": errors are divided by the standard deviation of
            the bases' predictions plus its mean, so that intervals are wide where the bases
            disagree [2]_. Bases of weight zero have no part in this, unless fewer than two are
            left. "quantile": two bases predict quantiles. Both are moved outwards, or inwards, by
            the quantile of how far the targets lay outside [3]_. The meta-learner has no part in
            these.
        bounds : (str, str), default=None
            The names of the bases that predict the lower and the upper quantile.

        Returns
        -------
        intervals : ndarray of shape (n_samples, 2) or (n_samples, n_outputs, 2), dtype float64
            The lower and the upper end. Several outputs are covered each by itself.

        Raises
        ------
        ValueError
            If there are too few rows for this coverage: 9 for 0.9, 19 for 0.95, 99 for 0.99. Also
            if the rows of fit do not tell, as with bases that came fitted: see :meth:`calibrate`.

        Notes
        -----
        The coverage is a mean over new rows, not one for each row. It assumes that new rows come
        from the same source as the rows of fit, in any order.

        After ``calibrate(X_new, y_new)`` the coverage is guaranteed, whatever the bases are [1]_.
        From out-of-fold predictions it is not, but near the one asked for if a few rows more or
        less hardly change the predictions [4]_. Two things move it: the refitted bases have seen
        more rows than those of the folds, so that intervals are a little too wide; and the
        meta-learner of a fold is trained on predictions by bases that have seen this fold, so
        that they are a little too narrow. The fewer the rows, the more both matter.

        With groups, the coverage is one for rows of new groups. With ``TimeSeriesSplit`` only
        later rows measure, and the coverage holds as far as the future is like them;
        ``calibrate(half_life=...)`` lets old rows count less.

        A pipeline does not know this method: ``pipe[-1].predict_interval(pipe[:-1].transform(X))``.

        References
        ----------
        .. [1] Lei, J. et al. "Distribution-free predictive inference for regression." Journal of
           the American Statistical Association 113 (2018): 1094-1111.
        .. [2] Papadopoulos, H. et al. "Regression conformal prediction with nearest neighbours."
           Journal of Artificial Intelligence Research 40 (2011): 815-840.
        .. [3] Romano, Y., E. Patterson and E. Candès. "Conformalized quantile regression." NeurIPS
           (2019).
        .. [4] Barber, R. F. et al. "Predictive inference with the jackknife+." The Annals of
           Statistics 49.1 (2021): 486-507.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import Ridge
        >>> from sklearn.neighbors import KNeighborsRegressor
        >>> import stackfuse as sf
        >>> X, y = load_diabetes(return_X_y=True)
        >>> stack = sf.StackingRegressor([("ridge", Ridge()), ("knn", KNeighborsRegressor())])
        >>> intervals = stack.fit(X[:300], y[:300]).predict_interval(X[300:], coverage=0.8)
        >>> intervals.shape
        (142, 2)
        >>> covered = (intervals[:, 0] <= y[300:]) & (y[300:] <= intervals[:, 1])
        >>> round(float(covered.mean()), 2)
        0.81
        """
        stack: Any = self
        stack._check_is_fitted()
        ends = IntervalMaker(stack, coverage, method, bounds).outputs(stack, X)
        return np.stack([ends["lower"], ends["upper"]], axis=-1)


class IntervalMaker:
    """Makes intervals of predictions; an exported graph makes them of the same numbers.

    Parameters
    ----------
    stack : fitted StackingRegressor
    coverage : float
    method : {"absolute", "normalised", "quantile"}
    bounds : (str, str) or None

    Attributes
    ----------
    names : tuple of str
        The names of the outputs.
    settings : dict
        The coverage and the method.
    is_flat : bool
        Whether y has one axis.
    bases : list of int
        The numbers of the bases that are asked: those that the meta-learner reads and those
        whose spread is taken, or the two of quantiles.
    places : list of list of int
        The columns of each base whose spread is taken, or of the two.
    margin : ndarray of shape (n_outputs,)
        The quantile of the scores.
    floor : ndarray of shape (n_outputs,) or None
        Added to the spread of the bases.
    """

    names = ("lower", "upper")

    def __init__(self, stack, coverage, method: str = "absolute", bounds=None):
        fitting.check_settings({"coverage": coverage}, {"coverage": COVERAGE})
        if method not in METHODS:
            raise ValueError(
                f"method must be {messages.listed(METHODS)}, got {messages.in_short(method)}."
            )
        self.method, self.floor = method, None
        self.settings = {"coverage": float(coverage), "method": method}
        self.n_outputs = int(np.prod(np.shape(stack.oof_.y)[1:], dtype=int))
        self.is_flat = np.ndim(stack.oof_.y) == 1
        self.bases, self.places = self._bases_asked(stack, bounds)
        calibration = stack._calibrated()
        self.margin = calibration.quantile(self._scores(calibration), coverage)

    @property
    def asks_final(self) -> bool:
        """Whether the meta-learner's prediction is the middle."""
        return self.method != "quantile"

    def outputs(self, stack, X) -> dict[str, np.ndarray]:
        """Return the ends of the intervals by their names."""
        table = stack._table_of(X, self.bases)
        said = stack.final_estimator_.predict(table) if self.asks_final else None
        table = base_columns(stack, table)
        low, high = self._middles(said, table)
        width = self.margin * self._scale(table)
        low, high = low - width, high + width
        crossed = low > high  # of quantiles that are moved inwards
        middle = (low + high) / 2
        low, high = np.where(crossed, middle, low), np.where(crossed, middle, high)
        pair = (low[:, 0], high[:, 0]) if self.is_flat else (low, high)
        return dict(zip(self.names, pair))

    def _scores(self, calibration: Calibration) -> np.ndarray:
        """Return how far each target lies outside, in units of the scale."""
        if self.method == "normalised":
            self.floor = self._spread(calibration.table).mean(axis=0)
            if not np.all(self.floor > 0):
                raise ValueError(
                    "method='normalised' divides errors by how much the bases disagree, but they "
                    "predict the same: use method='absolute'."
                )
        low, high = self._middles(calibration.predictions, calibration.table)
        y = calibration.y.reshape(len(low), -1)
        return np.maximum(low - y, y - high) / self._scale(calibration.table)

    def _middles(self, said, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what is moved down and what is moved up, each (n_samples, n_outputs)."""
        if self.asks_final:
            middle = np.asarray(said, np.float64).reshape(len(table), -1)
            return middle, middle
        low, high = (table[:, places] for places in self.places)
        return np.minimum(low, high), np.maximum(low, high)

    def _scale(self, table: np.ndarray) -> np.ndarray:
        """Return what errors are divided by."""
        if self.floor is None:
            return np.ones((1, 1))
        return self._spread(table) + self.floor

    def _spread(self, table: np.ndarray) -> np.ndarray:
        """Return the standard deviations of the bases' predictions."""
        return np.std([table[:, places] for places in self.places], axis=0)

    def _bases_asked(self, stack, bounds) -> tuple[list[int], list[list[int]]]:
        """Return the numbers of the bases that are asked, and the columns of those that predict."""
        columns = stack.oof_.columns
        names = [name for name, _ in stack._columns_by_base()]
        places = {
            name: [k for k, column in enumerate(columns) if column.estimator == name]
            for name in names
        }
        predict = [
            name
            for name in names
            if len(places[name]) == self.n_outputs and columns[places[name][0]].method == "predict"
        ]
        if self.method == "quantile":
            self._check_bounds(bounds, predict)
            return [names.index(name) for name in bounds], [places[name] for name in bounds]
        if bounds is not None:
            raise ValueError(
                f"bounds works only with method='quantile', but method is {self.method!r}. "
                "Leave bounds out."
            )
        read = stack.bases_read()
        if self.method == "absolute":
            return read, []
        if len(predict) < 2:
            raise ValueError(
                "method='normalised' needs two bases that predict the target, but this stack has "
                f"{len(predict)}: use method='absolute'."
            )
        with_weight = [name for name in predict if names.index(name) in read]
        asked = predict if len(with_weight) < 2 else with_weight
        numbers = sorted({*read, *map(names.index, asked)})
        return numbers, [places[name] for name in asked]

    def _check_bounds(self, bounds, predict: list[str]) -> None:
        pair = isinstance(bounds, list | tuple) and len(bounds) == 2 and bounds[0] != bounds[1]
        if not pair or not all(name in predict for name in bounds):
            raise ValueError(
                "method='quantile' needs bounds=(lower, upper), the names of two bases among "
                f"{predict} that predict quantiles, got {messages.in_short(bounds)}."
            )
