"""``hmhsa-insert ablate STUDY.yaml``: run a study, or continue one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmhsa_insert.commands.options import AllowCodeOption, DataDirOption, JsonOption
from hmhsa_insert.commands.shared import shared
from hmhsa_insert.errors import Argument, Problem
from hmhsa_insert.files.machine import is_first_process

if TYPE_CHECKING:
    from hmhsa_insert.studies.ablate import StudyRun
    from hmhsa_insert.studies.plan_study import PlannedStudy


def ablate(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="A study file, or the name of a shipped study: where, which, …"),
    ],
    output: Annotated[
        Path | None,
        shared("--output", writes="the study", metavar="DIR", more="Default: studies/NAME."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(help="local: in this process. processes: on this machine's cores. ray: on a cluster."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of worker processes; default: as many as the cores allow."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Address of a Ray cluster, or auto; default: Ray on this machine."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PATTERN", help="Variants or trials, such as 'hmhsa*'; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the study in DIR; refuse to start a new one.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the trials and their cost without running any.")
    ] = False,
    pilot: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="With --dry-run: a study, or runs of several seeds, whose noise says what these seeds resolve; "
            "repeatable.",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    plugin: Annotated[list[str] | None, shared("--plugin")] = None,
    allow_code: AllowCodeOption = False,
    quiet: Annotated[bool, shared("--quiet")] = False,
    json: JsonOption = False,
) -> None:
    """Run a study: networks × variants × seeds, each variant paired with the baseline.

    The same command continues a stopped study; finished trials are never run again.

    Example: `hmhsa-insert ablate where --engine processes --workers 2 -o where`
    """
    from hmhsa_insert.commands.ablate_view import print_plan, watcher
    from hmhsa_insert.commands.console import out, progress
    from hmhsa_insert.studies.ablate import default_folder, make_engine, run_study
    from hmhsa_insert.studies.earlier import with_earlier_trials
    from hmhsa_insert.studies.plan_study import plan_study
    from hmhsa_insert.studies.problems import StudyError
    from hmhsa_insert.studies.store import read_study
    from hmhsa_insert.studies.study_file import load_study
    from hmhsa_insert.training.problems import Stopped
    from hmhsa_insert.training.processes import leave_processes

    first = is_first_process()
    if pilot and not dry_run:
        raise StudyError(
            Problem(Argument("pilot"), "says what a plan resolves, and this is none", "add `dry_run=True`")
        )
    try:
        asked = load_study(study, allow_code=allow_code)
        with progress.status("planning the study: reading the data, counting every variant"):
            planned = plan_study(asked, data_dir=data_dir, plugins=plugin or ())
        folder = output if output is not None else default_folder(planned)
        if resume and read_study(folder) is None:
            _refuse_to_begin(folder)
        runner = make_engine(engine, planned, workers, address)
        if dry_run:
            known = with_earlier_trials(planned, folder)
            print_plan(known, folder)
            _print_power(known, folder, pilot or [])
            return
        with watcher(quiet=quiet or not first) as shown:
            run = run_study(
                planned, folder, runner, only=only or (), retry_failed=retry_failed, watcher=shown
            )
    except KeyboardInterrupt as stopped:
        if first:
            out.print("stopped; everything is saved, and the same command goes on from there")
        sys.exit(128 + (stopped.signal if isinstance(stopped, Stopped) else 2))
    finally:
        leave_processes()
    if first:
        _conclude(run, folder, json)


def _refuse_to_begin(folder: Path) -> None:
    from hmhsa_insert.studies.problems import StudyError

    raise StudyError(Problem(str(folder), "holds no study to resume", "leave `resume=True` out to start one"))


def _print_power(planned: PlannedStudy, folder: Path, pilot: list[Path]) -> None:
    """Print what the planned seeds can resolve, as far as a pilot or finished trials tell."""
    from hmhsa_insert.commands.naming import in_options
    from hmhsa_insert.commands.printed import print_table
    from hmhsa_insert.reports.study_pilot import read_pilot
    from hmhsa_insert.reports.study_power import UNKNOWN, power_tables
    from hmhsa_insert.studies.outcomes import planned_outcomes
    from hmhsa_insert.tables import Table

    study = planned_outcomes(planned.to_dict(), folder)
    tables = power_tables(study, read_pilot(pilot, study.quantity) if pilot else None)
    for table in tables or [Table("", (), (), (in_options(UNKNOWN),))]:
        print_table(table)


def _conclude(run: StudyRun, folder: Path, json: bool) -> None:
    """Print the results of the study, which do not depend on how it was run, and its folder."""
    from hmhsa_insert.commands.console import out, wrote
    from hmhsa_insert.commands.printed import deliver, print_parts
    from hmhsa_insert.reports.study_report import render_study
    from hmhsa_insert.reports.study_tables import study_tables
    from hmhsa_insert.studies.outcomes import read_outcomes

    if json:
        deliver(render_study(read_outcomes(folder), "json", ""), None)
        return
    print_parts(study_tables(read_outcomes(folder), hours=False))
    left = len(run.planned.distinct) - len(run.outcomes)
    done = run.count("done")
    parts = [f"{done} trial{'s' * (done != 1)} done"]
    parts += [f"{run.count('failed')} failed"] if run.count("failed") else []
    parts += [f"{left} left out by --only"] if left else []
    out.print(", ".join(parts))
    wrote(folder, "the study; hmhsa-insert report tabulates it")
