"""``hmhsa-insert zoo``: locate, edit and verify many networks, and write the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmhsa_insert.commands.options import AllowCodeOption, JsonOption, OverwriteOption
from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem, near
from hmhsa_insert.files.whole import check_place, write_text

if TYPE_CHECKING:
    from hmhsa_insert.zoo.check import ZooRow
    from hmhsa_insert.zoo.networks import Entry

_SUFFIXES = (".md", ".csv")


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
    overwrite: OverwriteOption = False,
    allow_code: AllowCodeOption = False,
    list_only: Annotated[bool, typer.Option("--list", help="List the networks and exit.")] = False,
    json: JsonOption = False,
) -> None:
    """Check that surgery is exact on many networks: locate, insert at every stage, verify."""
    from hmhsa_insert.commands.console import out, print_json, wrote
    from hmhsa_insert.zoo.report import summary

    written = [report.with_suffix(suffix) for suffix in _SUFFIXES] if report is not None else []
    for path in written:
        check_place(path, overwrite, HmhsaInsertError)
    chosen = _chosen(pattern, networks, allow_code)
    if list_only and json:
        print_json([{"model": entry.spec, "input_size": [entry.height, entry.width]} for entry in chosen])
        return
    if list_only:
        for entry in chosen:
            out.print(f"{entry.spec}  {entry.height}x{entry.width}")
        return
    rows: list[ZooRow] = []
    for row in _shown(chosen, time_limit, workers):
        rows.append(row)
        if written:  # after each network, so that a stopped run has its table
            _write(written, rows)
    if json:
        print_json([asdict(row) for row in rows])
    for question, answer in () if json else summary(rows):
        out.print(f"{question}: {answer}")
    for path in written:
        wrote(path)
    if any(row.status not in ("ok", "refused") for row in rows):
        raise typer.Exit(1)


def _chosen(pattern: str, networks: Path | None, allow_code: bool) -> list[Entry]:
    """Return the networks that a pattern matches: those of a file, or of the package.

    Raises:
        HmhsaInsertError: there is none.
    """
    from hmhsa_insert.zoo.networks import entries, entries_of

    if networks:
        chosen = [e for e in entries_of(networks, allow_code) if fnmatchcase(e.spec, pattern)]
    else:
        chosen = entries(pattern)
    if not chosen:
        tip = near(pattern, [entry.name for entry in entries()]) or "`hmhsa-insert zoo --list` shows them"
        raise HmhsaInsertError(Problem(Argument("pattern"), f"no network matches '{pattern}'", tip))
    return chosen


def _shown(chosen: list[Entry], time_limit: float, workers: int) -> Iterator[ZooRow]:
    """Check networks and yield what was found of each, with a bar on a terminal and lines in a log."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from hmhsa_insert.commands.console import notes
    from hmhsa_insert.zoo.run import run

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes, disable=notes.quiet or not notes.is_terminal) as progress:
        task = progress.add_task("networks", total=len(chosen))
        for row in run(chosen, time_limit, workers):
            progress.update(task, advance=1, description=row.network)
            if row.status != "ok" or not notes.is_terminal:
                said = f"{row.network}: {row.status} {row.reason}"
                progress.console.print(said, markup=False, soft_wrap=True)
            yield row


def _write(paths: list[Path], rows: list[ZooRow]) -> None:
    import csv
    import platform

    import timm
    import torch
    import torchvision

    from hmhsa_insert.files.machine import cores
    from hmhsa_insert.zoo.report import to_csv, to_markdown

    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    machine = {"Python": platform.python_version(), f"{cores()} CPU cores,": platform.machine()}
    with (Path(__file__).parents[1] / "zoo" / "causes.csv").open(newline="", encoding="utf-8") as file:
        causes = {row["network"]: row["cause"] for row in csv.DictReader(file)}
    texts = (to_markdown(rows, {**versions, **machine}, causes), to_csv(rows))
    for path, text in zip(paths, texts, strict=True):
        write_text(path, text, HmhsaInsertError)
