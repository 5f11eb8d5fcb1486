"""The prior: every candidate's alignment and its placebo's, from one recording of the network without blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from hmhsa_insert.placement.align import Alignment, align
from hmhsa_insert.placement.candidates import Candidate, Candidates
from hmhsa_insert.placement.record import record
from hmhsa_insert.placement.spill import Store
from hmhsa_insert.training.task import Task

# Called with what is done, how many of them are done, and how many there are.
Progress = Callable[[str, int, int], None]

BATCHES, STEPS, MEMORY = 12, 30, 2 * 2**30


@dataclass(frozen=True)
class Scored:
    """What the prior says of one candidate.

    Attributes:
        candidate: the block and its place.
        own: its alignment.
        placebo: that of its placebo; None where the block has no parameters that a placebo could have.
    """

    candidate: Candidate
    own: Alignment
    placebo: Alignment | None


def score(
    run: Task,
    candidates: Candidates,
    *,
    device: torch.device,
    batches: int = BATCHES,
    steps: int = STEPS,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> list[Scored]:
    """Return what the prior says of every block, the largest gain first.

    Args:
        run: the training whose first batches are recorded, without a recipe.
        candidates: of the network of the run.
        device: where network and blocks run.
        batches: how many to record: half to train the blocks on, half to score them on.
        steps: of the optimizer, for each block.
        memory: bytes of recorded maps and gradients that stay in memory; the rest goes to files.
        progress: is called while it goes on.
    """
    said = progress or (lambda what, done, whole: None)
    stages = {each.stage for each in candidates.all}
    with Store(memory) as store:
        found = record(
            run,
            stages,
            batches,
            store,
            device=device,
            progress=lambda done, whole: said("recording batches", done, whole),
        )
        aligned: dict[str, Alignment] = {}
        for number, each in enumerate(candidates.all):
            said(each.name, number, len(candidates.all))
            aligned[each.name] = align(each, found[each.stage], steps, run.seed, device)
    placebos = {each.control_of: aligned[each.name] for each in candidates.all if each.control_of}
    scored = [Scored(each, aligned[each.name], placebos.get(each.name)) for each in candidates.blocks]
    return sorted(scored, key=lambda each: -each.own.gain)
