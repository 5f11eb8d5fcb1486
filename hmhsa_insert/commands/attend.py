"""``hmhsa-insert attend DIR IMAGE -o OUT``: where the attention blocks of a trained network look, as pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmhsa_insert.commands.folders import check_empty
from hmhsa_insert.commands.options import AllowCodeOption, OverwriteOption
from hmhsa_insert.commands.shared import shared
from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem
from hmhsa_insert.files.ours import write_manifest
from hmhsa_insert.files.whole import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from hmhsa_insert.drawing.attention import BlockAttention


def attend(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="The folder of a run, an artifact or a detector.")
    ],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image file.")],
    output: Annotated[
        Path, shared("--output", writes="the pictures", metavar="DIR", more="A new or empty folder.")
    ],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y", help="The pixel to ask about, in the pictures; default: the one at the centre."
        ),
    ] = None,
    heads: Annotated[bool, typer.Option("--heads", help="Also a picture for each head.")] = False,
    block: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One block, or a pattern such as 'layer3.*'; default: all."),
    ] = None,
    overwrite: OverwriteOption = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Draw where attention looks on an image: a picture for each block and each of its steps, the mean over the heads.

    The image is read, resized, cropped and normalized as `evaluate` does it with the run's settings; the pictures show
    it as the network sees it. Of a detector its backbone is looked into. The pixel that is asked about is marked; the
    more a place is colored, the more it is looked at.

    Example: `hmhsa-insert attend runs/stage3 photo.jpg -o looks --at 120,80`
    """
    from hmhsa_insert.commands.console import note, progress, wrote
    from hmhsa_insert.drawing.attention import attention, without_attention
    from hmhsa_insert.drawing.overlay import overlay

    check_empty(output, overwrite)
    with progress.status("loading the network"):
        model, seen, shown = _open(folder, image, allow_code)
    query = _place(at, (seen.shape[1], seen.shape[2]))
    with progress.status("looking"):
        found = attention(model, seen, block, query)
    for key, kind in without_attention(model).items():
        note(f"{key}: {kind} is a block without attention")
    output.mkdir(parents=True, exist_ok=True)
    pictures = dict(_pictures(found, heads))
    for name, weights in pictures.items():
        write_file(output / name, overlay(shown, weights, query).save, HmhsaInsertError)
    write_manifest(output)
    sizes = ((len(pictures), "picture"), (len(found), "block"))
    wrote(output, " of ".join(f"{number} {what}{'s' if number != 1 else ''}" for number, what in sizes))


def _open(folder: str, image: Path, allow_code: bool) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the network, the image as it takes it, and the same from 0 to 1 to be shown.

    Raises:
        HmhsaInsertError: it is of a task whose networks are not looked into here.
    """
    from hmhsa_insert.training.score import task_of

    if (task := task_of(folder)) in ("detect", "segment"):
        return _open_detector(folder, image, allow_code)
    if task == "classify":
        return _open_classifier(folder, image, allow_code)
    message = f"its task is '{task}', and networks that classify, detect or segment are looked into"
    raise HmhsaInsertError(Problem(folder, message, "in Python: hi.attention(model, image)"))


def _open_detector(folder: str, image: Path, allow_code: bool) -> tuple[nn.Module, Tensor, Tensor]:
    """Do as :func:`_open` with the backbone of a detector."""
    import torch

    from hmhsa_insert.detection.predict import open_detector, read_image

    detector: Any = open_detector(folder, allow_code=allow_code)
    resize = detector.transform
    seen = resize([read_image(image).float() / 255])[0].tensors[0]
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (resize.image_mean, resize.image_std))
    return detector.backbone, seen, seen * std + mean


def _open_classifier(folder: str, image: Path, allow_code: bool) -> tuple[nn.Module, Tensor, Tensor]:
    """Do as :func:`_open` with a run, edited or not, or an artifact."""
    import torch

    from hmhsa_insert.detection.predict import read_file
    from hmhsa_insert.surgery.artifact.artifact import is_artifact, open_model
    from hmhsa_insert.training.adapt import input_channels
    from hmhsa_insert.training.data.transforms import eval_transform, statistics
    from hmhsa_insert.training.image_task import settings_of_model
    from hmhsa_insert.training.run_folder import ARTIFACT, is_run, read_config
    from hmhsa_insert.training.schema import ClassifySettings
    from hmhsa_insert.training.score import network_of_run, settings_of

    run = Path(folder)
    artifact = run / ARTIFACT if is_run(run) else folder
    if is_run(run) and not is_artifact(artifact):
        model = network_of_run(run, allow_code=allow_code)
    else:
        loaded = open_model(str(artifact), allow_code=allow_code)
        model = loaded.model
    if is_run(run):
        settings = settings_of(run, read_config(run), (), ClassifySettings)
    else:
        settings = settings_of_model(model, loaded.input_size[-1])
    channels = input_channels(model)
    read = read_file(image).convert("RGB" if channels == 3 else "L")
    seen = eval_transform(settings, model, channels)(read)
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in statistics(settings, model, channels))
    return model, seen, seen * std + mean


def _place(at: str | None, size: tuple[int, int]) -> tuple[int, int]:
    """Return row and column of the pixel that is asked about.

    Raises:
        HmhsaInsertError: the text is no pixel of the picture.
    """
    if at is None:
        return size[0] // 2, size[1] // 2
    found = re.fullmatch(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*", at)
    if found is None or int(found[2]) >= size[0] or int(found[1]) >= size[1]:
        message = f"'{at}' is not a pixel of the picture of {size[1]}×{size[0]}"
        raise HmhsaInsertError(Problem(Argument("at"), message, "write X,Y from 0,0 at the top left"))
    return int(found[2]), int(found[1])


def _pictures(found: dict[str, BlockAttention], heads: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of a file, never that of another folder, and the weights of each picture."""
    for number, (name, block) in enumerate(found.items(), 1):
        stem = f"{number}-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:80]}"
        for index, step in enumerate(block.steps):
            yield f"{stem}-step{index}.png", step.weights[0].mean(0)
            for head, weights in enumerate(step.weights[0] if heads else ()):
                yield f"{stem}-step{index}-head{head}.png", weights
