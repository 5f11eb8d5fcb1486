"""Which modules make up each stage of a network, and which are inserted blocks: the rows of a profile by parts."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from hmhsa_insert.costs.count import ModuleCost
from hmhsa_insert.errors import ModelError
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.surgery.locate.stages import Located, Stage, locate

Parts = dict[str, tuple[str, ...]]


def stage_parts(model: nn.Module, inputs: InputSize) -> Parts:
    """Return the stages of `model` and the blocks that were inserted into it, each with its modules.

    A stage begins where the one before it ends: the downsampling into it is its own, the stem the first one's. Stages
    of a neck follow those of the backbone. An
    inserted block is a part by itself, under its key. A module belongs to the part that names it or its nearest
    ancestor; what no part names, such as the head, is elsewhere.

    Returns:
        Part -> qualified names; empty for a network that cannot be traced or has no stages.
    """
    try:
        parts = parts_of(locate(model, inputs))
    except ModelError:
        return {}
    return parts | {key: (key,) for key, _ in inserted_modules(model)} if parts else {}


def parts_of(located: Located) -> Parts:
    """Return the stages of a network that was located, each with its modules, inserted ones among them."""
    positions = {node.name: node.meta["position"] for node in located.trace.nodes}
    parts: Parts = {}
    start = 0
    for name, stage in named_stages(located):
        end = positions[stage.cut_points[-1].node] + 1
        parts[name] = (*parts.get(name, ()), *_modules_between(located, start, end))
        start = max(start, end)
    return parts


def module_parts(rows: tuple[ModuleCost, ...]) -> Parts:
    """Return every module as a part by itself; the model's own operations are elsewhere."""
    return {row.name: (row.name,) for row in rows if row.name}


def named_stages(located: Located) -> Iterator[tuple[str, Stage]]:
    """Yield the stages of a network with what they are called, those of the backbone first."""
    yield from ((stage.name, stage) for stage in located.stages)
    yield from ((f"neck {number}", stage) for number, stage in enumerate(located.neck, 1))


def _modules_between(located: Located, start: int, end: int) -> list[str]:
    """Return the modules that run between two graph positions and nowhere else, without those below another."""
    inside: dict[str, bool] = {}
    for call in located.trace.calls:
        if call.first == call.last:  # it computes nothing, and stands at the border of two stages as well
            continue
        within = start <= call.first and call.last <= end
        inside[call.qualname] = inside.get(call.qualname, True) and within
    names = [name for name, within in inside.items() if within and name]
    return [name for name in names if not any(inside.get(above) for above in _above(name))]


def _above(name: str) -> list[str]:
    parents = name.split(".")[:-1]
    return [".".join(parents[:count]) for count in range(1, len(parents) + 1)]
