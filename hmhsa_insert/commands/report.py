"""``hmhsa-insert report SOURCE …``: the paper's table, from profiles, training runs and published figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hmhsa_insert.commands.options import AllowCodeOption, JsonOption
from hmhsa_insert.commands.printed import (
    FormatOption,
    deliver,
    format_asked_for,
    print_parts,
)
from hmhsa_insert.commands.shared import shared


def report(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SOURCE…",
            help="JSON of `profile`, folders with such files, folders of training runs, or a study's folder.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="KEY,KEY…", help="Such as method,macs,delta_macs; 'all' lists and shows every one."
        ),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Add what others published, marked with its source.")
    ] = False,
    parts: Annotated[bool, typer.Option("--parts", help="Also where in the networks the cost is.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="What differs between two runs or profiles, in place of the table.")
    ] = False,
    title: Annotated[str, typer.Option(help="What stands above the table.")] = "",
    how: FormatOption = None,
    json: JsonOption = False,
    output: Annotated[Path | None, shared("--output", writes="what would be printed", metavar="FILE")] = None,
    drawings: Annotated[
        bool, typer.Option(help="Build the networks of runs again and draw them on a page.")
    ] = True,
    allow_code: AllowCodeOption = False,
) -> None:
    """Make a table or a page of runs, profiles or a study: scores, sizes, costs, and differences to the first.

    What nobody measured is blank. CSV and JSON hold every quantity, unrounded. A study's folder has a report of its
    own: accuracy over seeds, differences to its baseline with their uncertainty, costs, and what failed. A page of runs
    shows their networks as drawings.

    Example: `hmhsa-insert report profile.json runs/resnet18-stage3-digits-s0 --published -o table.html`
    """
    from hmhsa_insert.commands.console import note
    from hmhsa_insert.commands.report_drawings import with_drawings
    from hmhsa_insert.reports.formats import written
    from hmhsa_insert.reports.render import RecordsReport
    from hmhsa_insert.reports.report import compared, opened

    chosen = format_asked_for(how, output, json)
    keys = columns.split(",") if columns else None
    found = (
        compared(sources or [])
        if diff
        else opened(sources or [], columns=keys, published=published, parts=parts, title=title)
    )
    if chosen == "html" and drawings and isinstance(found, RecordsReport):
        found = replace(found, records=with_drawings(found.records, allow_code))
    if chosen == "table" and output is None:
        print_parts(found.tables())
        if found.context():
            note("What made this (recipes, settings, data, commands): -o FILE.html or --format md")
        return
    deliver(written(found, "md" if chosen == "table" else chosen), output)
