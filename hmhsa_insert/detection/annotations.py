"""An annotation file of COCO's format: read, checked as a whole, and sorted by image."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.problems import DataError

_SHOWN = 5
_LISTS = ("images", "annotations", "categories")
_FEWEST_NUMBERS = 6  # of a polygon: pycocotools takes four numbers for a box


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
    """Read and check a file; annotations are numbered anew from 1, which the metric needs (it takes 0 for none).

    Args:
        path: of the json file.
        masks: whether every annotation must have a segmentation.

    Raises:
        DataError: the file is no json of this form, or contradicts itself: all kinds of problems together.
    """
    whole = _read(path)
    problems = _Problems(path)
    images = _by_id(whole["images"], "images", _image_fault, problems)
    categories = _by_id(whole["categories"], "categories", _category_fault, problems)
    theirs: dict[int, list[Mapping[str, Any]]] = {number: [] for number in images}
    for place, each in enumerate(whole["annotations"]):
        fault = _annotation_fault(each, images, categories, masks)
        if fault:
            problems.add(fault, f"annotations[{place}]")
        else:
            theirs[each["image_id"]].append(_completed(each, masks))
    if not images:
        problems.add("there are no images", "images")
    if not categories:
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


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(Problem(str(path), f"cannot be read: {error}")) from error
    found = whole if isinstance(whole, dict) else {}
    missing = [f"'{key}'" for key in _LISTS if not isinstance(found.get(key), list)]
    if missing:
        message = f"is no annotation file of COCO's format: it has no list {', '.join(missing)}"
        raise DataError(Problem(str(path), message))
    return found


def _by_id(
    entries: list[Any], title: str, fault_of: Callable[[Any], str], problems: _Problems
) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for place, each in enumerate(entries):
        fault = "is no mapping with a whole number 'id'"
        if isinstance(each, dict) and _is_int(each.get("id")):
            fault = fault_of(each) or ("an 'id' that another one has" if each["id"] in found else "")
        if fault:
            problems.add(fault, f"{title}[{place}]")
        else:
            found[each["id"]] = each
    return found


def _image_fault(image: Mapping[str, Any]) -> str:
    name = image.get("file_name")
    if not isinstance(name, str) or not name:
        return "no 'file_name'"
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "a 'file_name' outside the folder of images"
    sides: list[Any] = [image.get(key) for key in ("height", "width")]
    return "" if all(_is_int(side) and side > 0 for side in sides) else "no 'height' and 'width' in pixels"


def _category_fault(category: Mapping[str, Any]) -> str:
    return "" if isinstance(category.get("name"), str) and category["name"] else "no 'name'"


def _annotation_fault(
    each: Any, images: Mapping[int, Any], categories: Mapping[int, Any], masks: bool
) -> str:
    if not isinstance(each, dict):
        return "is no mapping"
    if not _is_int(each.get("image_id")) or each["image_id"] not in images:
        return "an 'image_id' that no image has"
    if not _is_int(each.get("category_id")) or each["category_id"] not in categories:
        return "a 'category_id' that no category has"
    box = each.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        return "no 'bbox' of four numbers [x, y, width, height]"
    if each.get("iscrowd", 0) not in (0, 1):
        return "an 'iscrowd' that is neither 0 nor 1"
    image = images[each["image_id"]]
    return _segmentation_fault(each.get("segmentation"), image) if masks else ""


def _segmentation_fault(value: Any, image: Mapping[str, Any]) -> str:
    if isinstance(value, list):
        polygons = all(isinstance(each, list) and all(map(_is_number, each)) for each in value)
        even = polygons and all(len(each) % 2 == 0 for each in value)
        return "" if even else "a 'segmentation' that is no list of polygons [x1, y1, x2, y2, …]"
    if isinstance(value, dict) and isinstance(value.get("counts"), str | list):
        fits = value.get("size") == [image["height"], image["width"]]
        return "" if fits else "a 'segmentation' whose size is not the image's"
    return "no 'segmentation' (polygons or RLE), which masks need"


def _completed(each: Mapping[str, Any], masks: bool) -> dict[str, Any]:
    """Return what is used of an annotation; area and iscrowd as COCO means them where they are missing."""
    left, top, width, height = (float(number) for number in each["bbox"])
    area: Any = each.get("area")
    kept = {
        "image_id": each["image_id"],
        "category_id": each["category_id"],
        "bbox": [left, top, width, height],
        "area": float(area) if _is_number(area) else width * height,
        "iscrowd": int(each.get("iscrowd", 0)),
    }
    if masks:
        kept["segmentation"] = _drawable(each["segmentation"])
    return kept


def _drawable(segmentation: Any) -> Any:
    """Return a segmentation without polygons of fewer than three corners."""
    if isinstance(segmentation, list):
        return [polygon for polygon in segmentation if len(polygon) >= _FEWEST_NUMBERS]
    return segmentation


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
