"""What a pre-test found, over the drawing of the network: at the end of each stage the blocks that were tried there."""

from __future__ import annotations

from dataclasses import replace

from hmhsa_insert.drawing.contents import contents_of
from hmhsa_insert.drawing.data import Mark
from hmhsa_insert.drawing.draw import Drawing
from hmhsa_insert.drawing.layout import Layout
from hmhsa_insert.placement.finding import Finding, Raced
from hmhsa_insert.placement.prior import Scored
from hmhsa_insert.training.network import Base


def drawing_of(base: Base, name: str, found: Finding) -> Drawing:
    """Return the drawing of a network without blocks, each block that was tried marked with what was found of it.

    Args:
        base: the network.
        name: what it is called.
        found: of the pre-test.
    """
    raced = {each.scored.candidate.name: each for each in found.raced}
    contents = contents_of(base.model, base.size, None, f"{name}: {found.verdict}")
    columns = {column.name: column for column in contents.columns}
    marks = []
    for each in found.scored:
        mark = _mark(each, raced.get(each.candidate.name))
        columns[f"stage {each.candidate.stage}"].boxes[-1].marks.append(mark)
        marks.append(mark)
    contents = replace(contents, marks=tuple(marks))
    return Drawing(contents, Layout(contents).draw())


def _mark(each: Scored, raced: Raced | None) -> Mark:
    """Return one block's mark: its gain, and its lead in the race, with a tick if that is measurable."""
    said = f"gain {each.own.gain:.2g}"
    if raced is not None and raced.lead is not None:
        said += f", lead {raced.lead.mean:+.2g}{' ✓' * raced.measurable}"
    return Mark(each.candidate.name.rpartition("@")[0], said, each.candidate.site.qualname, "")
