"""``hmhsa-insert report SOURCE …``: the paper's table, from profiles, training runs and published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hmhsa_insert.commands.printed import (
    FormatOption,
    check_writable_file,
    deliver,
    format_asked_for,
    print_table,
)
from hmhsa_insert.errors import Problem


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
        bool, typer.Option("--published", help="Add the authors' figures, marked with their source.")
    ] = False,
    parts: Annotated[bool, typer.Option("--parts", help="Also where in the networks the cost is.")] = False,
    title: Annotated[str, typer.Option(help="What stands above the table.")] = "",
    how: FormatOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there in place of printing.")
    ] = None,
) -> None:
    """Build the paper's table: method, size, parameters, FLOPs, memory, throughput, top-1, Δ to its group's base.

    What nobody measured is blank. CSV and JSON hold every quantity, unrounded. A study's folder has a report of its
    own: accuracy over seeds, differences to its baseline with their uncertainty, costs, and what failed.

    Example: `hmhsa-insert report profile.json runs/resnet18-stage3-digits-s0 --published -o table.html`
    """
    from hmhsa_insert.reports.problems import ReportError
    from hmhsa_insert.reports.render import render, report_tables
    from hmhsa_insert.reports.sources import load_records, published_records
    from hmhsa_insert.studies.outcomes import is_study

    check_writable_file(output)
    chosen = format_asked_for(how, output)
    if any(map(is_study, sources or [])):
        _refuse_with_study(sources or [], {"--columns": columns, "--published": published, "--parts": parts})
        _report_study((sources or [])[0], chosen, title, output)
        return
    if not sources and not published:
        tip = "`hmhsa-insert profile MODEL -o FILE.json` writes one; --published shows the authors' figures"
        raise ReportError(Problem("SOURCE", "there is nothing to report", tip))
    records = load_records(sources or []) + (published_records() if published else [])
    keys = columns.split(",") if columns else None
    if chosen == "table" and output is None:
        for table in report_tables(records, columns=keys, title=title, parts=parts):
            print_table(table)
        return
    written = "md" if chosen == "table" else chosen
    parts = parts or written == "html"  # whose plots include bars by stage
    deliver(render(records, written, columns=keys, title=title, parts=parts), output)


def _refuse_with_study(sources: list[Path], options: dict[str, object]) -> None:
    from hmhsa_insert.reports.problems import ReportError

    problems = []
    if len(sources) > 1:
        problems.append(
            Problem("SOURCE", "a study's report is of one study alone", "give its folder by itself")
        )
    problems += [
        Problem(name, "a study's report has tables of its own", "leave it out")
        for name, given in options.items()
        if given
    ]
    if problems:
        raise ReportError(problems)


def _report_study(folder: Path, how: str, title: str, output: Path | None) -> None:
    from hmhsa_insert.reports.study_report import render_study
    from hmhsa_insert.reports.study_tables import study_tables
    from hmhsa_insert.studies.outcomes import read_outcomes

    study = read_outcomes(folder)
    if how == "table" and output is None:
        for table in study_tables(study, title):
            print_table(table)
        return
    deliver(render_study(study, "md" if how == "table" else how, title), output)
