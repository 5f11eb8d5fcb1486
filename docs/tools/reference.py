"""The reference pages, made from the code itself: commands, recipes, settings, studies, the names of ``hi``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

sys.path.insert(0, str(Path(__file__).parents[2]))

import typer
from pydantic import BaseModel

import hmhsa_insert as hi
from hmhsa_insert.blocks import BLOCKS, ROWS
from hmhsa_insert.commands import app
from hmhsa_insert.recipe.edit import Edit
from hmhsa_insert.recipe.recipe import RecipeFile
from hmhsa_insert.recipe.schema import OPS
from hmhsa_insert.recipe.selectors.table import SELECTORS
from hmhsa_insert.studies import schema as study_schema
from hmhsa_insert.tasks.table import TASKS, task_class
from hmhsa_insert.training.settings import shipped_settings
from hmhsa_insert.training.settings_keys import settings_keys


def table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; cells are Markdown."""
    lines = [tuple(headers), *(tuple(row) for row in rows)]
    shown = [" | ".join(" ".join(_cell(text).split()) for text in line) for line in lines]
    return (
        "\n".join(f"| {line} |" for line in (shown[0], " | ".join("---" for _ in lines[0]), *shown[1:]))
        + "\n"
    )


def _cell(text: str) -> str:
    """Return text without the bars that would end the cell; those of inline code end none."""
    return re.sub(r"`[^`]*`|(\|)", lambda found: "\\|" if found[1] else found[0], text)


def code(text: str) -> str:
    """Return text as inline code, or nothing."""
    return f"`{text}`" if text else ""


def prose(text: str) -> str:
    """Return a docstring's text as Markdown."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", (text or "").replace("``", "`"))


def commands() -> str:
    """Return the page of the command line, from typer."""
    group: Any = typer.main.get_command(app)
    parts = ["# Commands\n", prose(group.help) + "\n", "`hmhsa-insert COMMAND --help` prints the same.\n"]
    parts += [part for name, each in group.commands.items() for part in _command(name, each)]
    return "\n".join(parts)


def _command(name: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for inner, each in command.commands.items():
            yield from _command(f"{name} {inner}", each)
        return
    yield f"## {name}\n"
    yield prose(inspect.cleandoc(command.help or "")) + "\n"
    given = [each for each in command.params if not getattr(each, "hidden", False) and each.name != "help"]
    kinds = get_type_hints(command.callback)
    rows = [
        (_names(each, kinds[each.name]), _default(each), prose(getattr(each, "help", "") or ""))
        for each in given
    ]
    if rows:
        yield table(("argument or option", "default", "meaning"), rows)


def _names(parameter: Any, kind: Any) -> str:
    if parameter.param_type_name == "argument":
        return code(parameter.metavar or parameter.name.upper())
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return code(names if parameter.is_flag else f"{names} {parameter.metavar or _value(kind)}")


def _value(kind: Any) -> str:
    """Return what an option of this type takes: its choices, or the name of the type."""
    if get_origin(kind) in (Union, UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return "|".join(map(str, get_args(kind))) if get_origin(kind) is Literal else kind.__name__.upper()


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    plain = parameter.default is None or parameter.default is False or parameter.default in ((), [])
    return "" if plain or callable(parameter.default) else code(str(parameter.default))


def recipe() -> str:
    """Return the page of the recipe language, from its classes."""
    parts = [
        "# The recipe language\n",
        "A recipe is a YAML file. `hmhsa-insert recipe check FILE` lists every problem of one.\n",
    ]
    parts += ["## The file\n", _keys(RecipeFile), "## An edit\n", _keys(Edit)]
    ops = ((code(op), rule.meaning, ", ".join(map(code, rule.options))) for op, rule in OPS.items())
    parts += ["## Operations\n", table(("op", "does", "its own keys"), ops)]
    parts.append("## Selectors\n\nThe keys under `at`: exactly one kind, and what narrows it.\n")
    for kind, selector in SELECTORS.items():
        takers = ", ".join(map(code, selector.ops))
        parts += [
            f"### {kind}\n",
            f"{prose(inspect.cleandoc(selector.__doc__ or ''))}\n\nFor {takers}.\n",
            _keys(selector),
        ]
    parts.append("## Blocks\n\nThe keys under `block`: `type`, and the options of that type.\n")
    for name, block in BLOCKS.items():
        parts += [f"### {name}\n", f"{block.summary}\n", _keys(block.options, leave_out=("type",))]
    libraries = (
        (code(row.type), row.title, f"[paper]({dict(row.about)['paper']})", row.licence)
        for row in ROWS.values()
    )
    parts += ["### Of other libraries\n", "`hmhsa-insert blocks NAME` shows the options of one.\n"]
    parts.append(table(("type", "what it is", "paper", "licence"), libraries))
    return "\n".join(parts)


def _keys(model: type[BaseModel], leave_out: tuple[str, ...] = ()) -> str:
    """Return the table of a model's keys."""
    fields = {name: each for name, each in model.model_fields.items() if name not in leave_out}
    if not fields:
        return "It has no options.\n"
    about = _attributes(model)
    rows = (
        (code(each.alias or name), _field_default(each), prose(each.description or about.get(name, "")))
        for name, each in fields.items()
    )
    return table(("key", "default", "meaning"), rows)


def _field_default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump()
    return "" if value in (None, (), {}, []) else code(str(value))


def _attributes(model: type) -> dict[str, str]:
    """Return what the ``Attributes:`` of a docstring say of each."""
    text = inspect.cleandoc(model.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def settings() -> str:
    """Return the page of training settings, from their classes, one section a task."""
    parts = [
        "# Training settings\n",
        "`--config FILE`, and `--set KEY=VALUE` over it. `hmhsa-insert settings` prints the same.\n",
    ]
    shipped = ", ".join(code(name) for name in shipped_settings())
    parts.append(f"Shipped: {shipped}; `hmhsa-insert settings NAME` prints one.\n")
    for task in TASKS:
        keys = settings_keys(task_class(task).settings_type)
        rows = ((code(each.key), code(each.default), prose(each.meaning)) for each in keys)
        parts += [f"## Task {task}\n", table(("key", "default", "meaning"), rows)]
    return "\n".join(parts)


def study() -> str:
    """Return the page of the study file, from its classes."""
    of = {
        "The file": study_schema.StudyFile,
        "A model": study_schema.ModelEntry,
        "A variant": study_schema.VariantEntry,
        "An exclusion": study_schema.Exclusion,
    }
    short = (
        "Short forms: `models`, `data` and `settings` may be one value or a list instead of a mapping by label, "
        "`seeds` a number of them, and a variant the name of a recipe. [How to](../howto/studies.md) has an example.\n"
    )
    parts = ["# The study file\n", "A YAML file for `hmhsa-insert ablate`.\n", short]
    for title, model in of.items():
        about = prose(inspect.cleandoc(model.__doc__ or "").partition("\n")[0])
        parts += [f"## {title}\n", f"{about}\n", _keys(model)]
    return "\n".join(parts)


def python() -> str:
    """Return the page of the public names; mkdocstrings fills it from their docstrings."""
    parts = ["# Python\n", "`import hmhsa_insert as hi`; these names, and no others, are kept stable.\n"]
    names = [each for each in hi.__all__ if each != "__version__"]
    for name in sorted(names, key=lambda name: (name[0].isupper(), name)):  # functions, then classes
        found = getattr(hi, name)
        parts.append(f"::: {found.__module__}.{found.__qualname__}\n")
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "recipe": recipe,
    "settings": settings,
    "study": study,
    "python": python,
}
