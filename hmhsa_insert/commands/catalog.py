"""``hmhsa-insert recipes | settings | blocks | models``: list the choices, or show one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import typer

from hmhsa_insert.commands.options import JsonOption
from hmhsa_insert.tasks.table import DEFAULT, TASKS, settings_class


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this shipped recipe.")] = None,
    json: JsonOption = False,
) -> None:
    """List the shipped recipes with their intent, or print one."""
    from rich.table import Table

    from hmhsa_insert.commands.console import out, print_json
    from hmhsa_insert.errors import Problem, RecipeError, near
    from hmhsa_insert.recipe import load_recipe, shipped_recipes
    from hmhsa_insert.recipe.library import shipped_files

    if name is not None:
        files = shipped_files()
        stem = name.removesuffix(".yaml")
        if stem not in files:
            tip = near(stem, files) or "`hmhsa-insert recipes` lists them"
            raise RecipeError(Problem(name, "there is no shipped recipe of this name", tip))
        if json:
            print_json(load_recipe(files[stem]).to_dict())
        else:
            _print_file(files[stem])
        return
    if json:
        print_json([{"name": shipped.name, "intent": shipped.intent} for shipped in shipped_recipes()])
        return
    table = Table("recipe", "intent", box=None, pad_edge=False)
    for shipped in shipped_recipes():
        table.add_row(shipped.name, shipped.intent)
    out.print(table)


def settings(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A key, a section, or a shipped file, which is printed."),
    ] = None,
    task: Annotated[str, typer.Option(metavar="TASK", help=f"Whose settings: {', '.join(TASKS)}.")] = DEFAULT,
    json: JsonOption = False,
) -> None:
    """List the keys of training settings with their defaults, and the shipped files, or show one.

    Examples: `hmhsa-insert settings optimizer`, `hmhsa-insert settings finetune`
    """
    from rich.table import Table

    from hmhsa_insert.commands.console import notes, out, print_json
    from hmhsa_insert.errors import Problem, near
    from hmhsa_insert.training.problems import SettingsError
    from hmhsa_insert.training.settings import read_settings, shipped_settings
    from hmhsa_insert.training.settings_keys import settings_keys

    shipped = shipped_settings()
    stem = (name or "").removesuffix(".yaml")
    if stem in shipped:
        if json:
            print_json(read_settings(shipped[stem]).value)
        else:
            _print_file(shipped[stem])
        return
    keys = settings_keys(settings_class(task))
    found = [each for each in keys if name is None or _is_of(each.key, name)]
    if not found:
        names = {part for each in keys for part in (each.key, *each.key.split("."))}
        tip = near(str(name), names | shipped.keys()) or "`hmhsa-insert settings` lists all"
        raise SettingsError(Problem(str(name), "there is no key, section or shipped file of this name", tip))
    if json:
        print_json([each._asdict() for each in found])
        return
    table = Table("key", "default", "meaning", box=None, pad_edge=False)
    for each in found:
        table.add_row(*each)
    out.print(table)
    if name is None:
        notes.print(f"\nshipped files: {', '.join(shipped)}; `hmhsa-insert settings NAME` prints one")


def _is_of(key: str, name: str) -> bool:
    """Return True if `name` is the key, its section or its last part."""
    return key == name or key.startswith(f"{name}.") or key.endswith(f".{name}")


def _print_file(path: Path) -> None:
    """Print a shipped file as it is, so that it can be written to another."""
    import sys

    sys.stdout.write(path.read_text(encoding="utf-8"))


def blocks(
    name: Annotated[str | None, typer.Argument(metavar="TYPE", help="Show this type's options.")] = None,
    json: JsonOption = False,
) -> None:
    """List the block types, those of installed packages included, or the options of one."""
    from rich.table import Table

    from hmhsa_insert.blocks import block_type
    from hmhsa_insert.commands.console import bold, notes, out, print_json

    if name is None and json:
        print_json(list(_listed()))
        return
    if name is None:
        table = Table("type", "what it is", box=None, pad_edge=False)
        for each in _listed():
            package = f" ({each['package']})" if "package" in each else ""
            table.add_row(each["name"], each["summary"] + package)
        out.print(table)
        notes.print("\n`hmhsa-insert blocks TYPE` shows the options of one.")
        return
    found = block_type(name)
    if json:
        print_json(found.options.model_json_schema())
        return
    out.print(bold(found.name, f": {found.summary}"))
    for what, text in found.about:
        out.print(f"{what}: {text}")
    options = {key: field for key, field in found.options.model_fields.items() if key != "type"}
    if not options:
        out.print("it has no options")
        return
    table = Table("option", "default", "meaning", box=None, pad_edge=False)
    for key, field in options.items():
        table.add_row(key, _default(field), field.description or "")
    out.print(table)


def _listed() -> Iterator[dict[str, str]]:
    """Yield name and summary of each block type; of other libraries also its paper, of packages the package."""
    from hmhsa_insert.blocks import BLOCKS, ROWS, block_type, installed_blocks
    from hmhsa_insert.errors import BlockError

    for block in BLOCKS.values():
        yield {"name": block.name, "summary": block.summary}
    for row in ROWS.values():
        yield {"name": row.type, "summary": row.title, **dict(row.about)}
    for each in installed_blocks():
        if each.name in BLOCKS:
            summary = "hidden by the block type of this name above"
        else:
            try:
                summary = block_type(each.name).summary
            except BlockError as error:
                summary = error.problems[0].message
        yield {"name": each.name, "summary": summary, "package": each.package}


def _default(field: Any) -> str:
    return "required" if field.is_required() else str(field.get_default(call_default_factory=True))


def models(
    pattern: Annotated[
        str | None,
        typer.Argument(metavar="PATTERN", help="Such as 'resnet*'; without it, this project's own."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List networks by name: this project's own, or all that match a pattern."""
    from hmhsa_insert.commands.console import notes
    from hmhsa_insert.errors import ModelError, Problem, near
    from hmhsa_insert.models import CONFIGS
    from hmhsa_insert.surgery.base.load import model_names

    libraries = model_names()
    if pattern is None:
        _list([f"timm/{name}" for name in CONFIGS], json)
        counts = " and ".join(f"{len(names)} of {library}" for library, names in libraries.items())
        notes.print(f"\nand {counts}: `hmhsa-insert models 'PATTERN'` lists them by name")
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
    _list(found, json)


def _list(names: Sequence[str], json: bool) -> None:
    from hmhsa_insert.commands.console import out, print_json

    if json:
        print_json(names)
        return
    for name in names:
        out.print(name)
