"""Find: the prior over all candidates, a race of the best ones, and what the two say together."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray

from hmhsa_insert.placement.candidates import Candidates, recording_recipe
from hmhsa_insert.placement.finding import Finding, Raced
from hmhsa_insert.placement.prior import Progress, Scored, score
from hmhsa_insert.placement.race import Lead, lead, race, race_settings
from hmhsa_insert.training.reporter import OptimizerStep
from hmhsa_insert.training.task import Task

ENTRANTS, SHARE = 4, 0.25
# How many trainings of an unchanged network tell how far two trainings come apart by themselves.
_UNCHANGED = 3


def find(
    run: Task,
    candidates: Candidates,
    folder: Path,
    *,
    device: torch.device,
    entrants: int = ENTRANTS,
    share: float = SHARE,
    seconds: float = math.inf,
    progress: Progress | None = None,
) -> Finding:
    """Score all candidates, race the best, and say which of them lead by more than noise.

    Args:
        run: the whole training, without a recipe.
        candidates: of its network.
        folder: of the runs of the race; what was raced there before is not trained again.
        device: where the prior is computed.
        entrants: how many candidates to race: the best by the prior, and those of the most parameters; 0: none.
        share: of the optimizer steps of the training, for each entrant.
        seconds: after which no entrant is begun any more; at least one always is.
        progress: is called while it goes on.
    """
    began = time.monotonic()
    scored = score(run, candidates, device=device, progress=progress)
    if not entrants or not scored:
        return Finding(tuple(scored), refused=candidates.refused, folder=folder)
    updates = len(run.data.train) // run.settings.batch_size
    short = replace(run, settings=race_settings(run.settings, share, updates))
    chosen = _entrants(scored, entrants)
    stages = sorted({each.candidate.stage for each in scored})[-_UNCHANGED:]
    track = _Track(short, folder, 1 + len(stages) + len(chosen), progress)
    plain = track.losses("plain", None)
    noise = [lead(plain, track.losses(f"unchanged-s{stage}", recording_recipe([stage]))) for stage in stages]
    leads: list[tuple[Scored, Lead | None]] = []
    for each in chosen:
        if leads and time.monotonic() - began > seconds:
            break
        recipe = each.candidate.recipe
        leads.append((each, lead(plain, track.losses(str(recipe.name), recipe.to_dict()))))
    squares = [each.mean**2 for each in noise if each is not None]
    sd = math.sqrt(sum(squares) / len(squares)) if squares else None
    raced = [Raced(each, own, _p(own, sd, len(squares), len(leads))) for each, own in leads]
    raced.sort(key=lambda each: -each.lead.mean if each.lead else math.inf)
    return Finding(tuple(scored), tuple(raced), sd, len(plain), share, candidates.refused, folder)


class _Track:
    """Where entrants are raced, one after the other, with the progress over all of them."""

    def __init__(self, run: Task, folder: Path, entrants: int, progress: Progress | None) -> None:
        self._run, self._folder, self._entrants, self._progress = run, folder, entrants, progress
        self._done = 0

    def losses(self, name: str, recipe: Mapping[str, Any] | None) -> NDArray[np.float64]:
        """Race an entrant and return its training loss from update to update."""

        def watch(step: OptimizerStep) -> None:
            if self._progress is not None:
                part = (step.epoch - 1) * step.updates + step.update
                whole = step.epochs * step.updates
                self._progress(f"racing {name}", self._done * whole + part, self._entrants * whole)

        found = race(self._run, recipe, self._folder / name, watch)
        self._done += 1
        return found


def _entrants(scored: Sequence[Scored], number: int) -> list[Scored]:
    """Return the best by the prior and as many of the most parameters, one less if `number` is odd.

    Source: reports/score.md. Neither order finds the best block alone in every setting that was tried.
    """
    by_size = sorted(scored, key=lambda each: -each.candidate.num_params)
    best = list(scored[: -(-number // 2)])
    return best + [each for each in by_size if each not in best][: number - len(best)]


def _p(own: Lead | None, sd: float | None, number: int, entrants: int) -> float | None:
    """Return how likely a lead as large is between networks that do not differ.

    The leads of `number` unchanged networks, whose mean is known to be 0, have the standard deviation `sd`: their
    ratio is Student's t with as many degrees of freedom. Times the number of entrants (Bonferroni), at most 1.
    """
    if own is None or sd is None:
        return None
    if sd == 0:
        return 0.0 if own.mean else 1.0
    return min(1.0, float(2 * scipy.stats.t.sf(abs(own.mean) / sd, number)) * entrants)
