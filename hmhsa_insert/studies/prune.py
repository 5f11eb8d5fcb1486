"""Places learnt: a network with blocks at many places is trained, and those it misses least are taken away.

Of the blocks that began as the identity, ``y = x + γ·f(x)``, one at a time goes: the one without which (γ = 0) the loss
on the validation images rises least. |γ| says little about that: what f is scaled by is free. The rest is then trained
anew from the weights that every variant of the seed begins with. The whole network is a trial of its own, and is
trained once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hmhsa_insert.blocks import Residual
from hmhsa_insert.errors import PlanError, Problem
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.files.machine import is_first_process
from hmhsa_insert.files.shapes import checked
from hmhsa_insert.files.whole import write_text
from hmhsa_insert.inert import json_text
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.studies.cell import Cell, Trial
from hmhsa_insert.studies.identity import hash_of, resolved_site, trial_id
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.shapes import PrunedShape
from hmhsa_insert.studies.store import read_trial, trial_folder
from hmhsa_insert.surgery.apply import apply_plan
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.surgery.locate.stages import locate
from hmhsa_insert.surgery.plan import plan_located
from hmhsa_insert.surgery.sites.site import Plan, Site
from hmhsa_insert.training.run_folder import read_config
from hmhsa_insert.training.run_weights import fill, weights_file
from hmhsa_insert.training.score import ModelToScore, score
from hmhsa_insert.training.task import Task

LOSS = "val_loss"
_CHOSEN = "pruned"


def pruned_digest(digest: str, keep: int) -> str:
    """Return the identity of a pruned cell from that of the whole one."""
    return hash_of({"pruned from": digest, "keep": keep})


def whole_of(trial: Trial) -> Trial:
    """Return the trial of the network with all blocks that a pruned one comes from."""
    cell: Cell = replace(trial.cell, keep=0, digest=trial.cell.whole_digest, whole_digest="")
    return Trial(trial_id(cell.digest, trial.seed), cell, trial.seed)


def check_prunable(sites: Sequence[Site], keep: int, run: Task) -> None:
    """Refuse what cannot be pruned: no more blocks than are to be kept, or a task without a loss on validation images.

    Raises:
        PlanError: it cannot.
    """
    blocks = len(_blocks(sites))
    if blocks <= keep:
        message = f"prune: {keep} of {blocks} blocks that begin as the identity are to be left"
        raise PlanError(Problem("", message, "keep fewer, or insert at more places"))
    if LOSS not in run.columns:
        message = f"prune: the task '{run.task}' has no loss on validation images to choose by"
        raise PlanError(Problem("", message))


def pruned(folder: Path, trial: Trial, run: Task) -> Task:
    """Return the run of what is left, the whole network having been trained; what was chosen before is read.

    Args:
        folder: of the study.
        trial: that keeps some of the blocks.
        run: with all of them.

    Raises:
        StudyError: what was chosen before is damaged, or the whole network failed.
        PlanError: a block stands where no recipe can name it.
    """
    whole = whole_of(trial)
    if (known := read_trial(folder, whole.id)) is not None and known["status"] == "failed":
        raise StudyError(f"with all blocks: {known['message']}")
    base = run.base()
    made = plan_located(base.model, locate(base.model, base.size), load_recipe(dict(run.recipe or {})), [])
    path = folder / _CHOSEN / f"{trial.id}.json"
    if path.is_file():
        removed = removed_before(path)
    else:
        steps = list(_removals(_trained(run, trial_folder(folder, whole.id)), made, trial.cell.keep))
        removed = [name for name, _ in steps]
        said = {"whole": whole.id, "removed": [{"block": name, LOSS: loss} for name, loss in steps]}
        if is_first_process():
            path.parent.mkdir(exist_ok=True)
            write_text(path, json_text(said, indent=1), StudyError)
    recipe = remaining(made, removed, trial.cell.keep)
    again = plan_located(base.model, locate(base.model, base.size), load_recipe(recipe), [])
    if _places(again.sites) != _places(site for site in made.sites if site.key not in removed):
        message = "what is left of it cannot be written as a recipe: a block stands where none can name it"
        raise PlanError(Problem(str(recipe["name"]), message))
    return replace(run, recipe=recipe)


def removed_before(path: Path) -> list[str]:
    """Return the keys of the blocks that went, the first first, from the file that says so.

    Raises:
        StudyError: it is damaged.
    """
    found = checked(PrunedShape, read_json_mapping(path, StudyError), path, StudyError)
    return [step.block for step in found.removed]


def costs_of(run: Task) -> dict[str, int | float | None]:
    """Return what the network of a run costs for one image, by the fields of quantities."""
    base = run.base()
    plan = plan_located(base.model, locate(base.model, base.size), load_recipe(dict(run.recipe or {})), [])
    return run.costs(run.around(apply_plan(base.model, plan)))


def remaining(made: Plan, removed: Sequence[str], keep: int) -> dict[str, Any]:
    """Return the recipe of a plan without the blocks whose keys are in `removed`; its maps are named one by one."""
    recipe = dict(made.recipe)
    edits = []
    for edit in recipe["edits"]:
        own = [site for site in _blocks(made.sites) if site.edit == edit["id"]]
        left = [site.node for site in own if site.key not in removed]
        if not own:
            edits.append(edit)
        elif left:
            edits.append({**edit, "at": {"node": left}})
    return {**recipe, "name": f"{recipe['name']}-keep{keep}", "edits": edits}


def places_of(run: Task) -> str:
    """Return the maps where the blocks of a pruned run stand."""
    edits = run.recipe["edits"] if run.recipe is not None else ()
    return ", ".join(node for edit in edits for node in edit["at"].get("node", ()))


def _trained(run: Task, folder: Path) -> ModelToScore:
    """Return the whole network with its best weights."""
    file = weights_file(folder, "best")
    model = run.rebuilt(folder, read_config(folder), file)
    fill(model, file)
    return ModelToScore(folder.name, run, model, None)


def _removals(whole: ModelToScore, made: Plan, keep: int) -> Iterator[tuple[str, float]]:
    """Yield the blocks that go, the first first: each with the loss on the validation images without it."""
    keys = {site.key for site in _blocks(made.sites)}
    left = {key: module for key, module in inserted_modules(whole.model) if key in keys}
    while len(left) > keep:
        losses = {}
        for key, module in left.items():
            with silent(module):
                losses[key] = float(score(whole).row[LOSS] or 0.0)
        worst = min(losses, key=lambda key: losses[key])  # of equals the first
        _gamma(left.pop(worst)).data.zero_()
        yield worst, losses[worst]


@contextmanager
def silent(module: nn.Module) -> Iterator[None]:
    """Have an inserted block change nothing while the context lasts: γ = 0."""
    gamma = _gamma(module)
    before = gamma.detach().clone()
    with torch.no_grad():
        gamma.zero_()
    try:
        yield
    finally:
        with torch.no_grad():
            gamma.copy_(before)


def _gamma(module: nn.Module) -> nn.Parameter:
    assert isinstance(module, Residual)
    assert module.gamma is not None
    return module.gamma


def _blocks(sites: Sequence[Site]) -> list[Site]:
    return [site for site in sites if site.inserts and site.identity]


def _places(sites: Any) -> list[Mapping[str, Any]]:
    """Return what sites come to, but for their number in a host that has several."""
    return [{**resolved_site(site), "key": None} for site in sites]
