"""Measure what the 95 % intervals of a study's report cover when a variant has no effect; few seeds, many studies.

    python benchmarks/coverage.py [--studies 4000] > hmhsa_insert/studies/coverage.csv

Each simulated study has n paired differences whose true mean is zero. Their law is normal for `t` and `bca`;
`t_worst` and `bca_worst` are the least over all laws tried: normal, Student's t with 3 degrees of freedom (heavy
tails), a centred exponential (skewed), and normal rounded to half a standard deviation (few validation images). A study
whose differences are all equal has no interval and counts as not covered. The statistics are the report's own.
"""

from __future__ import annotations

import argparse

import numpy as np

from hmhsa_insert.studies.statistics import paired

LAWS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, size=shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
    "rounded": lambda rng, shape: np.round(2 * rng.normal(size=shape)) / 2,
}
SIZES = range(2, 13)


def covered(law: str, n: int, studies: int) -> tuple[float, float | None]:
    rng = np.random.default_rng([n, list(LAWS).index(law)])
    found = paired(LAWS[law](rng, (studies, n)).tolist())
    hits = [
        np.mean([interval is not None and interval[0] <= 0 <= interval[1] for interval in intervals])
        for intervals in ([row.t for row in found], [row.bca for row in found])
    ]
    return float(hits[0]), float(hits[1]) if n > 2 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4000)
    studies = parser.parse_args().studies
    print("n,t,bca,t_worst,bca_worst,studies")
    for n in SIZES:
        shares = {law: covered(law, n, studies) for law in LAWS}
        t, bca = shares["normal"]
        t_worst = min(share for share, _ in shares.values())
        bca_worst = min((share for _, share in shares.values() if share is not None), default=None)
        cells = (t, bca, t_worst, bca_worst)
        print(n, *("" if cell is None else f"{cell:.3f}" for cell in cells), studies, sep=",", flush=True)


if __name__ == "__main__":
    main()
