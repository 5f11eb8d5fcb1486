"""Print the tables of a report in 80 columns, and write reports to files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem
from hmhsa_insert.files.whole import write_text
from hmhsa_insert.inert import visible
from hmhsa_insert.reports.formats import FORMATS, checked_format, format_of
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.tables import rich_table

if TYPE_CHECKING:
    from rich.console import Console

    from hmhsa_insert.printed import Printed
    from hmhsa_insert.reports.listing import Listing
    from hmhsa_insert.surgery.base.load import LoadedModel
    from hmhsa_insert.tables import Table

_ON_TERMINAL = "table"
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar=f"<{'|'.join((_ON_TERMINAL, *FORMATS))}>",
        help="Default: by the ending of FILE, else table.",
    ),
]


def format_asked_for(how: str | None, output: Path | None, json: bool) -> str:
    """Return the format that a user asks for, by ``--json``, ``--format`` or a file's ending; else the terminal's.

    Raises:
        ReportError: there is no such format, or two are asked for.
    """
    if json:
        if how not in (None, "json"):
            raise ReportError(
                Problem(Argument("how"), f"two formats: json and {how}", "give it or `json=True`")
            )
        return "json"
    if how is None:
        return format_of(output.name) if output else _ON_TERMINAL
    return checked_format(how, _ON_TERMINAL)


def print_parts(parts: Iterable[Table | Listing]) -> None:
    """Print the tables and the text of a report; of folded tables the titles, and how to see them."""
    from hmhsa_insert.commands.console import notes, out
    from hmhsa_insert.reports.listing import Listing

    folded = []
    for part in parts:
        if isinstance(part, Listing):
            out.print(
                Text(visible(part.title)), Text(visible(part.text, lines=True)), sep="\n", soft_wrap=True
            )
        elif part.folded:
            folded.append(visible(part.title))
        else:
            print_table(part)
    if folded:
        notes.print(Text(f"Also in `report … -o FILE.html`: {'; '.join(folded)}", style="dim"))


def print_table(table: Table, on: Console | None = None) -> None:
    """Print a table of a report, and its notes below it; without a console, with the results."""
    from hmhsa_insert.commands.console import out

    on = on or out
    table = table.shown()
    if table.title:
        on.print(Text(visible(table.title), style="italic"))
    if table.rows:
        on.print(rich_table(table))
    for note in table.notes:
        on.print(Text(visible(note), style="dim"))
    on.print()


def print_tables(result: Printed, on: Console | None = None) -> None:
    """Print the tables of a result, as ``print`` would in Python but as wide as the terminal."""
    for table in result.tables():
        print_table(table, on)


def write_drawing(path: Path, loaded: LoadedModel, **options: Any) -> None:
    """Draw a network to a file and say so; `options` are those of ``hi.draw``."""
    from hmhsa_insert.commands.console import wrote
    from hmhsa_insert.drawing.draw import draw

    wrote(draw(loaded.model, name=loaded.source.spec, **options).save(path))


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
