"""A table as every output writes it: cells of text with the values behind them, and notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Literal, TypeAlias

from hmhsa_insert.inert import html as escape
from hmhsa_insert.inert import visible

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text

Tone = Literal["", "good", "bad"]
WIDTH = 80


@dataclass(frozen=True)
class TableCell:
    """One cell.

    Attributes:
        text: what is printed.
        value: what it is sorted by; None where there is nothing.
        tone: whether it is good or bad news, which outputs with colors show.
    """

    text: str
    value: float | str | None
    tone: Tone = ""


@dataclass(frozen=True)
class TableRow:
    """One row.

    Attributes:
        cells: one per header.
        group: rows of one group are compared with each other.
        mark: the number of the note that says where a published row comes from; empty for what we measured.
    """

    cells: tuple[TableCell, ...]
    group: str
    mark: str = ""


@dataclass(frozen=True)
class Header:
    """The head of one column.

    Attributes:
        text: what is printed.
        numeric: whether it is aligned right, and sorted as a number.
        notes: what a reader must know of the column; printed below the table where the column is.
    """

    text: str
    numeric: bool
    notes: tuple[str, ...] = ()


Cell: TypeAlias = str | int | float | TableCell | None


@dataclass(frozen=True)
class Table:
    """A table, as every format is written from it.

    Attributes:
        title: what stands above it.
        headers: the heads of its columns.
        rows: its rows.
        notes: what a reader must know of the whole table; they come after the notes of the columns.
        folded: whether a page shows it at a click only, and a terminal only its title.
    """

    title: str
    headers: tuple[Header, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()
    folded: bool = False

    def shown(self) -> Table:
        """Return it without columns that have no value; the notes of those that are left are with its own."""
        kept = [
            place
            for place in range(len(self.headers))
            if not self.rows or any(row.cells[place].text for row in self.rows)
        ]
        headers = tuple(self.headers[place] for place in kept)
        notes = dict.fromkeys([*(note for header in headers for note in header.notes), *self.notes])
        rows = (replace(row, cells=tuple(row.cells[place] for place in kept)) for row in self.rows)
        bare = tuple(replace(header, notes=()) for header in headers)
        return replace(self, headers=bare, rows=tuple(rows), notes=tuple(notes))

    @classmethod
    def of(
        cls,
        title: str,
        headers: Iterable[Header],
        rows: Iterable[Sequence[Cell]],
        notes: Iterable[str] = (),
        folded: bool = False,
    ) -> Table:
        """Return a table of plain texts and numbers; None is an empty cell."""
        made = tuple(TableRow(tuple(map(_cell, row)), str(number)) for number, row in enumerate(rows))
        return cls(title, tuple(headers), made, tuple(notes), folded)


def left(text: str = "") -> Header:
    """Return the head of a column of texts."""
    return Header(text, numeric=False)


def right(text: str = "", *notes: str) -> Header:
    """Return the head of a column of numbers."""
    return Header(text, numeric=True, notes=notes)


def _cell(value: Cell) -> TableCell:
    if isinstance(value, TableCell):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return TableCell(f"{value:,}", value)
    return TableCell("" if value is None else str(value), value)


_STYLES: dict[Tone, str] = {"": "", "good": "green", "bad": "bold red"}


def rich_table(table: Table) -> RichTable:
    """Return a table for rich, without its title, which would be as narrow as the table.

    Texts are shown and never interpreted; columns without any value are left out.
    """
    table = table.shown()
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    named = any(header.text for header in table.headers)
    shown = RichTable(
        show_header=named, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=_natural_width(table) > WIDTH
    )
    for header in table.headers:
        justify: Literal["left", "right"] = "right" if header.numeric else "left"
        shown.add_column(Text(visible(header.text)), justify=justify, no_wrap=header.numeric, overflow="fold")
    before: TableRow | None = None
    for row in table.rows:
        shown.add_row(*_texts(row, before))
        before = row
    return shown


def _natural_width(table: Table) -> int:
    """Return how many columns of a terminal a table takes if no cell is wrapped, three between two cells."""
    from rich.cells import cell_len

    lines = [
        [header.text for header in table.headers],
        *([cell.text for cell in row.cells] for row in table.rows),
    ]
    return sum(3 + max(map(cell_len, column)) for column in zip(*lines, strict=True)) - 1


def _texts(row: TableRow, before: TableRow | None) -> list[Text]:
    """Return the cells of a row; a first cell that repeats the one above, in the same group, is left out."""
    from rich.text import Text

    texts = [Text(visible(cell.text), style=_STYLES[cell.tone]) for cell in row.cells]
    if row.mark:
        texts[0].append(f" [{row.mark}]")
    elif before is not None and before.group == row.group and before.cells[0] == row.cells[0]:
        texts[0] = Text("")
    return texts


def plain_text(tables: Iterable[Table], width: int = WIDTH) -> str:
    """Return tables with their notes as plain text of at most `width` columns."""
    from rich.console import Console
    from rich.text import Text

    file = StringIO()
    console = Console(
        file=file, width=width, color_system=None, force_terminal=False, force_jupyter=False, highlight=False
    )
    for table in (each.shown() for each in tables):
        if table.title:
            console.print(Text(visible(table.title)))
        if table.rows:
            console.print(rich_table(table))
        for note in table.notes:
            console.print(Text(visible(note)))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip("\n")


_COLORS: dict[Tone, str] = {"": "", "good": ";color:green", "bad": ";color:#b00020;font-weight:bold"}


def plain_html(tables: Iterable[Table]) -> str:
    """Return tables with their notes as HTML without script or style sheet, as a notebook shows it."""
    return "\n".join(line for table in tables for line in _html_lines(table))


def _html_lines(table: Table) -> list[str]:
    table = table.shown()
    lines = [f"<p><b>{escape(table.title)}</b></p>"] if table.title else []
    if table.rows:
        cells = "".join(f'<th style="{_side(each)}">{escape(each.text)}</th>' for each in table.headers)
        lines += ["<table>", f"<thead><tr>{cells}</tr></thead>", "<tbody>"]
        for row in table.rows:
            pairs = zip(row.cells, table.headers, strict=True)
            styled = (
                f'<td style="{_side(head)}{_COLORS[cell.tone]}">{escape(cell.text)}' for cell, head in pairs
            )
            lines.append(f"<tr>{''.join(f'{cell}</td>' for cell in styled)}</tr>")
        lines += ["</tbody>", "</table>"]
    return [*lines, *(f"<p>{escape(note)}</p>" for note in table.notes)]


def _side(header: Header) -> str:
    return f"text-align:{'right' if header.numeric else 'left'}"
