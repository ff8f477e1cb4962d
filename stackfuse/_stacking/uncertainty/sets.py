"""Sets of classes: which of them are likely enough."""

from typing import Any

import numpy as np

from stackfuse._core import fitting, messages
from stackfuse._stacking.fitted import final_has
from stackfuse._stacking.uncertainty.quantile import COVERAGE

METHODS = ("lac", "adaptive")

#: Probabilities are equal up to this. So a class that is so near to the limit is in the set, in the
#: stack as in an exported graph that computes in float32.
SLACK = 1e-6


class PredictsSets:
    """A stack that predicts sets of classes."""

    @fitting.available_if(final_has("predict_proba"))
    @fitting.of_one_fit
    def predict_set(self, X: Any, coverage: float = 0.9, *, method: str = "lac") -> np.ndarray:
        """Return sets that hold the classes of new rows with a given probability.

        How far off the stack is for rows that it has not seen is measured on its out-of-fold
        predictions: the meta-learner is trained anew for each fold, on the predictions for the
        other folds, and no base is fitted. This is done when sets are first asked for; see
        :meth:`calibrate`.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            New rows.
        coverage : float, default=0.9
            The probability, above 0 and below 1.
        method : {"lac", "adaptive"}, default="lac"
            "lac": all classes whose probability is above a limit, the same for all rows [1]_.
            These sets are the smallest on average; where the stack is right more often than is
            asked, some are empty. "adaptive": the most likely class, and from there on each class
            as long as all more likely ones together stay below a limit [2]_. No such set is empty,
            and rows that are hard get larger ones. It is the first method of [2]_ without its
            random numbers: the class itself is left out of the sum.

        Returns
        -------
        members : ndarray of bool, shape (n_samples, n_classes)
            Whether each class is in the set of a row, in the order of ``classes_``.

        Raises
        ------
        ValueError
            If there are too few rows for this coverage: 9 for 0.9, 19 for 0.95, 99 for 0.99; if y
            has several labels. Also if the rows of fit do not tell, as with bases that came
            fitted: see :meth:`calibrate`.

        Notes
        -----
        What is guaranteed, and what is not, is said in
        :meth:`StackingRegressor.predict_interval`. The coverage is one over all new rows; that of
        single classes may be lower or higher. Adaptive sets hold more than asked where the most
        likely class alone is right as often.

        A pipeline does not know this method: ``pipe[-1].predict_set(pipe[:-1].transform(X))``.

        References
        ----------
        .. [1] Sadinle, M., J. Lei and L. Wasserman. "Least ambiguous set-valued classifiers with
           bounded error levels." Journal of the American Statistical Association 114 (2019).
        .. [2] Romano, Y., M. Sesia and E. Candès. "Classification with valid and adaptive
           coverage." NeurIPS (2020).

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.naive_bayes import GaussianNB
        >>> import stackfuse as sf
        >>> X, y = load_iris(return_X_y=True)
        >>> bases = [("lr", LogisticRegression(max_iter=1000)), ("nb", GaussianNB())]
        >>> stack = sf.StackingClassifier(bases).fit(X, y)
        >>> stack.predict_set(X[[0, 77]], coverage=0.98)
        array([[ True, False, False],
               [False,  True,  True]])
        """
        stack: Any = self
        stack._check_is_fitted()
        return SetMaker(stack, coverage, method).outputs(stack, X)["set"].astype(bool)


class SetMaker:
    """Makes sets of probabilities; an exported graph makes them with the same limit.

    Parameters
    ----------
    stack : fitted StackingClassifier
    coverage : float
    method : {"lac", "adaptive"}

    Attributes
    ----------
    names : tuple of str
        The names of the outputs.
    bases : list of int
        The numbers of the bases that the meta-learner reads.
    settings : dict
        The coverage and the method.
    limit : float
        Scores up to this are those of members.
    slack : float
        Probabilities are equal up to this.
    """

    names = ("set",)
    slack = SLACK

    def __init__(self, stack, coverage, method: str = "lac"):
        fitting.check_settings({"coverage": coverage}, {"coverage": COVERAGE})
        if method not in METHODS:
            raise ValueError(
                f"method must be {messages.listed(METHODS)}, got {messages.in_short(method)}."
            )
        self.method, self.bases = method, stack.bases_read()
        self.settings = {"coverage": float(coverage), "method": method}
        calibration = stack._calibrated()
        scores = self._scores(calibration.predictions)
        own = scores[np.arange(len(scores)), calibration.y]
        self.limit = float(calibration.quantile(own, coverage)[0]) + SLACK

    def outputs(self, stack, X) -> dict[str, np.ndarray]:
        """Return by its name 1 for each class that is in the set of a row, else 0."""
        scores = self._scores(np.asarray(stack.predict_proba(X), np.float64))
        return {"set": (scores <= self.limit).astype(np.int64)}

    def _scores(self, chances: np.ndarray) -> np.ndarray:
        """Return how little each class fits each row."""
        if self.method == "lac":
            return 1.0 - chances
        scores = np.empty_like(chances)
        for k in range(chances.shape[1]):
            is_likelier = chances > chances[:, [k]] + SLACK
            scores[:, k] = np.where(is_likelier, chances, 0.0).sum(axis=1)
        return scores
