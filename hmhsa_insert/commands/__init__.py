"""The command line: ``hmhsa-insert COMMAND …``, one command a file.

Command files import torch and everything built on it inside their functions, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from hmhsa_insert.commands.ablate import ablate
from hmhsa_insert.commands.apply import apply
from hmhsa_insert.commands.attend import attend
from hmhsa_insert.commands.catalog import blocks, models, recipes, settings
from hmhsa_insert.commands.data import convert, make_shapes
from hmhsa_insert.commands.detect import detect
from hmhsa_insert.commands.diff import diff
from hmhsa_insert.commands.evaluate import evaluate
from hmhsa_insert.commands.export import export
from hmhsa_insert.commands.plan import plan
from hmhsa_insert.commands.profile import profile
from hmhsa_insert.commands.push import push
from hmhsa_insert.commands.recipe import check, schema
from hmhsa_insert.commands.report import report
from hmhsa_insert.commands.segment import segment
from hmhsa_insert.commands.show import show
from hmhsa_insert.commands.stages import stages
from hmhsa_insert.commands.suggest import suggest
from hmhsa_insert.commands.surroundings import (
    BASE,
    OVERWRITE,
    PLUGIN,
    QUIET,
    UNSAFE_PICKLE,
    Command,
    Surrounding,
    surrounded,
)
from hmhsa_insert.commands.train import train
from hmhsa_insert.commands.ultralytics import ultralytics
from hmhsa_insert.commands.zoo import zoo


def _print_version(asked: bool) -> None:
    if asked:
        from hmhsa_insert import __version__

        typer.echo(f"hmhsa-insert {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="hmhsa-insert",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Put attention blocks into a CNN from a recipe, keep its weights, "
    "prove what the edit did, and measure what it costs and what it buys.",
)


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None: ...


_NETWORK = (BASE, UNSAFE_PICKLE, PLUGIN, QUIET)

# Every command in the order of its group's help, with those of its shared options that it does not read itself.
_COMMANDS: dict[str, tuple[tuple[Callable[..., None], tuple[Surrounding, ...]], ...]] = {
    "": (
        (stages, (*_NETWORK, OVERWRITE)),
        (plan, (*_NETWORK, OVERWRITE)),
        (apply, _NETWORK),
        (show, (OVERWRITE,)),
        (diff, (UNSAFE_PICKLE, PLUGIN, QUIET)),
        (train, _NETWORK),
        (evaluate, (*_NETWORK, OVERWRITE)),
        (detect, (BASE, PLUGIN, QUIET)),
        (segment, (BASE, PLUGIN, QUIET)),
        (attend, (BASE, PLUGIN, QUIET)),
        (ultralytics, (UNSAFE_PICKLE, PLUGIN, QUIET)),
        (export, _NETWORK),
        (push, (PLUGIN, QUIET)),
        (ablate, (PLUGIN, QUIET)),
        (profile, (*_NETWORK, OVERWRITE)),
        (report, (BASE, PLUGIN, QUIET, OVERWRITE)),
        (suggest, _NETWORK),
        (recipes, ()),
        (settings, (PLUGIN, QUIET)),
        (blocks, (PLUGIN, QUIET)),
        (models, (PLUGIN, QUIET)),
        (zoo, (PLUGIN, QUIET)),
    ),
    "recipe": ((check, (PLUGIN,)), (schema, (PLUGIN,))),
    "data": ((make_shapes, (QUIET,)), (convert, (QUIET,))),
}
_GROUPS = {
    "recipe": "Check a recipe, or print the schema for editors.",
    "data": "Make data sets, and convert their labels.",
}

for _name, _commands in _COMMANDS.items():
    _group = typer.Typer(no_args_is_help=True, help=_GROUPS[_name]) if _name else app
    for _function, _around in _commands:
        _group.command(cls=Command)(surrounded(_function, *_around))
    if _name:
        _group.callback()(lambda: None)  # without it, a group of one command is that command
        app.add_typer(_group, name=_name)
