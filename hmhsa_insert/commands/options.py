"""Options that several commands share, and the parsing of their texts."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmhsa_insert.errors import ArtifactError, BaseNotBuiltError, HmhsaInsertError, Problem, first_line

if TYPE_CHECKING:
    from hmhsa_insert.surgery.base.load import LoadedModel

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="timm/NAME, torchvision/NAME, ultralytics/yolo11n.yaml, transformers/FOLDER, smp/Unet:resnet34, "
        "hf-hub:USER/NAME, a bare name, package.module:factory, or a folder that `apply` wrote.",
    ),
]
RecipeOption = Annotated[
    str,
    typer.Option("--recipe", "-r", metavar="RECIPE", help="A recipe file, or the name of a shipped recipe."),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        "--input-size",
        metavar="SIZE",
        help="224, 320x480 (H×W) or 1x28x28 (C×H×W); default: the model's own.",
    ),
]
PluginOption = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", metavar="MODULE", help="Import this Python module first; it may add block types."
    ),
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="MODULE:FACTORY",
        help="Factory of the base network, for an artifact whose network is not a library's.",
    ),
]
AllowCodeOption = Annotated[
    bool,
    typer.Option("--allow-code", help="Import and run factories that files name; for files that you trust."),
]
UnsafePickleOption = Annotated[
    bool,
    typer.Option(
        "--unsafe-pickle",
        help="Read MODEL if it is a pickle (ultralytics/FILE.pt): it runs any code that its author put in.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def open_with_base(spec: str, base: str | None, allow_code: bool, **options: Any) -> LoadedModel:
    """Return the network of MODEL for a command with ``--base``, which the tips of its errors mention."""
    from hmhsa_insert.surgery.artifact.artifact import open_model

    try:
        return open_model(spec, base=base, allow_code=allow_code, **options)
    except BaseNotBuiltError as error:
        way = ", or --base MODULE:FACTORY"
        raise ArtifactError(
            [replace(problem, tip=problem.tip + way) for problem in error.problems]
        ) from error


@contextmanager
def named_as_options() -> Iterator[None]:
    """Name the options of a command where an error of a Python function names its arguments, inside a ``with``."""
    try:
        yield
    except HmhsaInsertError as error:
        problems = [
            replace(each, where=f"--{each.where.replace('_', '-')}") if each.where.isidentifier() else each
            for each in error.problems
        ]
        raise type(error)(problems) from error


def parse_size(text: str | None, default: tuple[int, ...], option: str = "--input-size") -> tuple[int, ...]:
    """Return (C, H, W) from ``224``, ``320x480`` or ``1x28x28``; channels default to those of `default`.

    Raises:
        HmhsaInsertError: the text is not a size.
    """
    if text is None:
        return default
    parts = text.lower().replace("×", "x").split("x")
    if not all(part.isdecimal() and 0 < int(part) <= 16384 for part in parts) or len(parts) > 3:
        raise HmhsaInsertError(
            Problem(option, f"'{text}' is not a size", "write 224, 320x480 (H×W) or 1x28x28 (C×H×W)")
        )
    numbers = [int(part) for part in parts]
    if len(numbers) == 1:
        numbers *= 2
    return (default[0], *numbers) if len(numbers) == 2 else tuple(numbers)


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        HmhsaInsertError: no tensor can be created there.
    """
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)
        raise HmhsaInsertError(Problem("--device", f"'{device}' cannot be used: {reason}")) from error


def load_plugins(names: list[str] | None) -> None:
    """Import the modules that the user named.

    Raises:
        HmhsaInsertError: one cannot be imported.
    """
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names or []:
        try:
            importlib.import_module(name)
        except Exception as error:
            message = f"module '{name}' cannot be imported: {error}"
            tip = "modules of the current folder and installed ones can be named, as package.module"
            raise HmhsaInsertError(Problem("--plugin", message, tip)) from error
