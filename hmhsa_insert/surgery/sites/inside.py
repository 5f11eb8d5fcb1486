"""Inside of a block: which residual branches are its own."""

from __future__ import annotations

from collections.abc import Sequence

from hmhsa_insert.surgery.locate.branches import Branch
from hmhsa_insert.surgery.locate.stages import CutPoint, Located, Stage


def branches_of_block(located: Located, branches: Sequence[Branch], stage: Stage, index: int) -> list[Branch]:
    """Return those of `branches` that begin and end between the map before a block and the map after it."""
    positions = {node.name: int(node.meta["position"]) for node in located.trace.nodes}
    before = _before(located, stage, index)
    first = positions[before.node] if before is not None else 0
    last = positions[stage.cut_points[index].node]
    return [
        branch
        for branch in branches
        if first <= branch.start.meta["position"] and first < branch.addition.meta["position"] <= last
    ]


def _before(located: Located, stage: Stage, index: int) -> CutPoint | None:
    """Return the map that a block begins with; None for the first block of a network, or of a neck."""
    stages = located.neck if stage.part == "neck" else located.stages
    number = stages.index(stage)
    if index:
        return stage.cut_points[index - 1]
    if stage.entry is not None or not number:
        return stage.entry
    return stages[number - 1].cut_points[-1]
