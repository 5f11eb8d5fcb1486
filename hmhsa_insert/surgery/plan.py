"""Plan: resolve a recipe against one network, without weights. Every refusal happens here, all together.

A plan that exists can be applied: it was rehearsed on a copy made of fake tensors, whose outputs have the shapes of
the base network's at every size that one takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hmhsa_insert.blocks import parse_options
from hmhsa_insert.errors import HmhsaInsertError, PlanError, Problem, RecipeError
from hmhsa_insert.recipe import Recipe, parse_recipe
from hmhsa_insert.surgery.fake import fake_copy
from hmhsa_insert.surgery.inputs import Inputs, InputSize, input_dtype, tensors_in
from hmhsa_insert.surgery.locate import Located, locate
from hmhsa_insert.surgery.resolve import resolve
from hmhsa_insert.surgery.select import STAGES_TIP, Refusals
from hmhsa_insert.surgery.site import Plan, Site
from hmhsa_insert.surgery.splice import ledgers, splice
from hmhsa_insert.surgery.stand_in import with_stand_ins
from hmhsa_insert.surgery.trace import output_shapes
from hmhsa_insert.surgery.wrapped import eagerly

_HOOKED = ("hook_output", "hook_input")
_ORDER = {"unstride": 0, "drop": 0, "swap": 0, "rewrite": 1, "hook_output": 2, "hook_input": 2}


def plan(
    model: nn.Module,
    recipe: str | Path | Mapping[str, Any],
    input_size: InputSize = (3, 224, 224),
    *,
    inputs: InputSize = None,
) -> Plan:
    """Resolve `recipe` against `model`; neither runs nor changes it, and allocates no weights.

    Args:
        model: the network.
        recipe: a path, the name of a shipped recipe, or a dict.
        input_size: ``(C, H, W)`` at which maps are measured, or more, see :meth:`Inputs.of`.
        inputs: in its place: example tensors, by position in a tuple, by name in a dict.

    Raises:
        RecipeError: the recipe has problems; those of its good edits on this network are reported with them.
        PlanError: the recipe does not fit the network: every refusal.
        ModelError: the network cannot be traced.
    """
    parsed, problems = read_recipe(recipe)
    return plan_located(model, locate(model, input_size if inputs is None else inputs), parsed, problems)


def read_recipe(recipe: str | Path | Mapping[str, Any]) -> tuple[Recipe, list[Problem]]:
    """Read a recipe as far as it goes; return it with its problems, those of blocks in wrong edits included.

    Raises:
        RecipeError: none of its edits can be planned: all its problems.
    """
    return checked_recipe(*parse_recipe(recipe))


def checked_recipe(parsed: Recipe, problems: list[Problem]) -> tuple[Recipe, list[Problem]]:
    """Do as :func:`read_recipe` with what ``parse_recipe`` returned."""
    for path, block in parsed.stray_blocks:
        for found in parse_options(block)[1]:
            problems.append(Problem(parsed.where((*path, *found.key)), found.message, found.tip))
    if not parsed.edits:
        raise RecipeError(problems)
    return parsed, problems


def plan_located(model: nn.Module, located: Located, recipe: Recipe, problems: list[Problem]) -> Plan:
    """Do as :func:`plan` for a recipe that is read and a network that is located already."""
    refusals = Refusals(recipe, list(problems))
    sites: list[Site] = []
    for edit in recipe.edits:
        before = len(refusals.problems)
        sites += (found := resolve(located, model, edit, refusals))
        if not found and len(refusals.problems) == before:
            refusals.add(edit, ("at",), "it is at no place of this network", STAGES_TIP)
    _refuse_conflicts(sites, recipe, refusals)
    _refuse_inserted(sites, model, recipe, refusals)
    if refusals.problems:
        raise (RecipeError if problems else PlanError)(refusals.problems)
    inputs = located.trace.inputs
    made = Plan(recipe.to_dict(), type(model).__name__, inputs, tuple(_ordered(sites)))
    _rehearse(model, made, located)
    return made


def _ordered(sites: list[Site]) -> list[Site]:
    """Return structural changes first; then inserts in list order, those that change the map last at their site."""
    return sorted(sites, key=lambda site: (_ORDER[site.action], not site.residual and site.action != "swap"))


def _refuse_conflicts(sites: list[Site], recipe: Recipe, refusals: Refusals) -> None:
    by_id = {edit.id: edit for edit in recipe.edits}
    taken: dict[str, str] = {}
    structural = [site for site in sites if site.action in ("swap", "drop")]
    for site in structural:
        other = next((n for n in taken if n == site.qualname or site.qualname.startswith(n + ".")), None)
        if other is not None:
            inside = "is" if other == site.qualname else f"is inside '{other}', which is"
            message = f"'{site.qualname}' {inside} taken by edit '{taken[other]}' already"
            refusals.add(by_id[site.edit], ("at",), message, "narrow one of the two with 'exclude'")
        taken.setdefault(site.qualname, site.edit)
    for site in sites:
        if site in structural:
            continue
        gone = next((n for n in taken if site.qualname.startswith(n + ".")), None)
        if gone is not None:
            message = f"'{site.qualname}' is inside '{gone}', which edit '{taken[gone]}' takes away"
            refusals.add(by_id[site.edit], ("at",), message, "narrow one of the two with 'exclude'")


def _refuse_inserted(sites: list[Site], model: nn.Module, recipe: Recipe, refusals: Refusals) -> None:
    """Refuse to take away what an earlier edit inserted: its host's hook would go on running it."""
    by_id = {edit.id: edit for edit in recipe.edits}
    done = (change.site for ledger in ledgers(model) for change in ledger.changes)
    inserted = {site.key for site in done if site.action.startswith("hook")}
    for site in sites:
        if site.action in ("swap", "drop") and site.qualname in inserted:
            message = f"'{site.qualname}' was put there by an earlier edit"
            refusals.add(by_id[site.edit], ("at",), message, "hi.remove takes earlier edits back")


def _rehearse(model: nn.Module, made: Plan, located: Located) -> None:
    """Apply the plan to a fake copy and run it.

    Raises:
        PlanError: it fails, changes the outputs' shapes, or runs an inserted block more often than its host.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.no_grad(), mode, eagerly():
        copy = fake_copy(model, mode)
        splice(copy, made)
        copy.eval()
        calls = _count_calls(copy, made)
        for size, wanted in ((t.inputs, output_shapes(t)) for t in (located.trace, located.other) if t):
            got = with_stand_ins(mode, partial(_run, copy, size, made, calls))
            if got != wanted:
                message = f"the edited network returns {got} on {size}; the base network {wanted}"
                raise PlanError(Problem(made.model, message))
            _refuse_run_again(made, calls)


def _count_calls(copy: nn.Module, made: Plan) -> Counter[str]:
    """Return the calls of every host and of every block hooked to one, which are counted from now on."""
    calls: Counter[str] = Counter()
    for name in {name for site in made.sites if site.action in _HOOKED for name in (site.qualname, site.key)}:
        copy.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: calls.update([name]))
    return calls


def _refuse_run_again(made: Plan, calls: Counter[str]) -> None:
    """Raise PlanError where a host's forward ran the child it was given besides the hook: identity would hide it."""
    for site in made.sites:
        if site.action in _HOOKED and calls[site.key] > calls[site.qualname]:
            message = f"its forward runs every child it has, and would run '{site.key}' once more"
            raise PlanError(Problem(site.qualname, message, f"choose a module inside of '{site.qualname}'"))


def _run(copy: nn.Module, size: Inputs, made: Plan, calls: Counter[str]) -> list[tuple[int, ...]]:
    calls.clear()
    device = next((p.device for p in copy.parameters()), torch.device("cpu"))
    args, kwargs = size.empty(input_dtype(copy), device)
    try:
        return [tuple(tensor.shape) for _, tensor in tensors_in(copy(*args, **kwargs))]
    except HmhsaInsertError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = f"the edited network fails on an input of {size}: {reason}"
        raise PlanError(Problem(made.model, message)) from error
