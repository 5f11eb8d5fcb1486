"""``hmhsa-insert data make-shapes OUT``: data sets that the project makes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(no_args_is_help=True, help="Make data sets.")


@data_app.callback()
def _group() -> None:
    """Make data sets."""


@data_app.command("make-shapes")
def make_shapes(
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to create.")],
    images: Annotated[
        int, typer.Option(help="Number of images of both splits; a fifth is for validation.")
    ] = 600,
    size: Annotated[int, typer.Option(help="Longer side of an image, in pixels.")] = 160,
    seed: Annotated[int, typer.Option(help="Seed; it determines every byte.")] = 0,
) -> None:
    """Draw a small detection and segmentation set in COCO's format: shapes over photographs, with exact masks.

    Example: `hmhsa-insert data make-shapes shapes --images 600`
    """
    from rich.progress import Progress

    from hmhsa_insert.commands.console import out, wrote
    from hmhsa_insert.detection.make_shapes import make_shapes as make

    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("drawing", total=images)
        made = make(out_folder, images, size, seed, lambda: progress.advance(task))
    counts = zip(("training", "validation"), made.images, made.instances, strict=True)
    said = ", ".join(f"{name}: {images} images with {shapes} shapes" for name, images, shapes in counts)
    wrote(made.folder, said)
