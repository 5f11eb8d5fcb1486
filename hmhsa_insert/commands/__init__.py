"""The command line: ``hmhsa-insert COMMAND …``, one command a file.

Command files import torch and everything built on it inside their functions, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hmhsa_insert.commands.ablate import ablate
from hmhsa_insert.commands.apply import apply
from hmhsa_insert.commands.catalog import blocks, models, recipes, settings
from hmhsa_insert.commands.data import data_app
from hmhsa_insert.commands.detect import detect
from hmhsa_insert.commands.evaluate import evaluate
from hmhsa_insert.commands.export import export
from hmhsa_insert.commands.plan import plan
from hmhsa_insert.commands.profile import profile
from hmhsa_insert.commands.push import push
from hmhsa_insert.commands.recipe import recipe_app
from hmhsa_insert.commands.report import report
from hmhsa_insert.commands.show import show
from hmhsa_insert.commands.stages import stages
from hmhsa_insert.commands.suggest import suggest
from hmhsa_insert.commands.train import train
from hmhsa_insert.commands.ultralytics import ultralytics
from hmhsa_insert.commands.zoo import zoo
from hmhsa_insert.errors import HmhsaInsertError, Problem


class _ReportingGroup(TyperGroup):
    """Reports the package's own errors and those of the system without a traceback, with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        from hmhsa_insert.commands.console import report_error

        try:
            return super().invoke(ctx)
        except HmhsaInsertError as error:
            report_error(error)
        except OSError as error:
            if error.errno is None or isinstance(error, BrokenPipeError):
                raise
            # A full disk, a folder that was removed or may not be read: not an error of this program.
            report_error(HmhsaInsertError(Problem(str(error.filename or ""), error.strerror or str(error))))
        sys.exit(1)


def _print_version(asked: bool) -> None:
    if asked:
        from hmhsa_insert import __version__

        typer.echo(f"hmhsa-insert {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="hmhsa-insert",
    cls=_ReportingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Splice H-MHSA attention blocks and TDB downsamplers into any CNN from a recipe, "
    "prove what the edit did, keep the weights, and measure what it costs.",
)


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None: ...


app.command()(stages)
app.command()(plan)
app.command()(apply)
app.command()(show)
app.command()(train)
app.command()(evaluate)
app.command()(detect)
app.command()(ultralytics)
app.command()(export)
app.command()(push)
app.command()(ablate)
app.command()(profile)
app.command()(report)
app.command()(suggest)
app.command()(recipes)
app.command()(settings)
app.command()(blocks)
app.command()(models)
app.command()(zoo)
app.add_typer(recipe_app, name="recipe")
app.add_typer(data_app, name="data")
