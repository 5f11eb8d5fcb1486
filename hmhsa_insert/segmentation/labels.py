"""Labels of pixels: read from the file or the annotation that holds them, and numbered as classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from hmhsa_insert.detection.annotations import ImageRecord
from hmhsa_insert.detection.segmentation import decoded
from hmhsa_insert.errors import Problem
from hmhsa_insert.training.problems import DataError

Numbers = npt.NDArray[np.int32]
# Of a pixel that is neither learned from nor scored, whatever the file calls it.
IGNORED = -1
# Of a file: 16 bits hold it. More is no label, and a table of them would take memory.
MOST = 1 << 16
_ONE_NUMBER = {"1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N"}


class Labels(Protocol):
    """Where the labels of one image are."""

    def read(self) -> Numbers:
        """Return the class of each pixel, H×W; :data:`IGNORED` where there is none."""


@dataclass(frozen=True)
class Numbering:
    """Which class a number in a file stands for.

    Attributes:
        classes: number -> class.
        ignored: numbers that stand for no class.
    """

    classes: Mapping[int, int]
    ignored: frozenset[int]

    def numbered(self, numbers: Numbers, where: str) -> Numbers:
        """Return classes for the numbers of a file.

        Raises:
            DataError: a number is neither a class nor ignored.
        """
        present = np.flatnonzero(np.bincount(numbers.ravel()))
        unknown = [each for each in present.tolist() if each not in self.classes and each not in self.ignored]
        if unknown:
            message = f"label {unknown[0]} is none of the {len(self.classes)} classes"
            raise DataError(Problem(where, message))
        table = np.full(int(present.max(initial=0)) + 1, IGNORED, dtype=np.int32)
        for each in present.tolist():
            table[each] = self.classes.get(each, IGNORED)
        found: Numbers = table[numbers]
        return found


@dataclass(frozen=True)
class FileLabels:
    """Labels in an image file: palette, gray of 8 or 16 bits, or black and white.

    Attributes:
        path: of the file.
        numbering: of its numbers.
    """

    path: Path
    numbering: Numbering

    def read(self) -> Numbers:
        """Return the classes; raises DataError if the file cannot be read or holds other numbers."""
        return self.numbering.numbered(read_numbers(self.path), self.path.name)


@dataclass(frozen=True)
class CocoLabels:
    """Masks of objects, painted from the largest to the smallest; crowds are ignored where no object is.

    Attributes:
        record: the image and its annotations.
        classes: category id -> class; 0 is what no object covers.
    """

    record: ImageRecord
    classes: Mapping[int, int]

    def read(self) -> Numbers:
        """Return the classes."""
        height, width = self.record.height, self.record.width
        found = np.zeros((height, width), dtype=np.int32)
        drawn = [(each, decoded(each["segmentation"], height, width)) for each in self.record.annotations]
        # A stable order: crowds first, then the larger objects below the smaller ones.
        drawn.sort(key=lambda each: (not each[0]["iscrowd"], -int(each[1].sum())))
        for annotation, mask in drawn:
            label = IGNORED if annotation["iscrowd"] else self.classes[annotation["category_id"]]
            found[mask.astype(bool)] = label
        return found


@dataclass(frozen=True)
class PanopticLabels:
    """COCO's panoptic masks: a PNG in which red, green and blue are the digits of a segment's id to the base of 256.

    Attributes:
        path: of the PNG.
        segments: id -> class; what no segment covers is ignored.
    """

    path: Path
    segments: Mapping[int, int]

    def read(self) -> Numbers:
        """Return the classes; raises DataError if the file cannot be read or holds other ids."""
        colors = np.asarray(_opened(self.path).convert("RGB"), dtype=np.int64)
        ids = colors @ np.array([1, 256, 65536])
        present, places = np.unique(ids, return_inverse=True)
        unknown = [each for each in present.tolist() if each and each not in self.segments]
        if unknown:
            message = f"segment {unknown[0]} is not among its annotation's"
            raise DataError(Problem(self.path.name, message))
        table = np.array([self.segments.get(each, IGNORED) for each in present.tolist()], dtype=np.int32)
        found: Numbers = table[places].reshape(ids.shape)
        return found


def read_numbers(path: Path) -> Numbers:
    """Return the numbers in an image file, H×W.

    Raises:
        DataError: it cannot be read, has colors, or numbers that no label has.
    """
    image = _opened(path)
    values: npt.NDArray[Any] = np.asarray(image)
    if image.mode not in _ONE_NUMBER:
        if image.mode != "RGB" or not (values == values[..., :1]).all():
            message = f"its pixels are colors ({image.mode}), and one number a pixel is needed"
            tip = "save it with a palette, or as gray levels of 8 or 16 bits that are the labels"
            raise DataError(Problem(path.name, message, tip))
        values = values[..., 0]
    if values.size and (int(values.min()) < 0 or int(values.max()) >= MOST):
        found = int(values.min()) if int(values.min()) < 0 else int(values.max())
        raise DataError(Problem(path.name, f"{found} is no label: they are 0 to {MOST - 1:,}"))
    return values.astype(np.int32)


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except Exception as error:  # a damaged file fails in any way its format likes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(Problem(path.name, f"cannot be read: {reason}")) from error
