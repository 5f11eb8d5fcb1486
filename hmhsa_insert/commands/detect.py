"""``hmhsa-insert detect DIR IMAGE… -o OUT``: detections as pictures and in COCO's format."""

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

RESULTS = "detections.json"


def detect(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A detector: the folder of a run, or one that hi.save wrote."),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Image files.")],
    output: Annotated[
        Path,
        shared("--output", writes="pictures and detections", metavar="DIR", more="A new or empty folder."),
    ],
    score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Lowest score of the detections shown.")
    ] = 0.5,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    overwrite: OverwriteOption = False,
    allow_code: AllowCodeOption = False,
    json: JsonOption = False,
) -> None:
    """Find objects on images: a picture of each with boxes, classes, scores and masks, and COCO's result json.

    In the json, image ids are 1, 2, … in the order given, beside each image's file name; categories have the ids of
    the data the detector was trained on.

    Example: `hmhsa-insert detect runs/shapes photo.jpg -o found --score 0.7`
    """
    from rich.progress import track

    from hmhsa_insert.commands.console import print_json, progress, wrote
    from hmhsa_insert.detection.predict import category_names, open_detector, picture_names
    from hmhsa_insert.surgery.base.device import check_device

    check_empty(output, overwrite)
    check_device(device)
    with progress.status("loading the detector"):
        detector = open_detector(folder, device, allow_code=allow_code)
    names = list(category_names(detector).values())
    results: list[dict[str, Any]] = []
    problems: list[Problem] = []
    output.mkdir(parents=True, exist_ok=True)
    files = list(enumerate(zip(images, picture_names(images), strict=True), 1))
    for number, (image, picture) in track(
        files,
        "detecting",
        console=progress,
        transient=True,
        disable=progress.quiet or not progress.is_terminal,
    ):
        try:
            results += _detect_one(detector, image, number, score, output / picture, names)
        except HmhsaInsertError as error:
            problems += error.problems
    _write(output / RESULTS, results)
    write_manifest(output)
    if json:
        print_json(results)
    done = len(images) - len(problems)
    wrote(output, f"{done} pictures, {RESULTS} with {len(results)} detections of score {score:g} or more")
    if problems:
        raise HmhsaInsertError(problems)


def _detect_one(
    detector: nn.Module, image: Path, number: int, score: float, picture: Path, names: list[str]
) -> list[dict[str, Any]]:
    from hmhsa_insert.detection.predict import detect, draw, read_image

    found = detect(detector, read_image(image), number, score)
    drawn = draw(found, names)
    write_file(picture, drawn.save, HmhsaInsertError)
    return [{**entry, "file_name": str(image)} for entry in found.results]


def _write(path: Path, results: list[dict[str, Any]]) -> None:
    from hmhsa_insert.training.loop.checkpoint import write_text

    write_text(path, json_text(results) + "\n")
