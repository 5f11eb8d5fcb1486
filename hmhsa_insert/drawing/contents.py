"""What a drawing shows, found in a network: its stages, their blocks, and where edits went in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from torch import nn

from hmhsa_insert.costs.count import Counts, count
from hmhsa_insert.costs.parts import Parts, named_stages, parts_of
from hmhsa_insert.drawing.data import Box, Column, Contents, Mark, Receptive
from hmhsa_insert.drawing.receptive import receptive_fields
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.edit.splice import ledgers
from hmhsa_insert.surgery.locate.maps import keyed
from hmhsa_insert.surgery.locate.stages import CutPoint, Located, locate
from hmhsa_insert.surgery.sites.site import INSIDE, Action, Site

VERBS: Mapping[Action, str] = {
    **dict.fromkeys(("hook_output", "hook_input", "expression", "graph", "rewrite"), "+"),
    "swap": "↔",
    "drop": "removed",
    "unstride": "stride 1",
}
# Modules of the last column that are named.
_MOST_OTHERS = 6


def contents_of(model: nn.Module, inputs: InputSize, base: nn.Module | None, name: str) -> Contents:
    """Look at `model`, and at the network that it was edited from, if there is one.

    Stages and blocks are those of the base network: what an edit adds may have maps of other sizes inside.
    """
    located = locate(model if base is None else base, inputs)
    columns = _columns(located)
    done = ledgers(model)
    marks = []
    for site in (change.site for ledger in done for change in ledger.changes):
        block = str(site.block["type"]) if site.block else ""
        mark = Mark(site.edit, f"{VERBS[site.action]} {block}".strip(), site.qualname, site.key)
        marks.append(mark)
        _place(mark, _position(site, located, len(done) == 1), columns)
    ends = [stage.cut_points[-1] for _, stage in named_stages(located)]
    if base is not None:
        for column, (share, sees) in zip(
            columns, _measured(base, located, located, columns, ends), strict=True
        ):
            column.share_before, column.sees_before = share, sees
    edited = located if base is None else locate(model, located.trace.inputs)
    for column, (share, sees) in zip(columns, _measured(model, located, edited, columns, ends), strict=True):
        column.share, column.sees = share, sees
    return Contents(name, str(located.trace.inputs), tuple(columns), tuple(marks))


def _columns(located: Located) -> list[Column]:
    """Return the stages with their blocks, and an empty column for what no stage holds."""
    positions = {node.name: int(node.meta["position"]) for node in located.trace.nodes}
    columns = []
    for name, stage in named_stages(located):
        entry = [(stage.entry, True)] if stage.entry else []
        points = [*entry, *((point, False) for point in stage.cut_points)]
        column = Column(
            name, stage.stride, f"{stage.channels}×{stage.height}×{stage.width}", stage.part == "neck"
        )
        column.boxes = [
            Box(point.qualname or point.node, positions[point.node], first) for point, first in points
        ]
        columns.append(column)
    return [*columns, Column("head" if columns else "whole network")]


def _measured(
    model: nn.Module, located: Located, own: Located, columns: Sequence[Column], ends: Sequence[CutPoint]
) -> list[tuple[float | None, Receptive | None]]:
    """Return the share of the MACs and the receptive field of every column, in `model`, of which `own` was found."""
    counts, parts = count(model, own.trace.inputs), parts_of(located)
    named = {column.name: _modules(column, parts) for column in columns}
    targets = [_found_again(point, located, own, columns) for point in ends]
    fields = receptive_fields(model, own, filter(None, targets))
    lost = Receptive(unknown="the map is not found again in the edited network")
    *stages, rest = columns
    shares = [counts.under(*named[column.name]).macs if named[column.name] else 0 for column in stages]
    others = _others(counts, [module for column in stages for module in named[column.name]])
    known = {box.name for box in rest.boxes}
    rest.boxes += [Box(module, 0) for module, _ in others.most_common(_MOST_OTHERS) if module not in known]
    seen: list[Receptive | None] = [fields[target] if target else lost for target in targets]
    whole = counts.macs or None
    return [
        (macs / whole if whole else None, sees)
        for macs, sees in zip([*shares, others.total()], [*seen, None], strict=True)
    ]


def _modules(column: Column, parts: Parts) -> tuple[str, ...]:
    keys = (mark.key for box in column.boxes for mark in box.marks if mark.key)
    return (*parts.get(column.name, ()), *keys)


def _others(counts: Counts, named: Sequence[str]) -> Counter[str]:
    """Return the MACs outside of the modules `named`, by the outermost modules."""
    macs: Counter[str] = Counter()
    for row in counts.by_module:
        if row.macs and not any(row.name == module or row.name.startswith(f"{module}.") for module in named):
            macs[row.name.partition(".")[0] or "(its own forward)"] += row.macs
    return macs


def _found_again(point: CutPoint, located: Located, own: Located, columns: Sequence[Column]) -> str | None:
    """Return the node of a stage's end in another trace, behind the edits there; None if it is not found."""
    if own is located:
        return point.node
    if point.host is not None:
        outputs = dict(output for call in own.trace.calls_of(point.host.qualname) for output in call.outputs)
        found = outputs.get(point.host.path)
        return found.name if found is not None else None
    key = next(key for key, node in keyed(located.trace) if node.name == point.node)
    node = dict(keyed(own.trace)).get(key)
    for mark in (mark for column in columns for box in column.boxes for mark in box.marks if mark.key):
        for call in own.trace.calls_of(mark.key):
            if node in call.inputs and call.outputs:
                node = call.outputs[0][1]
    return node.name if node is not None else None


def _position(site: Site, located: Located, first_edit: bool) -> int | None:
    """Return where in the trace of the base network a site is; None if that is not known."""
    calls = located.trace.calls_of(site.qualname) if site.qualname else []
    if calls and site.action not in INSIDE:
        return calls[0].last - 1 if site.action == "hook_output" else calls[0].first
    if first_edit:  # a later one names the nodes of another trace
        named = (node.meta["position"] for node in located.trace.nodes if node.name == site.node)
        return next(named, None)
    return None


def _place(mark: Mark, position: int | None, columns: Sequence[Column]) -> None:
    """Put a mark on the first block that ends there or later; what comes after all of them is in the last column."""
    *stages, rest = columns
    ends = (box for column in stages for box in column.boxes if position is not None and box.end >= position)
    box = next(ends, None)
    if box is None:
        box = Box(mark.where or mark.key, 0)
        rest.boxes.append(box)
    box.marks.append(mark)
