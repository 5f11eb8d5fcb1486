"""The spread of differences between seeds that a pilot shows: an earlier study, or runs of several seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hmhsa_insert.errors import Argument, Problem
from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.frame import value_of
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.runs import is_run, run_record
from hmhsa_insert.reports.study_comparisons import Comparison, comparisons
from hmhsa_insert.studies.outcomes import is_study, read_outcomes

_TIP = "give the folder of a study, or those of two runs or more that differ by their seed"


@dataclass(frozen=True)
class Spread:
    """A standard deviation of paired differences.

    Attributes:
        sd: in the unit of the score.
        degrees: of freedom.
        source: what it is from, in a few words.
    """

    sd: float
    degrees: int
    source: str


@dataclass(frozen=True)
class Pilot:
    """What is known of the noise before a study is run.

    Attributes:
        own: the spread of each comparison, by its variant and kind.
        pooled: over all of them; None without any.
        level: mean score of what is compared with; None: not known.
    """

    own: Mapping[tuple[str, str], Spread] = field(default_factory=dict)
    pooled: Spread | None = None
    level: float | None = None


def pilot_of(found: Sequence[Comparison], source: str) -> Pilot:
    """Return the spreads of comparisons.

    Args:
        found: of a study.
        source: what they are from.
    """
    known = [each for each in found if each.said is not None and each.said.sd]
    own: dict[tuple[str, str], Spread] = {}
    for each in known:
        assert each.said is not None
        spread = Spread(float(each.said.sd or 0), each.said.n - 1, f"{source}{each.said.n} pairs")
        own.setdefault((each.variant.label, each.kind), spread)
    scores = [score for each in found for score in each.other.scores]
    return Pilot(own, _pooled(own.values(), source), float(np.mean(scores)) if scores else None)


def read_pilot(folders: Sequence[Path], score: Quantity) -> Pilot:
    """Return what a study, or runs, say of the spread of a score.

    Runs that differ by nothing but their seed show the spread of the score itself; the difference of two independent
    trainings has √2 times that, and a paired one rarely more.

    Raises:
        ReportError: a folder is neither, or they show no spread.
    """
    problems = [
        Problem(Argument("pilot"), f"{folder} holds no study and no run", _TIP)
        for folder in folders
        if not (is_study(folder) or is_run(folder))
    ]
    if not problems and len({is_study(folder) for folder in folders}) > 1:
        problems.append(Problem(Argument("pilot"), "a study and runs are not taken together", _TIP))
    if problems:
        raise ReportError(problems)
    studies = [read_outcomes(folder) for folder in folders if is_study(folder)]
    if others := [each.score for each in studies if each.quantity.key != score.key]:
        raise ReportError(Problem(Argument("pilot"), f"it compares by {others[0]}, not by {score.key}", _TIP))
    found = pilot_of([each for study in studies for each in comparisons(study)], "pilot, ")
    if found.pooled is not None:
        return found
    of_seeds = [
        *(_by_seed(study.trials[study.trials["status"] == "done"], score.field) for study in studies),
        _of_runs([folder for folder in folders if is_run(folder)], score),
    ]
    samples = [sample for each in of_seeds for sample in each if len(sample) > 1]
    spreads = [Spread(math.sqrt(2) * float(np.std(each, ddof=1)), len(each) - 1, "") for each in samples]
    pooled = _pooled(spreads, "pilot, unpaired, ")
    if pooled is None or not pooled.sd:
        message = "it shows no spread between seeds: no two trainings in it differ by their seed alone"
        raise ReportError(Problem(Argument("pilot"), message, _TIP))
    return Pilot({}, pooled, float(np.mean([value for each in samples for value in each])))


def _by_seed(trials: Any, name: str) -> list[list[float]]:
    """Return the scores of each group and variant of a study's trials."""
    by_cell = trials.dropna(subset=[name]).groupby(["group", "variant"], sort=False)[name]
    return [[float(value) for value in values] for _, values in by_cell]


def _of_runs(folders: Iterable[Path], score: Quantity) -> list[list[float]]:
    """Return the scores of runs, those that differ by their seed alone together."""
    found: dict[str, dict[int, float]] = {}
    for folder in folders:
        record = run_record(folder)
        config, value = dict(record["run"]["config"]), value_of(record, score)
        seed = config.pop("seed", None)
        if value is not None:
            key = json.dumps(config, sort_keys=True, default=str)
            found.setdefault(key, {})[int(seed or 0)] = float(value)
    return [list(values.values()) for values in found.values()]


def _pooled(spreads: Iterable[Spread], source: str) -> Spread | None:
    """Return the spread over several comparisons: the root of the mean variance, weighted by degrees of freedom."""
    known = list(spreads)
    degrees = sum(each.degrees for each in known)
    if not degrees:
        return None
    mean = sum(each.degrees * each.sd**2 for each in known) / degrees
    one = len(known) == 1 and known[0].source
    return Spread(math.sqrt(mean), degrees, one or f"{source}{degrees} degrees of freedom")
