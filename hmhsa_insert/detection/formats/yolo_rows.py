"""The rows of a YOLO label file: a class and a box, or a class and a polygon, in shares of the picture's sides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmhsa_insert.detection.formats.format import Faults, number_of, read_lines
from hmhsa_insert.detection.formats.outline import outline
from hmhsa_insert.detection.segmentation import decoded, read_segmentation

_TOKEN = re.compile(r"\S+")
_CLASS = re.compile(r"\d{1,9}(\.0*)?\Z", re.ASCII)
_LEAST, _MOST = -0.01, 1.01  # of a share: writers round, and boxes at an edge end a little beyond it
_BOX, _SMALLEST = 4, 6  # numbers of a box, and of a polygon of three corners
_CORNERS = 8  # numbers of four corners
_MOST_ROWS = 10_000  # of one picture
_DIGITS = 6  # of a pixel that are kept: so a box that was in whole pixels is again
FORMS = "a row is CLASS X Y WIDTH HEIGHT (the centre), or CLASS X1 Y1 X2 Y2 X3 Y3 …, all from 0 to 1"


@dataclass(frozen=True)
class Row:
    """One object.

    Attributes:
        where: ``file:line``.
        number: of its class.
        box: [x, y, width, height] in pixels.
        polygon: [x1, y1, x2, y2, …] in pixels; None of a box alone.
        tilted: whether it has four corners that are no upright box: an oriented box, or a polygon.
    """

    where: str
    number: int
    box: list[float]
    polygon: list[float] | None
    tilted: bool = False


def read_rows(
    path: Path, size: tuple[int, int], names: Mapping[int, str], keypoints: int, masks: bool, faults: Faults
) -> list[Row]:
    """Return the objects of one label file; what is wrong goes to `faults`.

    Args:
        path: of the file.
        size: width and height of its picture, in pixels.
        names: of the classes; empty if any number is one.
        keypoints: how many numbers of keypoints follow each box.
        masks: whether every object must be a polygon.
        faults: for what is wrong.
    """
    lines = read_lines(path, faults)
    if len(lines) > _MOST_ROWS:
        faults.add(path, f"it has {len(lines):,} rows, and at most {_MOST_ROWS:,} are read for one picture")
        return []
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = _Line(f"{path}:{number}", line, faults)
            found += row.read(size, names, keypoints, masks)
    return found


class _Line:
    def __init__(self, where: str, line: str, faults: Faults) -> None:
        self._where, self._faults = where, faults
        self._tokens = list(_TOKEN.finditer(line))

    def read(self, size: tuple[int, int], names: Mapping[int, str], keypoints: int, masks: bool) -> list[Row]:
        """Return the object of the row; nothing if it has a fault."""
        number = self._class(names)
        values = self._values()
        if number is None or values is None or not self._fits(len(values), keypoints, masks):
            return []
        if keypoints:
            values = values[:_BOX]
        if not self._in_range(values):
            return []
        width, height = size
        pixels = [value * (height if place % 2 else width) for place, value in enumerate(values)]
        if len(values) == _BOX:
            x, y, across, down = pixels
            return [Row(self._where, number, _rounded([x - across / 2, y - down / 2, across, down]), None)]
        polygon = _rounded(pixels)
        xs, ys = polygon[::2], polygon[1::2]
        box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        tilted = len(values) == _CORNERS and (len(set(xs)) > 2 or len(set(ys)) > 2)
        return [Row(self._where, number, _rounded(box), polygon, tilted)]

    def _class(self, names: Mapping[int, str]) -> int | None:
        text = self._tokens[0][0]
        if not _CLASS.match(text):
            self._fault(0, f"{text[:40]!r} is not the number of a class", FORMS)
            return None
        number = int(text.partition(".")[0])
        if names and number not in names:
            tip = f"there are {len(names)} classes, 0 to {max(names)}"
            self._fault(0, f"there is no class {number}", tip)
            return None
        return number

    def _values(self) -> list[float] | None:
        values = []
        for place, token in enumerate(self._tokens[1:], 1):
            value = number_of(token[0])
            if value is None:
                self._fault(place, f"{token[0][:40]!r} is not a number", FORMS)
                return None
            values.append(value)
        return values

    def _fits(self, count: int, keypoints: int, masks: bool) -> bool:
        if keypoints and count == _BOX + keypoints:
            return True
        if count == _BOX and not keypoints:
            if masks:
                self._fault(0, "a box and no polygon, which masks need")
            return not masks
        if count >= _SMALLEST and count % 2 == 0 and not keypoints:
            return True
        message, tip = f"{count} numbers after the class", FORMS
        if keypoints:
            tip = f"with kpt_shape, {_BOX + keypoints} are expected"
        elif count == _BOX + 1:
            tip = "a fifth is the angle of an oriented box or the confidence of a prediction: neither is a label here"
        self._fault(0, message, tip)
        return False

    def _in_range(self, values: list[float]) -> bool:
        for place, value in enumerate(values, 1):
            least = 0.0 if len(values) == _BOX and place > 2 else _LEAST
            if not least <= value <= _MOST:
                tip = "divide pixels by the width or height of the picture" if value > _MOST else ""
                self._fault(
                    place, f"{self._tokens[place][0][:40]} is not a share of the picture, 0 to 1", tip
                )
                return False
        return True

    def _fault(self, place: int, message: str, tip: str = "") -> None:
        self._faults.add(f"{self._where}:{self._tokens[place].start() + 1}", message, tip)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, _DIGITS) for value in values]


def annotation(row: Row, image: int) -> dict[str, Any]:
    """Return an object in COCO's form, without its id."""
    made: dict[str, Any] = {"image_id": image, "category_id": row.number + 1, "bbox": row.box, "iscrowd": 0}
    return made if row.polygon is None else {**made, "segmentation": [row.polygon]}


def row_of(each: Mapping[str, Any], image: Mapping[str, Any], number: int) -> str:
    """Return the row of an object in COCO's form: a polygon where it has a mask, else a box."""
    width, height = image["width"], image["height"]
    if each.get("segmentation"):
        values = _polygon(each["segmentation"], height, width)
    else:
        left, top, across, down = each["bbox"]
        values = [left + across / 2, top + down / 2, across, down]
    shares = (value / (height if place % 2 else width) for place, value in enumerate(values))
    return " ".join([str(number), *(f"{share:.10g}" for share in shares)])


def _polygon(segmentation: Any, height: int, width: int) -> list[float]:
    """Return one polygon: the only one, if it lies in the image, else the outline of the pixels that are drawn."""
    drawn = read_segmentation(segmentation, height, width)
    if isinstance(drawn, list) and len(drawn) == 1:
        xs, ys = drawn[0][::2], drawn[0][1::2]
        if min(xs) >= 0 and min(ys) >= 0 and max(xs) <= width and max(ys) <= height:
            return list(drawn[0])
    mask = decoded(drawn, height, width)
    return outline(mask)
