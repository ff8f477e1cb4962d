"""How many jobs the fits of a base become, from the time of their steps and the workers."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from stackfuse._core import errors
from stackfuse._oof.contributions import has_engine
from stackfuse._oof.engines.paused_fit import PausedFit, is_plain_network
from stackfuse._oof.jobs import Data, FoldJob
from stackfuse._training import eligibility


def in_groups(
    jobs: Sequence[FoldJob], data: Data, n_workers: int, n_networks: int = 1
) -> list[list[int]]:
    """Return the numbers of jobs in groups, each of which one worker runs.

    Fits in one group are trained side by side, which takes less work than fits one by one; fits in
    several groups are trained at once. The number of groups with the least time to the end is
    chosen. This time is ``ceil(networks x groups / workers)`` rounds, each as long as the longest
    group by :func:`eligibility.steps_of_fits`. Among equal numbers the largest is chosen, because a
    group is lost as a whole. The time of a network's step is estimated from its size; earlier fits
    do not matter.

    Parameters
    ----------
    jobs : sequence of FoldJob
        The jobs of an estimator with a network.
    data : Data
    n_workers : int
    n_networks : int, default=1
        Networks like this one that share the workers.
    """
    if has_engine(jobs[0].estimator):
        return [[number] for number in range(len(jobs))]
    n_jobs, steps = len(jobs), _steps_of(jobs[0], data)

    def time(k: int) -> float:
        longest = max(steps(math.ceil(n_jobs / k)), steps(n_jobs // k))
        return math.ceil(n_networks * k / n_workers) * longest

    n_groups = min(range(n_jobs, 0, -1), key=time)
    return [part.tolist() for part in np.array_split(np.arange(n_jobs), n_groups)]


def _steps_of(job: FoldJob, data: Data) -> Callable[[int], float]:
    """Return a function from a number of fits like a job to their time on one worker.

    A step in front of a network or around it may take long to be fitted, and is not timed. Such
    fits are sent one by one, as if all took equally long.
    """
    if not is_plain_network(job.estimator):
        return float
    drawn, fit = np.random.get_state(), PausedFit(replace(job, progress=nullcontext), data)
    try:
        fit.start()
        training = fit.training
        if training is None:
            return float
        try:
            eligibility.check_replica(training)
        except errors.CannotTrainSideBySide:
            return float
        steps = [eligibility.steps_of_fits(training, n) for n in range(eligibility.GROUP + 1)]
    finally:
        fit.close()
        np.random.set_state(drawn)
    return lambda n: (
        n // eligibility.GROUP * steps[eligibility.GROUP] + steps[n % eligibility.GROUP]
    )
