"""Semantic masks: for each picture a PNG of the same stem whose pixels are the numbers of classes.

What is written is what ``train --task semantic`` reads as folders of images and masks: ``images/SPLIT``,
``masks/SPLIT``, and ``classes.txt`` with the names in the order of their numbers, ``background`` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hmhsa_insert.detection.formats.format import (
    Format,
    Part,
    Parts,
    Step,
    copied,
    refuse_shared_stems,
    written,
)
from hmhsa_insert.detection.segmentation import decoded, read_segmentation
from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.problems import DataError

BACKGROUND, IGNORED = 0, 255
_MOST_CLASSES = 254  # beside those two, in 8 bits


class Masks(Format):
    """Pixels of classes; it is written, and read as masks and not as boxes."""

    name = "masks"
    title = "semantic masks"
    labels = "masks of objects"
    layout = ""
    masks = True
    writes = True
    as_given = True

    def find(self, root: Path) -> Mapping[str, Any]:
        """Return nothing: masks of classes do not tell objects apart."""
        return {}

    def read(self, places: Mapping[str, Any], masks: bool, watch: Watch | None = None) -> dict[str, Part]:
        """Return nothing."""
        return {}

    def write(self, parts: Parts, folder: Path, step: Step) -> None:
        """Write images, masks and the list of classes.

        Raises:
            DataError: there are too many classes, objects without a mask, or two pictures of one stem.
        """
        categories = next(iter(parts.values())).whole["categories"]
        refuse_shared_stems(parts)
        _check(parts, len(categories))
        numbers = {each["id"]: number for number, each in enumerate(categories, 1)}
        for split, part in parts.items():
            for image, theirs in part.by_picture():
                copied(part, image, folder / "images" / split)
                path = folder / "masks" / split / PurePosixPath(image["file_name"]).with_suffix(".png")
                path.parent.mkdir(parents=True, exist_ok=True)
                drawn = Image.fromarray(painted(theirs, image, numbers))
                drawn.putpalette(palette())
                drawn.save(path)
                step()
        names = ["background", *(each["name"] for each in categories)]
        written(folder / "classes.txt", "".join(f"{name}\n" for name in names))


def painted(
    annotations: Iterable[Mapping[str, Any]], image: Mapping[str, Any], numbers: Mapping[int, int]
) -> npt.NDArray[np.uint8]:
    """Return the class of every pixel, H×W: crowds are ignored where no object is, small ones lie above large ones."""
    size = image["height"], image["width"]
    found = np.full(size, BACKGROUND, dtype=np.uint8)
    drawn = [(each, decoded(read_segmentation(each["segmentation"], *size), *size)) for each in annotations]
    for each, mask in sorted(drawn, key=lambda pair: (not pair[0].get("iscrowd"), -int(pair[1].sum()))):
        found[mask.astype(bool)] = IGNORED if each.get("iscrowd") else numbers[each["category_id"]]
    return found


def palette() -> list[int]:
    """Return the colors of Pascal VOC for 256 numbers, [r, g, b, r, …]: bits of a number, spread over three colors."""
    colors = []
    for number in range(256):
        for channel in range(3):
            colors.append(sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)))
    return colors


def _check(parts: Parts, classes: int) -> None:
    problems = []
    if classes > _MOST_CLASSES:
        message = f"{classes:,} classes, and masks of 8 bits hold {_MOST_CLASSES}"
        problems.append(Problem("categories", message))
    for split, part in parts.items():
        without = sum(not each.get("segmentation") for each in part.whole["annotations"])
        if without:
            message = (
                f"{without:,} of {len(part.whole['annotations']):,} objects of the {split} split have no mask"
            )
            tip = "a box says where an object is, and not which pixels are its own"
            problems.append(Problem(str(part.where), message, tip))
    if problems:
        raise DataError(problems)
