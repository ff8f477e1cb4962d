"""Engines: how the fits of base estimators are run, and what an engine of your own needs.

An engine is an object with one method, ``run_jobs(jobs, data)``, which yields the number and the
:class:`FoldFit` of each :class:`FoldJob`. Pass it as ``StackingClassifier(..., engine=...)``.
:func:`stackfuse.testing.check_engine` says whether it computes what it must.

Examples
--------
The loop that defines what every engine has to compute is three lines:

>>> class Loop:
...     def run_jobs(self, jobs, data):
...         for number, job in enumerate(jobs):
...             yield number, job.run(data)
>>> import stackfuse as sf
>>> sf.testing.check_engine(Loop())
"""

from stackfuse._oof.engines import (
    Engine,
    Job,
    JoblibEngine,
    SequentialEngine,
    SideBySideEngine,
    engine_named,
    fit_many,
)
from stackfuse._oof.jobs import Data, Fold, FoldFit, FoldJob

__all__ = [
    "Data",
    "Engine",
    "Fold",
    "FoldFit",
    "FoldJob",
    "Job",
    "JoblibEngine",
    "SequentialEngine",
    "SideBySideEngine",
    "engine_named",
    "fit_many",
]
