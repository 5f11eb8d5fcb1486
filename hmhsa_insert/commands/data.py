"""``hmhsa-insert data make-shapes OUT``: data sets that the project makes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hmhsa_insert.commands.options import OverwriteOption, SeedOption


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
