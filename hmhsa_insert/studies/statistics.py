"""What paired trainings say: the difference of a variant to its baseline, and how sure one can be of it.

The differences d₁ … d_n of n seeds are the sample: each is a variant's accuracy less its baseline's of the same seed.

- Two 95 % intervals of the mean difference: Student's t, and the bias-corrected and accelerated bootstrap (BCa; Efron
  1987, J. Am. Stat. Assoc. 82). With few seeds the bootstrap is too narrow: `coverage` says by how much, as measured.
- An exact sign-flip permutation test (Fisher 1935): were the variant no different, each d could as well have the other
  sign. With n seeds no p can be below 2/2ⁿ, which is shown beside it.
- McNemar's exact test (1947) of two networks on the same images: which of the two is right where only one is. It is
  about these two networks, not about other seeds of them.
- Holm's correction (1979, Scand. J. Statist. 6) where several differences are looked at: the chance that any of them is
  taken for real though none is stays at 5 %.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import scipy
from numpy.typing import NDArray

CONFIDENCE = 0.95
# A bootstrap's own noise is then a few hundredths of the interval's width; the draws are the same every time.
_RESAMPLES = 1999
_SEED = 20210616
# All sign flips are tried up to 2 to this power; of more, as many are drawn.
_MOST_EXACT = 16
_LEAST_BCA = 3
# Differences of accuracies that are equal must tie in the test, whatever their last bits.
_DIGITS = 9
# Rows that are resampled together: bounds the memory.
_CHUNK = 256

Sample = tuple[float, ...]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Paired:
    """What n paired differences say of their mean.

    Attributes:
        n: how many.
        mean: in the unit of the differences.
        sd: standard deviation (n − 1); None with one.
        t: Student's 95 % interval; None with one difference, and where all are equal.
        bca: the bootstrap's; None with fewer than three differences, and where all are equal: nothing to resample.
        p: of the two-sided sign-flip test.
        least_p: the smallest that n seeds can give.
    """

    n: int
    mean: float
    sd: float | None
    t: Interval | None
    bca: Interval | None
    p: float
    least_p: float

    @property
    def t_p(self) -> float | None:
        """Two-sided p of Student's test; None where there is no interval `t`, which holds zero where p is over 0.05."""
        if self.t is None or not self.sd:
            return None
        return float(2 * scipy.stats.t.sf(abs(self.mean) / (self.sd / np.sqrt(self.n)), self.n - 1))


@dataclass(frozen=True)
class McNemar:
    """Two networks on the same images.

    Attributes:
        lost: images that only the baseline classifies right.
        won: images that only the variant classifies right.
        p: two-sided, exact: of a fair coin for each such image.
    """

    lost: int
    won: int
    p: float


@dataclass(frozen=True)
class Coverage:
    """How often the 95 % intervals of `n` differences hold the true one, as shares measured by simulation.

    Attributes:
        n: seeds.
        t, bca: with normal differences.
        t_worst, bca_worst: with the differences, of those tried, that are worst for it.
    """

    n: int
    t: float
    bca: float | None
    t_worst: float
    bca_worst: float | None


def paired(samples: Sequence[Sequence[float]]) -> list[Paired]:
    """Return what each sample of paired differences says; equal samples give equal results, in any company.

    Args:
        samples: each of at least one difference.
    """
    known: dict[Sample, Paired] = {}
    wanted = [tuple(float(d) for d in sample) for sample in samples]
    for n in sorted({len(sample) for sample in wanted}):
        rows = sorted({sample for sample in wanted if len(sample) == n})
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            known.update(zip(chunk, _paired(chunk, n), strict=True))
    return [known[sample] for sample in wanted]


def mcnemar(baseline: NDArray[np.bool_], variant: NDArray[np.bool_]) -> McNemar:
    """Compare two networks on the same images, in the same order.

    Args:
        baseline: whether it classifies each image right.
        variant: the same of the other.
    """
    lost, won = int((baseline & ~variant).sum()), int((variant & ~baseline).sum())
    p = float(scipy.stats.binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0
    return McNemar(lost, won, p)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values corrected for their number, by Holm's step-down method.

    Args:
        ps: of all that is looked at, in any order.

    Returns:
        As many, in the same order, each at most 1: those up to 0.05 can be relied on together at 95 %.
    """
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted


def coverage(n: int) -> Coverage | None:
    """Return what the intervals of `n` differences cover, or those of the most seeds below `n` that were measured."""
    known = [row for row in _coverages() if row.n <= n]
    return max(known, key=lambda row: row.n, default=None)


@cache
def _coverages() -> tuple[Coverage, ...]:
    """Read what benchmarks/coverage.py wrote."""
    text = resources.files(__package__).joinpath("coverage.csv").read_text(encoding="utf-8")
    found = []
    for row in csv.DictReader(text.splitlines()):
        bca, bca_worst = (float(row[name]) if row[name] else None for name in ("bca", "bca_worst"))
        found.append(Coverage(int(row["n"]), float(row["t"]), bca, float(row["t_worst"]), bca_worst))
    return tuple(found)


def _paired(rows: list[Sample], n: int) -> list[Paired]:
    """Do as :func:`paired` for samples that all have `n` differences."""
    data = np.array(rows)
    means = data.mean(axis=1)
    p, least = _sign_flips(data)
    if n == 1:
        return [
            Paired(1, float(mean), None, None, None, float(q), least)
            for mean, q in zip(means, p, strict=True)
        ]
    deviations = data.std(axis=1, ddof=1)
    varies = np.ptp(data, axis=1) > 10.0**-_DIGITS
    half = deviations / np.sqrt(n) * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    bca = iter(_bca(data[varies]) if n >= _LEAST_BCA and varies.any() else [])
    found = []
    for place in range(len(rows)):
        mean, width, differs = float(means[place]), float(half[place]), bool(varies[place])
        t = (mean - width, mean + width) if differs else None
        found.append(
            Paired(
                n,
                mean,
                float(deviations[place]),
                t,
                next(bca, None) if differs else None,
                float(p[place]),
                least,
            )
        )
    return found


def _bca(data: NDArray[np.float64]) -> list[Interval]:
    """Return the BCa interval of the mean of every row; each row is resampled by the same draws."""
    found = scipy.stats.bootstrap(
        (data,),
        np.mean,
        axis=-1,
        vectorized=True,
        confidence_level=CONFIDENCE,
        n_resamples=_RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return list(zip(map(float, found.low), map(float, found.high), strict=True))


def _sign_flips(data: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the two-sided p of every row, and the least that there can be."""
    n = data.shape[1]
    if n == 1:  # both flips of one difference are as far from zero
        return np.ones(len(data)), 1.0
    found = scipy.stats.permutation_test(
        (data,),
        lambda values, axis: np.round(np.mean(values, axis=axis), _DIGITS),
        permutation_type="samples",
        vectorized=True,
        axis=-1,
        n_resamples=2**_MOST_EXACT,
        batch=2**10,
        rng=np.random.default_rng(_SEED),
    )
    is_exact = n <= _MOST_EXACT
    return np.minimum(1.0, found.pvalue), 2.0 ** (1 - n) if is_exact else 2 / (2**_MOST_EXACT + 1)
