"""Print the tables of a report in 80 columns, and write reports to files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.whole import place_to_write, write_text
from hmhsa_insert.inert import visible
from hmhsa_insert.reports.formats import FORMATS, checked_format, format_of

if TYPE_CHECKING:
    from hmhsa_insert.reports.table import Table, TableRow

_ON_TERMINAL = "table"
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar=f"<{'|'.join((_ON_TERMINAL, *FORMATS))}>",
        help="Default: by the ending of FILE, else table.",
    ),
]


def format_asked_for(how: str | None, output: Path | None) -> str:
    """Return the format that a user asks for, by ``--format`` or by a file's ending; else that of the terminal.

    Raises:
        ReportError: there is no such format.
    """
    if how is None:
        return format_of(output.name) if output else _ON_TERMINAL
    return checked_format(how, _ON_TERMINAL)


def print_table(table: Table) -> None:
    """Print a table of a report, and its notes below it."""
    from hmhsa_insert.commands.console import out

    shown = RichTable(
        title=Text(visible(table.title)), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    # Columns without any value are left out.
    kept = [place for place in range(len(table.headers)) if any(row.cells[place].text for row in table.rows)]
    for header in (table.headers[place] for place in kept):
        shown.add_column(
            Text(header.text),
            justify="right" if header.numeric else "left",
            no_wrap=header.numeric,
            overflow="fold",
        )
    before: TableRow | None = None
    for row in table.rows:
        texts = _texts(row, before)
        shown.add_row(*(texts[place] for place in kept))
        before = row
    out.print(shown)
    for note in table.notes:
        out.print(Text(visible(note), style="dim"))
    out.print()


def _texts(row: TableRow, before: TableRow | None) -> list[Text]:
    """Return the cells of a row; a first cell that repeats the one above, in the same group, is left out."""
    texts = [Text(visible(cell.text)) for cell in row.cells]
    if row.mark:
        texts[0].append(f" [{row.mark}]")
    elif before is not None and before.group == row.group and before.cells[0] == row.cells[0]:
        texts[0] = Text("")
    return texts


def check_writable_file(path: Path | None) -> None:
    """Refuse before any work is done if a report cannot be written at `path`.

    Raises:
        HmhsaInsertError: it is not a regular file, or its own folder does not exist.
    """
    if path is None:
        return
    target = place_to_write(path, HmhsaInsertError)
    if not target.parent.is_dir():
        raise HmhsaInsertError(Problem(str(path), f"there is no folder '{path.parent}'", "make it first"))


def deliver(text: str, path: Path | None) -> None:
    """Write a report to `path`, or print it unchanged.

    Raises:
        HmhsaInsertError: it cannot be written.
    """
    from hmhsa_insert.commands.console import out, wrote

    if path is None:
        print(text, end="", file=out.file)  # not out.print, which would wrap it
        return
    write_text(path, text, HmhsaInsertError)
    wrote(path)
