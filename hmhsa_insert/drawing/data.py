"""What a drawing shows, as plain data: the stages of a network, their blocks, and where edits went in.

The record of a profile may carry it as JSON, and a page draws it from there, whoever wrote the file: nothing here needs
torch, and every field says what it may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter

from hmhsa_insert.files.shapes import Share

_Text = Annotated[str, Field(max_length=1000)]
_Pixels = Annotated[int, Field(ge=0, le=1 << 40)]
# Boxes and marks of a drawing that is read from a file, in all.
MOST_DRAWN = 5000


class _FromJson:
    """What lists and mappings are read as, where a shape around it takes exact types alone."""

    __pydantic_config__ = ConfigDict(strict=False)


@dataclass(frozen=True)
class Receptive(_FromJson):
    """The receptive field of the position at the centre of a map.

    Attributes:
        rows, cols: in pixels of the image; None: all of them.
        unknown: why it is not known; empty if it is.
    """

    rows: _Pixels | None = None
    cols: _Pixels | None = None
    unknown: _Text = ""

    def __str__(self) -> str:
        if self.unknown:
            return "not known"
        if self.rows is None and self.cols is None:
            return "whole map"
        rows, cols = ("all" if side is None else str(side) for side in (self.rows, self.cols))
        return f"{rows} px" if rows == cols else f"{rows}×{cols} px"


@dataclass(frozen=True)
class Mark(_FromJson):
    """One edit at one place.

    Attributes:
        edit: its id.
        label: what was done there: ``+ hmhsa``, ``stride 1``.
        where: the module that was edited.
        key: that of the new module; empty if there is none.
    """

    edit: _Text
    label: _Text
    where: _Text
    key: _Text


@dataclass
class Box(_FromJson):
    """One block of a stage, with the edits in it; `entry` for a downsampling layer in front of the blocks."""

    name: _Text
    end: int
    entry: bool = False
    marks: list[Mark] = field(default_factory=list)


@dataclass
class Column(_FromJson):
    """One stage, or what no stage holds.

    Attributes:
        name: ``stage 3``, ``neck 1``.
        stride: pixels of the image for each pixel of the map; 0 for what no stage holds.
        size: C×H×W of the map at its end; empty for what no stage holds.
        neck: whether it follows the backbone.
        boxes: its blocks in order.
        share: its part of all MACs, from 0 to 1; None where nothing is counted.
        sees: the receptive field of the map at its end.
        share_before, sees_before: those of the network before the edits; None if there is none, or no such stage.
    """

    name: _Text
    stride: _Pixels = 0
    size: _Text = ""
    neck: bool = False
    boxes: list[Box] = field(default_factory=list)
    share: Share | None = None
    sees: Receptive | None = None
    share_before: Share | None = None
    sees_before: Receptive | None = None


@dataclass(frozen=True)
class Contents(_FromJson):
    """A network as columns.

    Attributes:
        name: of the network.
        inputs: its input, as text.
        columns: in the order of the forward; what no stage holds comes last.
        marks: all edits, in the order in which they were made.
    """

    name: _Text
    inputs: _Text
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=200)]
    marks: tuple[Mark, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return asdict(self)

    @staticmethod
    def of(data: Mapping[str, Any]) -> Contents:
        """Return what :meth:`as_dict` gave."""
        return TypeAdapter(Contents).validate_python(data)


def drawable(contents: Contents) -> Contents:
    """Return `contents` of a file if a page can draw them: not too many, and every edit listed.

    Raises:
        ValueError: they are not; says why.
    """
    boxes = [box for column in contents.columns for box in column.boxes]
    marks = [mark for box in boxes for mark in box.marks]
    drawn = len(boxes) + len(marks) + len(contents.marks)
    if drawn > MOST_DRAWN:
        raise ValueError(f"a drawing has at most {MOST_DRAWN} blocks and edits, and this one {drawn}")
    listed = {mark.edit for mark in contents.marks}
    if not {mark.edit for mark in marks} <= listed:
        raise ValueError("a block of the drawing has an edit that is not among its edits")
    return contents
