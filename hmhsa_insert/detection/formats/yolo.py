"""YOLO labels: a text file for each picture, a row for each object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmhsa_insert.detection.formats.format import (
    Faults,
    Format,
    Part,
    Parts,
    Step,
    copied,
    counted,
    listed,
    refuse_shared_stems,
    size_of,
    written,
)
from hmhsa_insert.detection.formats.yolo_files import NO_ORIENTED, Place, find_places, label_of
from hmhsa_insert.detection.formats.yolo_rows import Row, annotation, read_rows, row_of
from hmhsa_insert.training.data.digests import Watch


class Yolo(Format):
    """Boxes and polygons in text files."""

    name = "yolo"
    title = "YOLO labels"
    labels = "pictures with labels"
    layout = "data.yaml, or images/train with labels/train, or train/images with train/labels"
    masks = True
    writes = True

    def find(self, root: Path) -> Mapping[str, Place]:
        """Return where the splits lie."""
        return find_places(root)

    def read(self, places: Mapping[str, Place], masks: bool, watch: Watch | None = None) -> dict[str, Part]:
        """Return what is in the splits."""
        faults = Faults()
        read = {split: _read(place, masks, faults, watch) for split, place in places.items()}
        faults.report()
        seen = {each["category_id"] for part in read.values() for each in part.whole["annotations"]}
        for split, place in places.items():
            names = place.names or {number: str(number) for number in range(max(seen, default=0))}
            listed_names = [{"id": number + 1, "name": name} for number, name in names.items()]
            read[split].whole["categories"] = listed_names
        return read

    def write(self, parts: Parts, folder: Path, step: Step) -> None:
        """Write data.yaml, ``images/SPLIT`` and ``labels/SPLIT``; an object with a mask is a polygon."""
        refuse_shared_stems(parts)
        polygons = False
        for split, part in parts.items():
            numbers = {each["id"]: number for number, each in enumerate(part.whole["categories"])}
            for image, theirs in part.by_picture():
                copied(part, image, folder / "images" / split)
                rows = [row_of(each, image, numbers[each["category_id"]]) for each in theirs]
                polygons |= any(each.get("segmentation") for each in theirs)
                label = label_of(f"images/{split}/{image['file_name']}")
                written(folder / label, "".join(f"{row}\n" for row in rows))
                step()
        names = [each["name"] for each in next(iter(parts.values())).whole["categories"]]
        lines = [f"{split}: images/{split}" for split in parts]
        lines += ["task: segment"] if polygons else []
        lines += [
            f"nc: {len(names)}",
            "names:",
            *(f"  {n}: {json.dumps(name)}" for n, name in enumerate(names)),
        ]
        written(folder / "data.yaml", "".join(f"{line}\n" for line in lines))


def _read(place: Place, masks: bool, faults: Faults, watch: Watch | None) -> Part:
    pictures = place.pictures(faults)
    folder, names = _cut(place, pictures)
    images: list[dict[str, Any]] = []
    rows: list[tuple[int, Row]] = []
    damaged, without = [], []
    for number, (picture, name) in enumerate(zip(pictures, names, strict=True), 1):
        listed(watch, number, len(pictures))
        size = size_of(place.root / picture)
        if size is None:
            damaged.append(name)
            continue
        image = len(images) + 1
        images.append({"id": image, "file_name": name, "width": size[0], "height": size[1]})
        label = place.root / label_of(picture)
        if not label.is_file():
            without.append(name)
            continue
        found = read_rows(label, size, place.names, place.keypoints, masks, faults)
        rows += [(image, row) for row in found]
    if not pictures:
        faults.add(place.where, f"there are no pictures in {_shown(place)}")
    elif len(without) == len(images) and images:
        looked = place.root / label_of(pictures[0])
        faults.add(place.where, f"no picture of {_shown(place)} has labels", f"looked for {looked}")
    _refuse_oriented(place, [row for _, row in rows], faults)
    annotations = [{"id": n, **annotation(row, image)} for n, (image, row) in enumerate(rows, 1)]
    notes = (*place.notes, *counted(without, "pictures have no label file, and count as without objects"))
    if place.keypoints:
        notes += ("keypoints are not read",)
    whole = {"images": images, "annotations": annotations, "categories": []}
    return Part(place.where, folder, whole, tuple(damaged), notes)


def _cut(place: Place, pictures: list[str]) -> tuple[Path, list[str]]:
    """Return the folder that names are below, and the names: of a split of one folder that folder, else the root."""
    if len(place.listed) != 1 or not place.listed[0].is_dir():
        return place.root, pictures
    start = place.listed[0].relative_to(place.root).as_posix()
    return place.listed[0], [each.removeprefix(f"{start}/") for each in pictures]


def _refuse_oriented(place: Place, rows: list[Row], faults: Faults) -> None:
    """Refuse a split of four corners alone: oriented boxes have them, and nothing else tells these from polygons."""
    polygons = [row for row in rows if row.polygon is not None]
    four = all(len(row.polygon or ()) == 8 for row in polygons)
    if place.task != "segment" and four and (tilted := [row for row in polygons if row.tilted]):
        message = f"an oriented box, as all {len(polygons):,} with corners have four of them"
        faults.add(f"{tilted[0].where}:1", message, NO_ORIENTED)


def _shown(place: Place) -> str:
    return ", ".join(each.relative_to(place.root).as_posix() or "." for each in place.listed)
