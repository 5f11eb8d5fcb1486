"""``hmhsa-insert data make-shapes OUT`` and ``data convert SOURCE``: data sets made, and their labels converted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hmhsa_insert.commands.options import OverwriteOption, SeedOption
from hmhsa_insert.commands.shared import shared


def make_shapes(
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to create.")],
    images: Annotated[
        int, typer.Option(help="Number of images of both splits; a fifth is for validation.")
    ] = 600,
    size: Annotated[int, typer.Option(help="Longer side of an image, in pixels.")] = 160,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Draw a small detection and segmentation set in COCO's format: shapes over photographs, with exact masks.

    Example: `hmhsa-insert data make-shapes shapes --images 600`
    """
    from rich.progress import Progress

    from hmhsa_insert.commands.console import progress, wrote
    from hmhsa_insert.detection.make_shapes import make_shapes as make

    disabled = progress.quiet or not progress.is_terminal
    with Progress(console=progress, transient=True, disable=disabled) as bar:
        task = bar.add_task("drawing", total=images)
        made = make(out_folder, images, size, seed, lambda: bar.advance(task), overwrite=overwrite)
    counts = zip(("training", "validation"), made.images, made.instances, strict=True)
    said = ", ".join(f"{name}: {images} images with {shapes} shapes" for name, images, shapes in counts)
    wrote(made.folder, said)


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder with COCO json, YOLO labels, Pascal VOC XML or CSV, what is in it is found; a data.yaml; "
            "shapes; FORMAT:FOLDER says the format.",
        ),
    ],
    to: Annotated[
        str, typer.Option(metavar="FORMAT", help="coco, yolo, voc, or masks: semantic masks as PNG files.")
    ],
    output: Annotated[Path, shared("--output", writes="labels and copies of the pictures", metavar="DIR")],
    overwrite: OverwriteOption = False,
) -> None:
    """Write a data set's labels in another format, with its pictures, and say what that format cannot carry.

    What is written is read back and compared: boxes, masks, ids, names, and all that the source says beside them.

    Example: `hmhsa-insert data convert coco --to yolo -o yolo`
    """
    from hmhsa_insert.commands.console import note, progress, wrote
    from hmhsa_insert.detection.convert import convert as convert_set

    with progress.status("finding the labels") as status:

        def show(what: str, done: int, total: int) -> None:
            status.update(f"{what}: {done:,} of {total:,} pictures")

        made = convert_set(source, to, output, overwrite=overwrite, on_step=show)
    for each in made.notes:
        note(each)
    wrote(made.folder, made.said)
