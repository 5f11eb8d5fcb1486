"""``hmhsa-insert zoo``: locate, edit and verify many networks, and write the table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hmhsa_insert.commands.options import AllowCodeOption, JsonOption


def zoo(
    pattern: Annotated[str, typer.Option("--filter", metavar="PATTERN", help="Such as 'resnet*'.")] = "*",
    networks: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Networks of your own: MODEL and CxHxW, one per line."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write FILE (.md or .csv) and the other format beside it."),
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds per network.")] = 300.0,
    workers: Annotated[int, typer.Option(min=1, help="Networks at a time.")] = 1,
    allow_code: AllowCodeOption = False,
    list_only: Annotated[bool, typer.Option("--list", help="List the networks and exit.")] = False,
    json: JsonOption = False,
) -> None:
    """Check that surgery is exact on many networks: locate, insert at every stage, verify."""
    from fnmatch import fnmatchcase

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from hmhsa_insert.commands.console import notes, out, print_json
    from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem, near
    from hmhsa_insert.zoo.networks import entries, entries_of
    from hmhsa_insert.zoo.report import summary
    from hmhsa_insert.zoo.run import run

    if report is not None:
        _refuse_to_replace(report)
    chosen = (
        [e for e in entries_of(networks, allow_code) if fnmatchcase(e.spec, pattern)]
        if networks
        else entries(pattern)
    )
    if not chosen:
        tip = near(pattern, [entry.name for entry in entries()]) or "`hmhsa-insert zoo --list` shows them"
        raise HmhsaInsertError(Problem(Argument("pattern"), f"no network matches '{pattern}'", tip))
    if list_only and json:
        print_json([{"model": entry.spec, "input_size": [entry.height, entry.width]} for entry in chosen])
        return
    if list_only:
        for entry in chosen:
            out.print(f"{entry.spec}  {entry.height}x{entry.width}")
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    rows = []
    with Progress(*columns, console=notes, disable=notes.quiet or not notes.is_terminal) as progress:
        task = progress.add_task("networks", total=len(chosen))
        for row in run(chosen, time_limit, workers):
            rows.append(row)
            progress.update(task, advance=1, description=row.network)
            if row.status != "ok" or not notes.is_terminal:
                progress.console.print(
                    f"{row.network}: {row.status} {row.reason}", markup=False, soft_wrap=True
                )
            if report is not None:  # after each network, so that a stopped run has its table
                _write(report, rows)
    if json:
        print_json([asdict(row) for row in rows])
    for question, answer in () if json else summary(rows):
        out.print(f"{question}: {answer}")
    if report is not None:
        _print_written(report)
    if any(row.status not in ("ok", "refused") for row in rows):
        raise typer.Exit(1)


def _refuse_to_replace(report: Path) -> None:
    """Refuse to replace files other than tables of an earlier run; the user typed only one of the names."""
    from hmhsa_insert.errors import HmhsaInsertError, Problem
    from hmhsa_insert.files.text import RECORD, read_file
    from hmhsa_insert.files.whole import place_to_write
    from hmhsa_insert.zoo.report import to_csv, to_markdown

    problems = []
    for suffix, ours in ((".csv", to_csv([])), (".md", to_markdown([], {}, {}))):
        path = report.with_suffix(suffix)
        place_to_write(path, HmhsaInsertError)
        if path.exists() and not read_file(path, HmhsaInsertError, RECORD).startswith(ours.splitlines()[0]):
            message = "it exists and is not a table of an earlier run"
            problems.append(Problem(str(path), message, "give `report=FILE` another name"))
    if problems:
        raise HmhsaInsertError(problems)


def _write(report: Path, rows: list) -> None:  # type: ignore[type-arg]
    import csv
    import platform

    import timm
    import torch
    import torchvision

    from hmhsa_insert.errors import HmhsaInsertError
    from hmhsa_insert.files.machine import cores
    from hmhsa_insert.files.whole import write_text
    from hmhsa_insert.zoo.report import to_csv, to_markdown

    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    machine = {"Python": platform.python_version(), f"{cores()} CPU cores,": platform.machine()}
    with (Path(__file__).parents[1] / "zoo" / "causes.csv").open(newline="", encoding="utf-8") as file:
        causes = {row["network"]: row["cause"] for row in csv.DictReader(file)}
    report.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".csv", to_csv(rows)), (".md", to_markdown(rows, {**versions, **machine}, causes))):
        write_text(report.with_suffix(suffix), text, HmhsaInsertError)


def _print_written(report: Path) -> None:
    from hmhsa_insert.commands.console import wrote

    wrote(report.with_suffix(".md"))
    wrote(report.with_suffix(".csv"))
