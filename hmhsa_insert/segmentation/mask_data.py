"""Images whose pixels have classes, as the loop and the loaders know them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from hmhsa_insert.errors import Problem
from hmhsa_insert.segmentation.labels import Labels, Numbers
from hmhsa_insert.training.data.pictures import read_picture
from hmhsa_insert.training.problems import DataError


class MaskRecord(NamedTuple):
    """One image.

    Attributes:
        name: of the image, for reports.
        image: its file.
        labels: where its labels are.
    """

    name: str
    image: Path
    labels: Labels


@dataclass(frozen=True)
class MaskSplit:
    """Images that belong together."""

    records: tuple[MaskRecord, ...]

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """Return what a report calls one image."""
        return self.records[index].name

    def image(self, index: int) -> Image.Image:
        """Return one image as it looks, RGB."""
        with self.records[index].image.open("rb") as file:
            return read_picture(file).convert("RGB")

    def pair(self, index: int) -> tuple[Image.Image, Numbers]:
        """Return one image as it looks, RGB, and the class of each pixel, H×W.

        Raises:
            DataError: their sizes differ, or the labels cannot be read; a damaged image raises what its format does.
        """
        image, labels = self.image(index), self.records[index].labels.read()
        if image.size != labels.shape[::-1]:
            height, width = labels.shape
            message = f"is {image.width}×{image.height} upright, and its mask {width}×{height}"
            raise DataError(Problem(self.name(index), message))
        return image, labels


@dataclass(frozen=True)
class MaskData:
    """A source of images whose pixels have classes.

    Attributes:
        source: what the user called it.
        train, val: the splits.
        classes: names in the order of their numbers.
        fingerprint: digest of names, classes and what is in the files.
        notes: what was decided and left out.
        names_fingerprint: digest of names and classes alone.
        whole: what `val` was held out of; None where the source has a validation split of its own.
    """

    source: str
    train: MaskSplit
    val: MaskSplit
    classes: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    names_fingerprint: str = ""
    whole: MaskSplit | None = None
    channels: int = 3

    @property
    def num_classes(self) -> int:
        """How many classes a pixel can have."""
        return len(self.classes)
