"""Dates as numbers: days since 1970, and where in the year, the week and the day they lie."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from stackfuse._core import fitting, sklearn_private
from stackfuse._steps.one_column import refuse_one_column

#: The unit of the numbers in a column of dates, as files and the command say it.
UNIT = "days since 1970-01-01"

#: Cycles by their names: the length in days, and how long before 1970 the first one began. Weeks
#: begin on Monday. Products with these lengths are exact in float32 too.
CYCLES = {"year": (365.25, 0.0), "week": (7.0, 3.0), "day": (1.0, 0.0)}

#: Days from 1970 up to which there are dates.
_MOST_DAYS = 1e8

_MICROSECONDS = 86_400e6


def is_dates(column: pd.Series) -> bool:
    """Whether a column holds dates, with a time zone or without."""
    return pd.api.types.is_datetime64_any_dtype(column.dtype)


def days_of(column: pd.Series) -> np.ndarray:
    """Return a column of dates as days since 1970, float64; missing ones are NaN.

    Dates with a time zone are taken in universal time.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert(None)
    return days_of_array(column.to_numpy())


def days_of_array(dates: np.ndarray) -> np.ndarray:
    """Return an array of ``datetime64`` as days since 1970, float64."""
    return (dates - np.datetime64(0, "D")) / np.timedelta64(1, "D")


def dates_of(days: np.ndarray, dtype: Any) -> pd.Series:
    """Return days since 1970 as a column of dates; what is no date, infinity say, is missing.

    Parameters
    ----------
    days : ndarray of shape (n_samples,)
    dtype : dtype
        One with a time zone gives dates in this zone.
    """
    known = np.abs(np.nan_to_num(days, nan=np.inf)) < _MOST_DAYS
    moments = np.round(np.where(known, days, 0.0) * _MICROSECONDS).astype(np.int64)
    column = pd.Series(moments.view("datetime64[us]")).where(known)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return column.dt.tz_localize("UTC").dt.tz_convert(dtype.tz)
    return column


def with_days(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with days since 1970 in place of dates."""
    places = [k for k in range(frame.shape[1]) if is_dates(frame.iloc[:, k])]
    if places:
        frame = frame.copy()
        for k in places:
            frame.isetitem(k, days_of(frame.iloc[:, k]))
    return frame


class DateParts(TransformerMixin, BaseEstimator):
    """Columns of dates as numbers: days since 1970, and the place in the year, week and day.

    It learns the names of the columns alone. In an exported stack, the graph takes days since 1970
    for a column of dates. Missing dates become NaN.

    Parameters
    ----------
    cyclic : bool, default=False
        Whether to give a place by its sine and cosine, so that December is near January. This is
        for linear models, neighbours and networks. By default, the place is the number of days
        since the beginning of the year (0 to 365.25), of the week (0 on Monday, to 7) or of the
        day (0 to 1): trees split these best. All years are 365.25 days long.

    Attributes
    ----------
    n_features_in_ : int
        The number of columns of X.
    feature_names_in_ : ndarray of str
        The names of the columns of a data frame.

    Examples
    --------
    >>> import pandas as pd, stackfuse as sf
    >>> dates = pd.DataFrame({"sold": pd.to_datetime(["1970-01-01 06:00", None])})
    >>> parts = sf.DateParts().set_output(transform="pandas").fit_transform(dates)
    >>> parts.iloc[0].to_dict()
    {'sold_days': 0.25, 'sold_year': 0.25, 'sold_week': 3.25, 'sold_day': 0.25}
    """

    def __init__(self, *, cyclic: bool = False):
        self.cyclic = cyclic

    def fit(self, X: Any, y: Any = None) -> "DateParts":
        """Learn the names of the columns.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Dates, or numbers of days since 1970.
        y : None, default=None
            Ignored.

        Returns
        -------
        self : DateParts
            The fitted transformer.

        Raises
        ------
        ValueError
            If a column holds neither dates nor numbers.
        """
        fitting.check_settings({"cyclic": self.cyclic}, {"cyclic": fitting.FLAG})
        self._days(X, reset=True)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the days of all columns, then their places in the year, the week and the day.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Dates, or numbers of days since 1970, in the columns of ``fit``.

        Returns
        -------
        parts : ndarray of shape (n_samples, 4 or 7 times n_features), float64
            4 numbers for each column, or 7 with `cyclic`.

        Raises
        ------
        ValueError
            If X has other columns than those of ``fit``, or holds neither dates nor numbers.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self)
        days = self._days(X, reset=False)
        parts = [days]
        for length, before in CYCLES.values():
            place = days + before
            place = place - np.floor(place / length) * length
            place = np.where(place < 0.0, place + length, place)  # the quotient was rounded up
            if self.cyclic:
                angle = place * (2.0 * np.pi / length)
                parts += [np.sin(angle), np.cos(angle)]
            else:
                parts.append(place)
        return np.hstack(parts)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the parts, such as ``sold_year``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            The names of the columns, if X is no data frame.

        Returns
        -------
        names : ndarray of str, shape (n_parts,)
            The names, in the order of the columns of ``transform``.
        """
        check_is_fitted(self)
        names = sklearn_private.check_feature_names_in(self, input_features)
        ways = ("_sin", "_cos") if self.cyclic else ("",)
        parts = ["days", *(f"{cycle}{way}" for cycle in CYCLES for way in ways)]
        return np.array([f"{name}_{part}" for part in parts for name in names], object)

    def _days(self, X, reset: bool) -> np.ndarray:
        refuse_one_column(self, X)
        if isinstance(X, pd.DataFrame) and len(X) and X.shape[1]:
            validate_data(self, X, reset=reset, skip_check_array=True)
            columns = [X.iloc[:, k] for k in range(X.shape[1])]
            return np.column_stack([self._days_of_one(column) for column in columns])
        X = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
        return days_of_array(X) if X.dtype.kind == "M" else X.astype(np.float64)

    def _days_of_one(self, column: pd.Series) -> np.ndarray:
        if is_dates(column):
            return days_of(column)
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            return column.to_numpy(np.float64, na_value=np.nan)
        raise ValueError(
            f"DateParts takes dates, but the column {column.name!r} holds {column.dtype} values. "
            "Convert them: pd.to_datetime(X[column])."
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
