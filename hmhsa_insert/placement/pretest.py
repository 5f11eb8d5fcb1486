"""The pre-test of placements: from a network and data by name to what was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.blocks import block_type
from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.suggested import Cost, CostLimits
from hmhsa_insert.errors import Argument, HmhsaInsertError, PlanError, Problem
from hmhsa_insert.placement.candidates import Candidate, Candidates, find_candidates
from hmhsa_insert.placement.drawn import drawing_of
from hmhsa_insert.placement.find import ENTRANTS, SHARE, find
from hmhsa_insert.placement.finding import Finding
from hmhsa_insert.placement.prior import Progress
from hmhsa_insert.surgery.locate.stages import locate
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.processes import make_accelerator
from hmhsa_insert.training.run_folder import folder_name
from hmhsa_insert.training.task import Task


def pretest(
    model: str | Path | nn.Module,
    data: Any,
    blocks: Sequence[str | Mapping[str, Any]] = ("hmhsa",),
    *,
    folder: str | Path | None = None,
    entrants: int = ENTRANTS,
    share: float = SHARE,
    seconds: float = math.inf,
    limits: Callable[[Cost], CostLimits] | None = None,
    progress: Progress | None = None,
    **training: Any,
) -> Finding:
    """Find where a block may pay, in minutes: score every block at every stage, and race the best.

    Args:
        model: as of :func:`~hmhsa_insert.training.run.train`.
        data: as of ``train``.
        blocks: types, or blocks as a recipe writes them.
        folder: of the runs of the race, where what was found is written as well; None: in ``runs/``. What was raced
            there before is not trained again.
        entrants: how many blocks to race; 0: none.
        share: of the optimizer steps of a whole training, for each of them; above 0 and at most 1.
        seconds: after which no block is begun to be raced; the first always is.
        limits: returns what the edited network may cost, from what the network costs; what is above is left out.
        progress: is called with what is done, and how much of how much of it.
        training: the other arguments of ``train``, apart from the recipe.

    Raises:
        HmhsaInsertError: as ``train``; none of the blocks fits the network within the limits.
    """
    _check(entrants, share)
    run: Task = plan_run(model, data, **training)
    base = run.base()
    found = find_candidates(base.model, locate(base.model, base.size), [_spec(block) for block in blocks])
    if limits is not None:
        counts = count(base.model, base.size).per_sample
        found = _within(found, limits, Cost(counts.num_params, counts.macs))
    if not found.all:
        raise PlanError([Problem(name, why) for name, why in found.refused.items()] or _NO_STAGES)
    where = Path("runs") / folder_name(f"suggest-{run.name}") if folder is None else Path(folder)
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HmhsaInsertError(Problem(str(where), f"cannot be written: {error.strerror}")) from error
    tried = find(
        run,
        found,
        where,
        device=make_accelerator(run.settings).device,
        entrants=entrants,
        share=share,
        seconds=seconds,
        progress=progress,
    )
    tried = replace(tried, drawing=drawing_of(base, run.name, tried))
    tried.save()
    return tried


def _check(entrants: int, share: float) -> None:
    """Refuse a number of entrants or a share that is none."""
    problems = []
    if entrants < 0:
        problems.append(Problem(Argument("entrants"), f"must be 0 or more, found {entrants}"))
    if not 0 < share <= 1:
        problems.append(Problem(Argument("share"), f"must be above 0 and at most 1, found {share}"))
    if problems:
        raise HmhsaInsertError(problems)


_NO_STAGES = Problem("model", "the network has no stage that a block could stand at the end of")


def _spec(block: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return a block as a recipe writes it; of a type alone with heads of a size that divides the channels."""
    if not isinstance(block, str):
        return dict(block)
    heads = {"head_dim": "auto"} if "head_dim" in block_type(block).options.model_fields else {}
    return {"type": block, **heads}


def _within(found: Candidates, limits: Callable[[Cost], CostLimits], base: Cost) -> Candidates:
    """Leave out the blocks that make the network cost more than it may, and their placebos."""
    most, refused = limits(base), dict(found.refused)

    def too_much(each: Candidate) -> bool:
        macs, params = base.macs + each.macs, base.num_params + each.num_params
        return (most.macs is not None and macs > most.macs) or (
            most.num_params is not None and params > most.num_params
        )

    for each in found.blocks:
        if too_much(each):
            refused[each.name] = (
                f"costs {each.macs:,} MACs and {each.num_params:,} parameters: over the limit"
            )
    kept = (each for each in found.all if (each.control_of or each.name) not in refused)
    return replace(found, all=tuple(kept), refused=refused)
