from . import page, rowwise
from .calibration import CalibrationDisplay
from .correlations import ErrorCorrelationDisplay
from .fold_history import FoldHistoryDisplay
from .leaderboard import LeaderboardDisplay
from .residuals import ResidualsDisplay
from .stack_graph import StackGraphDisplay
from .weights import WeightsDisplay

__all__ = [
    "CalibrationDisplay",
    "ErrorCorrelationDisplay",
    "FoldHistoryDisplay",
    "LeaderboardDisplay",
    "ResidualsDisplay",
    "StackGraphDisplay",
    "WeightsDisplay",
    "page",
    "rowwise",
]
