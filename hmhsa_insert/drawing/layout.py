"""Where the contents of a drawing go on the sheet: stages as columns, blocks below each other, edits in color."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from hmhsa_insert.drawing.data import Box, Column, Contents, Mark
from hmhsa_insert.drawing.svg import COLORS, Sheet

_COLUMN, _GAP, _MARGIN = 190, 22, 16
_IN_A_ROW = 7
_BOX, _STEP = 20, 24
_HEADER, _FOOTER = 58, 100
_LINE = 18
# A run of more blocks without edits is drawn as its first and its last.
_LONGEST_RUN = 4


class Layout:
    """Draws contents on a sheet.

    Args:
        contents: what is drawn.

    Attributes:
        sheet: the sheet.
    """

    def __init__(self, contents: Contents) -> None:
        self.sheet = Sheet()
        self._contents = contents
        ids = list(dict.fromkeys(mark.edit for mark in contents.marks))
        self._colors = {edit: COLORS[number % len(COLORS)] for number, edit in enumerate(ids)}

    def draw(self) -> str:
        """Return the drawing as SVG."""
        contents = self._contents
        rows = list(_rows(contents.columns))
        width = 2 * _MARGIN + max(map(len, rows)) * (_COLUMN + _GAP) - _GAP
        self.sheet.label(_MARGIN, 28, contents.name, width - 2 * _MARGIN, 15, "hi-text hi-bold")
        about = f"input {contents.inputs}"
        self.sheet.label(_MARGIN, 46, about, width - 2 * _MARGIN, 11, "hi-dim")
        top = 60.0
        for row in rows:
            top = self._row(row, top)
        top = self._legend(top, width - 2 * _MARGIN)
        return self.sheet.svg(width, top + _MARGIN / 2, f"{contents.name}: its stages and edits")

    def _row(self, row: Sequence[Column], top: float) -> float:
        """Draw columns side by side; return where the next row begins."""
        stacks = [list(_stack(column.boxes)) for column in row]
        tall = max(
            sum(1 if isinstance(box, str) else 1 + len(box.marks) for box in stack) for stack in stacks
        )
        for number, (column, stack) in enumerate(zip(row, stacks, strict=True)):
            x = _MARGIN + number * (_COLUMN + _GAP)
            self._header(column, x, top)
            if number + 1 < len(row):
                self.sheet.line(x + _COLUMN + 4, top + 14, x + _COLUMN + _GAP - 4, top + 14)
            y = top + _HEADER
            for box in stack:
                y = self._box(box, x, y)
            self._numbers(column, x, top + _HEADER + tall * _STEP + 6)
        return top + _HEADER + tall * _STEP + _FOOTER

    def _header(self, column: Column, x: float, y: float) -> None:
        self.sheet.label(x, y + 18, column.name, _COLUMN, 13, "hi-text hi-bold")
        if column.stride:
            self.sheet.label(x, y + 34, column.size, _COLUMN, 12)
            self.sheet.label(
                x,
                y + 49,
                f"1/{column.stride} of the image" if column.stride > 1 else "size of the image",
                _COLUMN,
                11,
                "hi-dim",
            )

    def _box(self, box: Box | str, x: float, y: float) -> float:
        """Draw a block and the edits in it, or how many are left out; return where the next one begins."""
        if isinstance(box, str):
            self.sheet.label(x + 8, y + 14, box, _COLUMN - 16, 11, "hi-dim")
            return y + _STEP
        self.sheet.box(x, y, _COLUMN, _BOX, "hi-entry" if box.entry else "hi-box", title=box.name)
        self.sheet.label(x + 8, y + 14, box.name, _COLUMN - 16, 12, keep_end=True)
        y += _STEP
        for mark in box.marks:
            color = self._colors[mark.edit]
            at = f"{mark.edit}: {mark.label} at {mark.where or 'the network itself'}"
            self.sheet.box(x + 12, y, _COLUMN - 12, _BOX, "hi-edit", color, at)
            self.sheet.label(
                x + 20, y + 14, f"{mark.edit}: {mark.label}", _COLUMN - 28, 12, "hi-on", title=at
            )
            y += _STEP
        return y

    def _numbers(self, column: Column, x: float, y: float) -> None:
        """Draw the share of the MACs and the receptive field, below the blocks."""
        if column.share is not None:
            self.sheet.box(x, y, _COLUMN, 6, "hi-track")
            self.sheet.box(x, y, round(_COLUMN * column.share, 1), 6, "hi-bar")
            before = None if column.share_before is None else f"{column.share_before:.1%}"
            self._change("share of MACs", f"{column.share:.1%}", before, x, y + 20)
        if column.sees is not None:
            before = None if column.sees_before is None else str(column.sees_before)
            why = column.sees.unknown
            self._change("receptive field", str(column.sees), before, x, y + 52, why)

    def _change(self, name: str, now: str, before: str | None, x: float, y: float, title: str = "") -> None:
        self.sheet.label(x, y, name, _COLUMN, 10, "hi-dim")
        text = now if before in (None, now) else f"{before} → {now}"
        self.sheet.label(x, y + 15, text, _COLUMN, 12, title=title and f"{text}: {title}")

    def _legend(self, top: float, width: float) -> float:
        """Draw a line for each edit; return where the sheet ends."""
        places: dict[str, list[Mark]] = {edit: [] for edit in self._colors}
        for mark in self._contents.marks:
            places[mark.edit].append(mark)
        for edit, marks in places.items():
            self.sheet.box(_MARGIN, top - 10, 11, 11, "hi-edit", self._colors[edit])
            self.sheet.label(_MARGIN + 18, top, _in_words(edit, marks), width - 18, 12)
            top += _LINE
        return top


def _rows(columns: Sequence[Column]) -> Iterator[list[Column]]:
    """Yield the columns of each row: a neck begins a new one if all do not fit into the first."""
    if len(columns) <= _IN_A_ROW:
        yield list(columns)
        return
    for _, group in groupby(columns[:-1], key=lambda column: column.neck):
        part = list(group)
        if part[-1] is columns[-2]:
            part.append(columns[-1])
        yield from (part[start : start + _IN_A_ROW] for start in range(0, len(part), _IN_A_ROW))


def _stack(boxes: Sequence[Box]) -> Iterator[Box | str]:
    """Yield the boxes of a column, and for a long run of blocks without edits its first, how many, and its last."""
    for edited, group in groupby(boxes, key=lambda box: bool(box.marks)):
        run = list(group)
        if edited or len(run) <= _LONGEST_RUN:
            yield from run
        else:
            yield from (run[0], f"… {len(run) - 2} more …", run[-1])


def _in_words(edit: str, marks: Sequence[Mark]) -> str:
    labels = ", ".join(dict.fromkeys(mark.label for mark in marks))
    places = ", ".join(mark.where or "the network itself" for mark in marks)
    return f"{edit}: {labels}, {len(marks)} place{'s' if len(marks) != 1 else ''}: {places}"
