"""``hmhsa-insert segment DIR IMAGE… -o OUT``: the class of every pixel, as masks and over the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmhsa_insert.commands.folders import check_empty
from hmhsa_insert.commands.options import AllowCodeOption, JsonOption, OverwriteOption
from hmhsa_insert.commands.shared import shared
from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.ours import write_manifest
from hmhsa_insert.files.whole import write_file
from hmhsa_insert.inert import json_text

if TYPE_CHECKING:
    from torch import nn

RESULTS = "classes.json"
_OVERLAYS = "overlays"


def segment(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A segmenter: the folder of a run, or one that hi.save wrote."),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Image files, of any size.")],
    output: Annotated[
        Path,
        shared("--output", writes="masks and overlays", metavar="DIR", more="A new or empty folder."),
    ],
    window: Annotated[
        int | None,
        typer.Option(
            min=32, max=8192, help="See larger images in windows of this side; default: as trained."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    overwrite: OverwriteOption = False,
    allow_code: AllowCodeOption = False,
    json: JsonOption = False,
) -> None:
    """Give every pixel of images a class: a PNG of labels with a palette for each, and the picture under it.

    Masks have the size of their image and hold the numbers of the classes; `classes.json` has their names and colors,
    and how many pixels of each image are of each class.

    Example: `hmhsa-insert segment runs/semantic photo.jpg -o masks`
    """
    from rich.progress import track

    from hmhsa_insert.commands.console import print_json, progress, wrote
    from hmhsa_insert.detection.predict import picture_names
    from hmhsa_insert.segmentation.predict import class_names, colors, open_segmenter
    from hmhsa_insert.surgery.base.device import check_device

    check_empty(output, overwrite)
    check_device(device)
    with progress.status("loading the segmenter"):
        segmenter = open_segmenter(folder, device, allow_code=allow_code)
    names = class_names(segmenter)
    found: list[dict[str, Any]] = []
    problems: list[Problem] = []
    (output / _OVERLAYS).mkdir(parents=True, exist_ok=True)
    files = list(zip(images, picture_names(images), strict=True))
    for image, picture in track(
        files,
        "segmenting",
        console=progress,
        transient=True,
        disable=progress.quiet or not progress.is_terminal,
    ):
        try:
            found.append(_segment_one(segmenter, image, output, picture, names, window))
        except HmhsaInsertError as error:
            problems += error.problems
    classes = [
        {"label": label, "name": name, "color": list(color)}
        for label, (name, color) in enumerate(zip(names, colors(names), strict=True))
    ]
    whole = {"classes": classes, "images": found}
    write_file(
        output / RESULTS,
        lambda path: path.write_text(json_text(whole) + "\n", encoding="utf-8"),
        HmhsaInsertError,
    )
    write_manifest(output)
    if json:
        print_json(whole)
    wrote(output, f"{len(found)} masks, {_OVERLAYS}/ with the pictures under them, {RESULTS}")
    if problems:
        raise HmhsaInsertError(problems)


def _segment_one(
    segmenter: nn.Module, image: Path, output: Path, name: str, names: tuple[str, ...], window: int | None
) -> dict[str, Any]:
    import numpy as np

    from hmhsa_insert.detection.predict import read_file
    from hmhsa_insert.segmentation.predict import as_mask, label_map, over

    picture = read_file(image)
    labels = label_map(segmenter, picture, window)
    write_file(output / name, as_mask(labels, names).save, HmhsaInsertError)
    write_file(output / _OVERLAYS / name, over(picture, labels, names).save, HmhsaInsertError)
    counts = np.bincount(labels.ravel(), minlength=len(names)).tolist()
    return {"image": str(image), "mask": name, "pixels": dict(zip(names, counts, strict=True))}
