"""``hmhsa-insert report SOURCE …``: the paper's table, from profiles, training runs and published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hmhsa_insert.commands.printed import check_writable_file, deliver, print_table
from hmhsa_insert.errors import Problem


def report(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SOURCE…",
            help="JSON of `profile`, folders with such files, or folders of training runs.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="KEY,KEY…", help="Such as method,macs,delta_macs; 'all' lists and shows every one."
        ),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Add the authors' figures, marked with their source.")
    ] = False,
    parts: Annotated[bool, typer.Option("--parts", help="Also where in the networks the cost is.")] = False,
    title: Annotated[str, typer.Option(help="What stands above the table.")] = "",
    how: Annotated[
        Literal["table", "md", "latex", "csv", "json", "html"] | None,
        typer.Option("--format", help="Default: by the ending of FILE, else table."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there in place of printing.")
    ] = None,
) -> None:
    """Build the paper's table: method, size, parameters, FLOPs, memory, throughput, top-1, Δ to its group's base.

    What nobody measured is blank. CSV and JSON hold every quantity, unrounded.

    Example: `hmhsa-insert report profile.json runs/resnet18-stage3-digits-s0 --published -o table.html`
    """
    from hmhsa_insert.reports.columns import COLUMNS
    from hmhsa_insert.reports.render import format_of, render, report_tables
    from hmhsa_insert.reports.sources import ReportError, load_records, published_records

    check_writable_file(output)
    if not sources and not published:
        tip = "`hmhsa-insert profile MODEL -o FILE.json` writes one; --published shows the authors' figures"
        raise ReportError(Problem("SOURCE", "there is nothing to report", tip))
    chosen = how or (format_of(output.name) if output else "table")
    records = load_records(sources or []) + (published_records() if published else [])
    keys = list(COLUMNS) if columns == "all" else columns.split(",") if columns else None
    if chosen == "table" and output is None:
        for table in report_tables(records, columns=keys, title=title, parts=parts):
            print_table(table)
        return
    written = "md" if chosen == "table" else chosen
    parts = parts or written == "html"  # whose plots include bars by stage
    deliver(render(records, written, columns=keys, title=title, parts=parts), output)
