"""Options that several commands share, and the parsing of their texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmhsa_insert.commands.shared import shared
from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem

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
SizeOption = Annotated[str | None, shared("--input-size")]
WeightsOption = Annotated[Path | None, shared("--weights")]
PretrainedOption = Annotated[bool, shared("--pretrained")]
SeedOption = Annotated[int, shared("--seed")]
DataOption = Annotated[str | None, shared("--data")]
OverwriteOption = Annotated[bool, shared("--overwrite")]
AllowCodeOption = Annotated[bool, shared("--allow-code")]
JsonOption = Annotated[bool, shared("--json")]
DrawOption = Annotated[
    Path | None,
    typer.Option("--draw", metavar="FILE", help="Draw the stages, their blocks and the edits here, as SVG."),
]
DataDirOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Where downloaded data is kept.")]


def open_with_weights(model: str, weights: Path | None, pretrained: bool, allow_code: bool) -> LoadedModel:
    """Return the network of MODEL with the weights that the user names.

    Raises:
        WeightsError: there are two sets of them, or they do not fit.
    """
    from hmhsa_insert.models.weights import check_start, load_weights
    from hmhsa_insert.surgery.artifact.artifact import open_model

    check_start(weights, pretrained)
    loaded = open_model(model, allow_code=allow_code, pretrained=pretrained)
    if weights is not None:
        load_weights(loaded.model, weights)
    return loaded


def read_size(text: str | None, option: str = "input_size") -> list[int] | None:
    """Return the numbers of ``224``, ``320x480`` or ``1x28x28``, as many as there are; None of None.

    Raises:
        HmhsaInsertError: the text is not a size.
    """
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if not all(part.isdecimal() and 0 < int(part) <= 16384 for part in parts) or len(parts) > 3:
        raise HmhsaInsertError(
            Problem(
                Argument(option), f"'{text}' is not a size", "write 224, 320x480 (H×W) or 1x28x28 (C×H×W)"
            )
        )
    return [int(part) for part in parts]


def parse_size(text: str | None, default: tuple[int, ...], option: str = "input_size") -> tuple[int, ...]:
    """Return (C, H, W) from ``224``, ``320x480`` or ``1x28x28``; channels default to those of `default`.

    Raises:
        HmhsaInsertError: the text is not a size.
    """
    numbers = read_size(text, option)
    if numbers is None:
        return default
    if len(numbers) == 1:
        numbers *= 2
    return (default[0], *numbers) if len(numbers) == 2 else tuple(numbers)
