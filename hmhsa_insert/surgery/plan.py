"""Plan: resolve a recipe against one network, without weights, or report every reason to refuse it.

A plan that exists can be applied: it was rehearsed on a copy made of fake tensors, and the outputs of that
copy have the shapes of the base network's outputs at every input size that was tried.
"""

from __future__ import annotations

import warnings

from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.blocks.in_recipe import read_recipe
from hmhsa_insert.errors import PlanError, Problem, RecipeError
from hmhsa_insert.recipe import Recipe, RecipeSource
from hmhsa_insert.surgery.base.given import inputs_of
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.edit.splice import ledgers
from hmhsa_insert.surgery.locate.stages import Located, locate
from hmhsa_insert.surgery.proof.rehearse import Settling
from hmhsa_insert.surgery.sites.resolve import resolve
from hmhsa_insert.surgery.sites.select import Refusals
from hmhsa_insert.surgery.sites.site import Plan, Site


@reads_arguments
def plan(
    model: nn.Module,
    recipe: RecipeSource,
    input_size: InputSize = (3, 224, 224),
    *,
    inputs: InputSize = None,
) -> Plan:
    """Find where each edit of a recipe applies in a model, without running the model or allocating weights.

    Args:
        model: the model to plan for; it is not changed.
        recipe: the path of a recipe file, the name of a shipped recipe, or a recipe as a dict.
        input_size: of the image at which feature maps are measured: 96 for a square, ``(H, W)`` or ``(C, H, W)``.
            For models with several inputs, see :meth:`Inputs.of`.
        inputs: example tensors, used instead of `input_size`: one, a tuple by position, or a dict by name.

    Returns:
        The plan: one site (the place where an edit applies) after another, with its new keys and its cost.

    Raises:
        RecipeError: the recipe cannot be read, or has invalid keys or values. What its valid edits cannot do
            in this model is listed too.
        PlanError: the recipe does not fit the model; the error lists every reason.
        ModelError: the model cannot be traced, copied or edited, or the inputs are not described correctly.
        BlockError: a block is too large to build.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> model = timm.create_model("test_resnet", num_classes=10)
        >>> plan = hi.plan(model, "stage3.yaml", input_size=(3, 64, 64))
        >>> [(site.key, site.inp.channels, site.num_params) for site in plan.sites]
        [('layer3.0.hmhsa', 192, 148224)]
    """
    parsed, problems = read_recipe(recipe)
    made = plan_located(model, locate(model, inputs_of(model, input_size, inputs)), parsed, problems)
    for doubt in made.doubts:
        warnings.warn(doubt, stacklevel=2)
    return made


def plan_located(model: nn.Module, located: Located, recipe: Recipe, problems: list[Problem]) -> Plan:
    """Plan a recipe that was read before, for a network that was located before; else as :func:`plan`."""
    refusals = Refusals(recipe, list(problems))
    settling = Settling(model, located, recipe)
    sites = [
        site for edit in recipe.edits for site in resolve(located, model, edit, settling.first, refusals)
    ]
    _refuse_conflicts(sites, recipe, refusals)
    _refuse_inserted(sites, model, recipe, refusals)
    if not refusals.problems:
        sites = settling.settle(sites, refusals)
    if refusals.problems:
        raise (RecipeError if problems else PlanError)(refusals.problems)
    return Plan(recipe.to_dict(), type(model).__name__, located.trace.inputs, tuple(sites))


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
        if site.qualname in taken and not site.in_tree:
            gone = site.qualname
        if gone is not None:
            message = f"its map is made inside '{gone}', which edit '{taken[gone]}' takes away"
            refusals.add(by_id[site.edit], ("at",), message, "narrow one of the two with 'exclude'")


def _refuse_inserted(sites: list[Site], model: nn.Module, recipe: Recipe, refusals: Refusals) -> None:
    """Refuse to take away what an earlier edit inserted: its host's hook would go on running it."""
    by_id = {edit.id: edit for edit in recipe.edits}
    done = (change.site for ledger in ledgers(model) for change in ledger.changes)
    inserted = {site.key for site in done if site.inserts}
    for site in sites:
        if site.action in ("swap", "drop") and site.qualname in inserted:
            message = f"'{site.qualname}' was put there by an earlier edit"
            refusals.add(by_id[site.edit], ("at",), message, "hi.remove takes earlier edits back")
