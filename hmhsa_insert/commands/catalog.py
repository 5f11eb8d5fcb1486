"""``hmhsa-insert recipes | blocks | models``: list the choices."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any

import typer

from hmhsa_insert.commands.options import PluginOption, load_plugins


def recipes() -> None:
    """List the shipped recipes with their intent."""
    from rich.table import Table

    from hmhsa_insert.commands.console import out
    from hmhsa_insert.recipe import shipped_recipes

    table = Table("recipe", "intent", box=None, pad_edge=False)
    for shipped in shipped_recipes():
        table.add_row(shipped.name, shipped.intent)
    out.print(table)


def blocks(
    name: Annotated[str | None, typer.Argument(metavar="TYPE", help="Show this type's options.")] = None,
    plugin: PluginOption = None,
) -> None:
    """List the block types, or the options of one."""
    from rich.table import Table

    from hmhsa_insert.blocks import BLOCKS, TIMM_NAMES, block_type
    from hmhsa_insert.commands.console import bold, out

    load_plugins(plugin)
    if name is None:
        table = Table("type", "what it is", box=None, pad_edge=False)
        for block in BLOCKS.values():
            table.add_row(block.name, block.summary)
        table.add_row("timm/NAME", "an attention layer of timm: " + ", ".join(TIMM_NAMES))
        out.print(table)
        out.print("\n`hmhsa-insert blocks TYPE` shows the options of one.")
        return
    found = block_type(name)
    out.print(bold(found.name, f": {found.summary}"))
    options = {key: field for key, field in found.options.model_fields.items() if key != "type"}
    if not options:
        out.print("it has no options")
        return
    table = Table("option", "default", "meaning", box=None, pad_edge=False)
    for key, field in options.items():
        table.add_row(key, _default(field), field.description or "")
    out.print(table)


def _default(field: Any) -> str:
    return "required" if field.is_required() else str(field.get_default(call_default_factory=True))


def models(
    pattern: Annotated[
        str | None,
        typer.Argument(metavar="PATTERN", help="Such as 'resnet*'; without it, this project's own."),
    ] = None,
) -> None:
    """List networks by name: this project's own, or all that match a pattern."""
    from hmhsa_insert.commands.console import out
    from hmhsa_insert.errors import ModelError, Problem, near
    from hmhsa_insert.models import CONFIGS
    from hmhsa_insert.surgery.base.load import model_names

    libraries = model_names()
    if pattern is None:
        for name in CONFIGS:
            out.print(f"timm/{name}")
        counts = " and ".join(f"{len(names)} of {library}" for library, names in libraries.items())
        out.print(f"\nand {counts}: `hmhsa-insert models 'PATTERN'` lists them by name")
        return
    found = [
        f"{library}/{name}"
        for library, names in libraries.items()
        for name in names
        if fnmatchcase(name, pattern) or fnmatchcase(f"{library}/{name}", pattern)
    ]
    if not found:
        tip = near(pattern, [name for names in libraries.values() for name in names])
        raise ModelError(
            Problem(pattern, "no network's name matches", tip or "write a pattern such as 'resnet*'")
        )
    for name in found:
        out.print(name)
