"""Suggest: which placements and widths of a block a budget allows, and which of them are worth a look.

Every set of stages, with the block at their last, every second or each block, at the network's own width and at
narrower ones, is resolved against the network; its cost is the plan's prediction, from closed formulas. Of those within
the budget the Pareto set is kept: no other puts attention on as many channels for less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from math import gcd
from typing import Any

from torch import nn

from hmhsa_insert.blocks import block_type
from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.limits import read_limit
from hmhsa_insert.costs.memory import training_memory
from hmhsa_insert.costs.suggested import Cost, CostLimits, Suggestion, Suggestions
from hmhsa_insert.errors import Argument, BlockError, PlanError, Problem
from hmhsa_insert.recipe import Recipe, load_recipe
from hmhsa_insert.surgery.apply import apply_plan
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.locate.no_maps import why_no_maps
from hmhsa_insert.surgery.locate.stages import Located, Stage, locate
from hmhsa_insert.surgery.plan import plan_located
from hmhsa_insert.surgery.proof.probe import Expressions
from hmhsa_insert.surgery.proof.rehearse import Settling
from hmhsa_insert.surgery.sites.resolve import resolve
from hmhsa_insert.surgery.sites.select import STAGES_TIP, Refusals

_CHOICES: dict[str, Any] = {"last": "last", "every2": {"every": 2}, "each": "each"}
_WIDTHS = (None, 64, 128, 256, 512)
_LARGEST_HEAD, _SMALLEST_HEAD = 64, 8

OnProgress = Callable[[int, int], None]


def budget(
    max_macs: str | float | None, max_params: str | float | None, max_memory: str | float | None
) -> Callable[[Cost], CostLimits]:
    """Return what gives the limits of a network from what it costs; +5 % MACs if nothing is limited.

    Raises:
        HmhsaInsertError: a limit cannot be read.
    """
    nothing = max_macs is None and max_params is None and max_memory is None
    macs = read_limit("+5%" if nothing else max_macs, "max_macs")
    params, memory = read_limit(max_params, "max_params"), read_limit(max_memory, "max_memory")

    def limits(cost: Cost) -> CostLimits:
        return CostLimits(
            num_params=params.over(cost.num_params) if params else None,
            macs=macs.over(cost.macs) if macs else None,
            saved_bytes=memory.over(cost.saved_bytes) if memory else None,
        )

    return limits


def search(
    model: nn.Module,
    input_size: InputSize,
    limits: Callable[[Cost], CostLimits],
    block: str = "hmhsa",
    *,
    memory: bool = False,
    progress: OnProgress | None = None,
) -> Suggestions:
    """Enumerate recipes that insert `block` into `model` and return the Pareto set of those within `limits`.

    Compared are multiply–accumulates, parameters, and saved bytes if asked for, against the channels that the blocks
    work on.

    Args:
        model: the network; shapes are enough.
        input_size: C, H, W of one image, or more, see :meth:`Inputs.of`.
        limits: returns what the edited network may cost, from what the network costs.
        block: a type that keeps the map's shape.
        memory: also say, and limit, the bytes saved for backward: each recipe is then carried out on fake tensors.
        progress: called with (recipes done, recipes in all) while they are carried out.

    Raises:
        BlockError: there is no such block, or it does not keep the shape.
        ModelError: the network cannot be traced.
        PlanError: it has no stages.
    """
    _check_shape(block)
    located = locate(model, input_size)
    stages = [stage for stage in located.stages if stage.index is not None and stage.index >= 1]
    if not stages:
        message = f"it has no stages to insert into: {why_no_maps(located)}"
        raise PlanError(Problem(type(model).__name__, message, STAGES_TIP))
    counts = count(model, input_size).per_sample
    base = Cost(counts.num_params, counts.macs, _saved_bytes(model, input_size) if memory else None)
    bounds = limits(base)
    expressions = Expressions(located.trace, model)
    priced = (_priced(model, located, recipe, base, expressions) for recipe in _recipes(stages, block))
    tried = _distinct(each for each in priced if each is not None)
    fitting = [each for each in tried if _fits(each.cost, bounds)]
    if not memory:
        fitting = pareto(fitting)
    fitting = _carried_out(model, located, fitting, memory, progress)
    found = pareto([each for each in fitting if _fits(each.cost, bounds)])
    cheapest = min(tried, key=lambda each: each.cost.macs, default=None)
    network = f"{type(model).__name__} at {located.trace.inputs}"
    return Suggestions(base, tuple(sorted(found, key=_order)), len(tried), cheapest, network)


def pareto(found: list[Suggestion]) -> list[Suggestion]:
    """Return those of `found` that no other beats: on as many channels, no cost higher, and something better."""
    scores = [_score(each) for each in found]
    return [
        each for each, mine in zip(found, scores, strict=True) if not any(_beats(s, mine) for s in scores)
    ]


def _score(each: Suggestion) -> tuple[float, ...]:
    """Return what is compared, less being better."""
    cost = each.cost
    return (-each.channels, cost.macs, cost.num_params, cost.saved_bytes or 0.0)


def _beats(score: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return score != other and all(a <= b for a, b in zip(score, other, strict=True))


def _order(each: Suggestion) -> tuple[int, int]:
    return (each.cost.macs, each.cost.num_params)


def _fits(cost: Cost, limits: CostLimits) -> bool:
    pairs = (
        (cost.num_params, limits.num_params),
        (cost.macs, limits.macs),
        (cost.saved_bytes, limits.saved_bytes),
    )
    return all(most is None or value is None or value <= most for value, most in pairs)


def _check_shape(block: str) -> None:
    if block_type(block).shape != "same":
        message = f"'{block}' does not keep the shape of a map, so it cannot be inserted"
        raise BlockError(Problem(Argument("block"), message, "`hmhsa-insert blocks` lists what there is"))


def _recipes(stages: list[Stage], block: str) -> Iterator[Recipe]:
    """Yield a recipe for every set of stages, choice of blocks and width."""
    options = block_type(block).options.model_fields
    for size in range(1, len(stages) + 1):
        for chosen in combinations(stages, size):
            channels = [point.channels for stage in chosen for point in stage.cut_points]
            for width in _WIDTHS if "width" in options else (None,):
                if width is not None and width >= min(channels):
                    continue
                spec: dict[str, Any] = {"type": block}
                if "head_dim" in options:
                    spec["head_dim"] = _head_dim(width or gcd(*channels))
                if width is not None:
                    spec["width"] = width
                for name in _CHOICES:
                    yield _recipe([stage.index for stage in chosen], name, spec)


def _head_dim(channels: int) -> int:
    """Return the paper's 64 where it divides `channels`, else the largest below that does, with at least 8."""
    heads = range(_LARGEST_HEAD, _SMALLEST_HEAD - 1, -1)
    return next((head for head in heads if channels % head == 0), _SMALLEST_HEAD)


def _recipe(stages: list[int | None], choice: str, block: dict[str, Any]) -> Recipe:
    kind = str(block["type"])
    width = f"-w{block['width']}" if "width" in block else ""
    name = f"{kind.replace('/', '-')}-s{''.join(map(str, stages))}-{choice}{width}"
    at = {"stage": stages, "block": _CHOICES[choice]}
    edit = {"op": "insert", "id": kind.replace("/", "_"), "at": at, "block": block, "init": "identity"}
    return load_recipe({"version": 1, "name": name, "edits": [edit]})


def _priced(
    model: nn.Module, located: Located, recipe: Recipe, base: Cost, expressions: Expressions
) -> Suggestion | None:
    """Return a recipe with the cost its plan predicts; None where it does not fit the network."""
    refusals = Refusals(recipe, [])
    (edit,) = recipe.edits
    settling = Settling(model, located, recipe, expressions)
    sites = resolve(located, model, edit, settling.first, refusals)
    if refusals.problems or not sites:
        return None
    width = (edit.block or {}).get("width")
    channels = sum(width or site.out_channels for site in sites)
    cost = Cost(base.num_params + sum(s.num_params for s in sites), base.macs + sum(s.macs for s in sites))
    return Suggestion(recipe, len(sites), channels, cost)


def _distinct(found: Iterable[Suggestion]) -> list[Suggestion]:
    """Return `found` without recipes that repeat another: every second of two blocks is the last one."""
    unique: dict[tuple[Any, ...], Suggestion] = {}
    for each in found:
        (edit,) = each.recipe.edits
        unique.setdefault(
            (str(edit.at.to_dict()["stage"]), repr(edit.block), each.num_blocks, each.cost), each
        )
    return list(unique.values())


def _carried_out(
    model: nn.Module,
    located: Located,
    found: list[Suggestion],
    memory: bool,
    progress: OnProgress | None,
) -> list[Suggestion]:
    """Return those that can be planned, with the bytes they save for backward if asked for."""
    size = located.trace.inputs
    done = []
    for number, each in enumerate(found, start=1):
        try:
            made = plan_located(model, located, each.recipe, [])
        except PlanError:
            continue
        if memory:
            saved = _saved_bytes(apply_plan(model, made), size)
            each = replace(each, cost=replace(each.cost, saved_bytes=saved))
        done.append(each)
        if progress:
            progress(number, len(found))
    return done


def _saved_bytes(model: nn.Module, input_size: InputSize) -> float:
    return training_memory(model, input_size).saved_bytes_per_image
