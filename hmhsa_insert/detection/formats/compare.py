"""What a conversion did not carry: what was read compared with what is read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from hmhsa_insert.detection.annotations import few
from hmhsa_insert.detection.formats.format import Part, Parts
from hmhsa_insert.errors import Problem
from hmhsa_insert.training.problems import DataError

_OWN = {
    "images": {"id", "file_name", "width", "height"},
    "categories": {"id", "name"},
    "annotations": {"id", "image_id", "category_id", "bbox", "iscrowd", "segmentation"},
}
_LISTS = {"images": "pictures", "categories": "classes", "annotations": "objects"}
# Of a pixel: what is said, and what is refused; the box of a polygon alone is another one by right.
_SAME, _MOVED = 1e-3, 0.5


def not_carried(before: Parts, after: Parts) -> list[str]:
    """Return in words what differs between what was converted and what it became.

    Raises:
        DataError: other pictures, objects or classes are read back: the format cannot hold these.
    """
    said: dict[str, None] = {}
    for split, part in before.items():
        pairs = _pairs(split, part, after[split])
        said |= dict.fromkeys(_of_lists(part, after[split]))
        said |= dict.fromkeys(f"{split}: {each}" for each in _of_objects(pairs))
    return list(said)


Pair = tuple[dict[str, Any], dict[str, Any]]


def _pairs(split: str, before: Part, after: Part) -> list[Pair]:
    """Return the objects of both, one beside the other."""
    names = [[each["name"] for each in part.whole["categories"]] for part in (before, after)]
    if names[0] != names[1]:
        _refuse(split, "classes", names[0], names[1])
    now = {PurePosixPath(image["file_name"]).as_posix(): theirs for image, theirs in after.by_picture()}
    pairs: list[Pair] = []
    for image, theirs in before.by_picture():
        found = now.pop(PurePosixPath(image["file_name"]).as_posix(), None)
        if found is None or len(found) != len(theirs):
            _refuse(
                split,
                f"objects of {image['file_name']}",
                len(theirs),
                "none" if found is None else len(found),
            )
        for one, other in zip(theirs, found or [], strict=True):
            if _distance(one["bbox"], other["bbox"]) > _MOVED and not other.get("segmentation"):
                _refuse(split, f"a box of {image['file_name']}", one["bbox"], other["bbox"])
            pairs.append((one, other))
    if now:
        _refuse(split, "pictures", "none", few(sorted(now)))
    return pairs


def _refuse(split: str, what: str, before: object, after: object) -> None:
    message = f"{split}: {what} cannot be written in this format: {before} would be read back as {after}"
    raise DataError(
        Problem("conversion", message, "names may have characters that the format gives a meaning")
    )


def _of_lists(before: Part, after: Part) -> Iterator[str]:
    lists = [key for key in before.whole if key not in after.whole]
    if lists:
        yield f"not carried: {', '.join(sorted(lists))} of the whole set"
    for key, own in _OWN.items():
        lost = _keys(before, key) - _keys(after, key) - own
        if lost:
            yield f"not carried: {', '.join(sorted(lost))} of {_LISTS[key]}"
    for key in ("categories", "images"):
        field = "name" if key == "categories" else "file_name"
        now = {each[field]: each["id"] for each in after.whole[key]}
        moved = [each for each in before.whole[key] if now.get(each[field], each["id"]) != each["id"]]
        if moved:
            examples = few([f"{each['id']} is {now[each[field]]}" for each in moved])
            yield f"numbered anew: {_LISTS[key]} ({examples})"


def _keys(part: Part, key: str) -> set[str]:
    return {name for each in part.whole[key] for name in each}


def _of_objects(pairs: list[Pair]) -> Iterator[str]:
    if any(before["id"] != after["id"] for before, after in pairs):
        yield "numbered anew: objects"
    distances = [_distance(before["bbox"], after["bbox"]) for before, after in pairs]
    far = [each for each in distances if each > _SAME]
    if far:
        yield f"{len(far):,} boxes are other ones, by up to {max(far):.3g} pixels at an edge"
    masks = sum(bool(before.get("segmentation")) and not after.get("segmentation") for before, after in pairs)
    if masks:
        yield f"not carried: masks of {masks:,} objects"
    forms = sum(
        bool(after.get("segmentation")) and type(before["segmentation"]) is not type(after["segmentation"])
        for before, after in pairs
    )
    if forms:
        yield f"{forms:,} masks are polygons now, of the same pixels"


def _distance(before: list[float], after: list[float]) -> float:
    edges = [(box[0], box[1], box[0] + box[2], box[1] + box[3]) for box in (before, after)]
    return max(abs(float(one) - float(other)) for one, other in zip(*edges, strict=True))
