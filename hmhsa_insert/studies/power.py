"""How many seeds resolve which difference: the power of Student's test of paired differences, with the noise seen."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import scipy

from hmhsa_insert.studies.statistics import CONFIDENCE, Interval

POWER = 0.8
# More seeds than anyone trains are not counted.
MOST_SEEDS = 100_000


def power(n: int, difference: float, sd: float) -> float:
    """Return how often Student's two-sided test at 95 % finds a difference.

    Args:
        n: paired differences, at least two.
        difference: the true mean.
        sd: the true standard deviation of the differences, in the same unit, over zero.

    Source:
        The noncentral t distribution; Cohen, Statistical Power Analysis (1988), chapter 2.
    """
    critical = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    shift = abs(difference) / sd * np.sqrt(n)
    # Of the far side, which is beyond the reach of the noncentral distribution's series, less than 1e-12 is lost.
    beyond = scipy.stats.nct.cdf(-critical, n - 1, shift) if shift < 5 else 0.0
    return float(scipy.stats.nct.sf(critical, n - 1, shift) + beyond)


def seeds_to_resolve(difference: float, sd: float) -> int | None:
    """Return how many paired seeds find a true `difference` at 95 % with a power of 80 %; None above `MOST_SEEDS`.

    Args:
        difference: to be told from none, in either direction.
        sd: standard deviation of the paired differences, in the same unit.
    """
    if sd <= 0:
        return 2
    # With a normal distribution in place of Student's it would be these, a few too few.
    quantiles = scipy.stats.norm.ppf([(1 + CONFIDENCE) / 2, POWER])
    about = min(int((quantiles.sum() * sd / difference) ** 2), MOST_SEEDS - 1)
    low, high = max(1, about - 1), min(about + 4, MOST_SEEDS)
    if low > 1 and power(low, difference, sd) >= POWER:
        low = 1
    if power(high, difference, sd) < POWER:
        low, high = high, MOST_SEEDS
        if power(high, difference, sd) < POWER:
            return None
    while high - low > 1:  # too few, enough
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, difference, sd) >= POWER else (middle, high)
    return high


def sd_bounds(n: int) -> Interval:
    """Return between which multiples of the standard deviation of `n` normal differences the true one is, at 95 %."""
    quantiles = scipy.stats.chi2.ppf([(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2], n - 1)
    low, high = np.sqrt((n - 1) / quantiles)
    return float(low), float(high)


def least_difference(n: int, sd: float) -> float:
    """Return the smallest true difference that `n` paired seeds find at 95 % with a power of 80 %.

    Args:
        n: paired differences, at least two.
        sd: standard deviation of the differences; the result is in its unit.
    """
    return sd * _standardized(n)


@cache
def _standardized(n: int) -> float:
    """Return :func:`least_difference` for a standard deviation of one."""
    high = 40 / math.sqrt(n)  # 16 / √n with two seeds, 2.8 / √n with very many
    return float(scipy.optimize.brentq(lambda difference: power(n, difference, 1.0) - POWER, 0.0, high))
