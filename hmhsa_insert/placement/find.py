"""Find: the prior over all candidates, a race of the best ones, and what the two say together."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from hmhsa_insert.placement.candidates import Candidates, recording_recipe
from hmhsa_insert.placement.prior import Progress, Scored, score
from hmhsa_insert.placement.race import Lead, lead, race, race_settings
from hmhsa_insert.training.task import Task

# Of the trainings without a change that tell how far two trainings come apart by themselves.
_UNCHANGED = 3
_RISK = 0.05


@dataclass(frozen=True)
class Raced:
    """A candidate that was raced.

    Attributes:
        scored: what the prior says of it.
        lead: over the plain network; None after too few updates.
        p: of a lead like this between networks that are the same, corrected for the number of entrants; None where it
            is not known.
    """

    scored: Scored
    lead: Lead | None
    p: float | None

    @property
    def measurable(self) -> bool:
        """True if the lead is more than trainings of the same network come apart by."""
        return self.lead is not None and self.lead.mean > 0 and self.p is not None and self.p < _RISK


@dataclass(frozen=True)
class Finding:
    """What a pre-test of placements found.

    Attributes:
        scored: every block, by the prior, the largest gain first.
        raced: those that were raced, the largest lead first.
        apart: standard deviation of the leads of networks to which nothing was added that could help; None without a
            race.
        updates: of one entrant; 0 without a race.
        share: of the optimizer steps of a whole training.
    """

    scored: tuple[Scored, ...]
    raced: tuple[Raced, ...] = ()
    apart: float | None = None
    updates: int = 0
    share: float = 0.0

    @property
    def best(self) -> tuple[Raced, ...]:
        """Those that have a measurable lead, the largest first."""
        return tuple(each for each in self.raced if each.measurable)


def find(
    run: Task,
    candidates: Candidates,
    folder: Path,
    *,
    device: torch.device,
    entrants: int = 4,
    share: float = 0.25,
    seconds: float = math.inf,
    progress: Progress | None = None,
) -> Finding:
    """Score all candidates, race the best, and say which of them lead by more than noise.

    Args:
        run: the whole training, without a recipe.
        candidates: of its network.
        folder: of the runs of the race; what was raced there before is not trained again.
        device: where the prior is computed.
        entrants: how many candidates to race: the best by the prior, and that of the most parameters; 0: none.
        share: of the optimizer steps of the training, for each entrant.
        seconds: after which no entrant is begun any more; at least one always is.
        progress: is called while it goes on.
    """
    began = time.monotonic()
    scored = score(run, candidates, device=device, progress=progress)
    if not entrants or not scored:
        return Finding(tuple(scored))
    updates = len(run.data.train) // run.settings.batch_size
    short = replace(run, settings=race_settings(run.settings, share, updates))
    chosen = _entrants(scored, entrants)
    unchanged = sorted({each.candidate.stage for each in scored})[-_UNCHANGED:]
    whole = 1 + len(unchanged) + len(chosen)
    said = progress or (lambda what, done, whole: None)
    said("racing the plain network", 0, whole)
    plain = race(short, None, folder / "plain")
    apart = []
    for number, stage in enumerate(unchanged, start=1):
        said(f"racing the network with next to nothing after stage {stage}", number, whole)
        apart.append(lead(plain, race(short, recording_recipe([stage]), folder / f"unchanged-s{stage}")))
    leads: list[tuple[Scored, Lead | None]] = []
    for number, each in enumerate(chosen, start=1 + len(unchanged)):
        if leads and time.monotonic() - began > seconds:
            break
        said(f"racing {each.candidate.name}", number, whole)
        recipe = each.candidate.recipe
        leads.append((each, lead(plain, race(short, recipe.to_dict(), folder / str(recipe.name)))))
    noise = [each.mean for each in apart if each is not None]
    sd = float(np.sqrt(np.mean(np.square(noise)))) if noise else None
    raced = [Raced(each, own, _p(own, sd, len(noise), len(leads))) for each, own in leads]
    raced.sort(key=lambda each: -each.lead.mean if each.lead else math.inf)
    return Finding(tuple(scored), tuple(raced), sd, len(plain), share)


def _entrants(scored: Sequence[Scored], number: int) -> list[Scored]:
    """Return the best by the prior, the last of them for that of the most parameters, which ranks well too."""
    largest = max(scored, key=lambda each: each.candidate.num_params)
    best = list(scored[:number])
    if largest not in best:
        best[-1] = largest
    return best


def _p(own: Lead | None, sd: float | None, number: int, entrants: int) -> float | None:
    """Return how likely a lead as large is between networks that do not differ.

    The leads of `number` unchanged networks, whose mean is known to be 0, have the standard deviation `sd`: their
    ratio is Student's t with as many degrees of freedom. Times the number of entrants (Bonferroni), at most 1.
    """
    if own is None or sd is None:
        return None
    if sd == 0:
        return 0.0 if own.mean else 1.0
    return min(1.0, float(2 * stats.t.sf(abs(own.mean) / sd, number)) * entrants)
