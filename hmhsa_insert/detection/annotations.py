"""An annotation file of COCO's format: read, checked as a whole, and sorted by image."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hmhsa_insert.detection.segmentation import (
    BadSegmentation,
    is_int,
    is_number,
    mask_area,
    read_segmentation,
)
from hmhsa_insert.errors import Problem
from hmhsa_insert.files.json_text import read_json
from hmhsa_insert.files.text import DATASET
from hmhsa_insert.training.problems import DataError

_SHOWN = 5
_LISTS = ("images", "annotations", "categories")
_MOST_PIXELS = 2**31
GIVEN = "_given"  # of an annotation: what its file says, where something else is used


@dataclass(frozen=True)
class ImageRecord:
    """What the file says of one image.

    Attributes:
        id: its number in the file.
        file_name: below the folder of images.
        height, width: in pixels.
        annotations: of its objects, crowds included, each with id, category_id, bbox, area, iscrowd and, where
            masks are needed, segmentation.
    """

    id: int
    file_name: str
    height: int
    width: int
    annotations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Annotations:
    """A whole file.

    Attributes:
        path: of the file.
        images: by ascending id.
        categories: id -> name, by ascending id; ids may have holes.
    """

    path: Path
    images: tuple[ImageRecord, ...]
    categories: Mapping[int, str]


def read_annotations(path: Path, masks: bool) -> Annotations:
    """Read and check a file; annotations are renumbered from 1, which the metric needs (it takes 0 for none).

    Args:
        path: of the json file.
        masks: whether every annotation must have a segmentation.

    Raises:
        DataError: the file is not json of this form, or contradicts itself: all kinds of problems together.
    """
    return by_image(path, read_whole(path), masks)


def by_image(path: Path, whole: Mapping[str, Any], masks: bool) -> Annotations:
    """Return what an annotation file says, checked and sorted; arguments and errors as of :func:`read_annotations`."""
    problems = _Problems(path)
    images, image_ids = _by_id(whole["images"], "images", _image_fault, problems)
    categories, category_ids = _by_id(whole["categories"], "categories", _category_fault, problems)
    theirs: dict[int, list[Mapping[str, Any]]] = {number: [] for number in images}
    for place, each in enumerate(whole["annotations"]):
        try:
            if fault := _annotation_fault(each, image_ids, category_ids):
                raise BadSegmentation(fault)
            if each["image_id"] in images:  # else its image is what is wrong, and that is said
                theirs[each["image_id"]].append(_completed(each, images[each["image_id"]], masks))
        except BadSegmentation as error:
            problems.add(str(error), f"annotations[{place}]{_numbered(each)}")
    if not whole["images"]:
        problems.add("there are no images", "images")
    if not whole["categories"]:
        problems.add("there are no categories", "categories")
    problems.report()
    number = 0
    records = []
    for key in sorted(images):
        image = images[key]
        numbered = [dict(each, id=number + count) for count, each in enumerate(theirs[key], 1)]
        number += len(numbered)
        size = int(image["height"]), int(image["width"])
        records.append(ImageRecord(key, image["file_name"], *size, tuple(numbered)))
    names = {key: str(categories[key]["name"]) for key in sorted(categories)}
    return Annotations(path, tuple(records), names)


class _Problems:
    """Problems of one kind are many in a damaged file: counted, and the first few places shown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, list[str]] = {}

    def add(self, message: str, place: str) -> None:
        self._places.setdefault(message, []).append(place)

    def report(self) -> None:
        if self._places:
            found = (f"{message}: {few(places)}" for message, places in self._places.items())
            raise DataError([Problem(str(self._path), text) for text in found])


def few(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _numbered(entry: Any) -> str:
    """Return the id that an entry of the file has, if it has one."""
    number = entry.get("id") if isinstance(entry, dict) else None
    return f" (id {number})" if _is_id(number) else ""


def _is_id(value: Any) -> bool:
    """Return True for what people number entries with; only integers are right."""
    return is_int(value) or isinstance(value, str)


def read_whole(path: Path) -> dict[str, Any]:
    """Return what an annotation file holds, with the three lists that it must have.

    Raises:
        DataError: it is not json, or has not got them.
    """
    whole = read_json(path, DataError, DATASET)
    found = whole if isinstance(whole, dict) else {}
    missing = [f"'{key}'" for key in _LISTS if not isinstance(found.get(key), list)]
    if missing:
        message = f"is not an annotation file of COCO's format: it has no list {', '.join(missing)}"
        raise DataError(Problem(str(path), message))
    return found


def _by_id(
    entries: list[Any], title: str, fault_of: Callable[[Any], str], problems: _Problems
) -> tuple[dict[int, dict[str, Any]], set[Any]]:
    """Return the sound entries by their ids, and the ids of all, so that nothing is said of what refers to the rest."""
    ids = {each["id"] for each in entries if isinstance(each, dict) and _is_id(each.get("id"))}
    found: dict[int, dict[str, Any]] = {}
    for place, each in enumerate(entries):
        fault = "is not a mapping with an integer 'id'"
        if isinstance(each, dict) and is_int(each.get("id")):
            fault = fault_of(each) or ("an 'id' that another one has" if each["id"] in found else "")
        if fault:
            problems.add(fault, f"{title}[{place}]{_numbered(each)}")
        else:
            found[each["id"]] = each
    return found, ids


def _image_fault(image: Mapping[str, Any]) -> str:
    fault = _name_fault(image.get("file_name"))
    if fault:
        return fault
    sides: list[Any] = [image.get(key) for key in ("height", "width")]
    if not all(is_int(side) and side > 0 for side in sides):
        return "no 'height' and 'width' in pixels"
    return "" if math.prod(sides) <= _MOST_PIXELS else "a 'height' and 'width' that no picture has"


def _name_fault(name: Any) -> str:
    if not isinstance(name, str) or not PurePosixPath(name).parts or "\0" in name:
        return "no 'file_name'"
    path = PurePosixPath(name.replace("\\", "/"))
    # A colon is a letter of a name, but for a drive of Windows.
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:[\\/]", name):
        return "a 'file_name' outside the folder of images"
    return ""


def _category_fault(category: Mapping[str, Any]) -> str:
    return "" if isinstance(category.get("name"), str) and category["name"] else "no 'name'"


def _annotation_fault(each: Any, images: Set[Any], categories: Set[Any]) -> str:
    if not isinstance(each, dict):
        return "is not a mapping"
    if not _is_id(each.get("image_id")) or each["image_id"] not in images:
        return "an 'image_id' that no image has"
    if not _is_id(each.get("category_id")) or each["category_id"] not in categories:
        return "a 'category_id' that no category has"
    box = each.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
        return "no 'bbox' of four numbers [x, y, width, height]"
    if each.get("iscrowd", 0) not in (0, 1):
        return "an 'iscrowd' that is neither 0 nor 1"
    return ""


def _completed(each: Mapping[str, Any], image: Mapping[str, Any], masks: bool) -> dict[str, Any]:
    """Return what is used of an annotation; area and iscrowd as COCO means them where they are missing.

    Raises:
        BadSegmentation: it has none that can be used, and masks are needed.
    """
    size = image["height"], image["width"]
    given = is_number(each.get("area")) and 0 <= each["area"] <= _MOST_PIXELS
    segmentation = None
    if masks or not given:
        with nullcontext() if masks else suppress(BadSegmentation):
            segmentation = read_segmentation(each.get("segmentation"), *size)
    kept = {
        "image_id": each["image_id"],
        "category_id": each["category_id"],
        "bbox": [float(number) for number in each["bbox"]],
        "iscrowd": int(each.get("iscrowd", 0)),
        GIVEN: {"id": each.get("id"), "area": given},
    }
    if given:
        kept["area"] = float(each["area"])
    else:
        kept["area"] = mask_area(segmentation, *size) if segmentation else _box_area(kept["bbox"], *size)
    return {**kept, "segmentation": segmentation} if masks else kept


def _box_area(box: Sequence[float], height: int, width: int) -> float:
    """Return the area of the part of a box that is in the image."""
    left, top, across, down = box
    sides = (min(left + across, width) - max(left, 0.0), min(top + down, height) - max(top, 0.0))
    return max(sides[0], 0.0) * max(sides[1], 0.0)
