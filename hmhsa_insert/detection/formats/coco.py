"""COCO json: one file for each split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmhsa_insert.detection.annotations import read_whole
from hmhsa_insert.detection.formats.format import Format, Part, Parts, Step, copied, written
from hmhsa_insert.detection.layout import Files, find_files
from hmhsa_insert.detection.segmentation import mask_area, read_segmentation
from hmhsa_insert.training.data.digests import Watch


class Coco(Format):
    """Boxes, polygons and run lengths in json."""

    name = "coco"
    title = "COCO json"
    labels = "annotation file"
    layout = "annotations/instances_train*.json and instances_val*.json beside train*/ and val*/ (or images/train*/ …)"
    masks = True
    writes = True
    as_given = True

    def find(self, root: Path) -> Mapping[str, tuple[Path, Files]]:
        """Return where the splits lie."""
        return {split: (root, files) for split, files in find_files(root).items()}

    def read(
        self, places: Mapping[str, tuple[Path, Files]], masks: bool, watch: Watch | None = None
    ) -> dict[str, Part]:
        """Return what is in the splits; entries are checked where they are sorted by image."""
        return {split: _read(*place) for split, place in places.items()}

    def write(self, parts: Parts, folder: Path, step: Step) -> None:
        """Write ``annotations/instances_SPLIT.json`` and ``images/SPLIT``; missing areas and crowd marks are added."""
        for split, part in parts.items():
            for image in part.whole["images"]:
                copied(part, image, folder / "images" / split)
                step()
            sizes = {each["id"]: (each["height"], each["width"]) for each in part.whole["images"]}
            annotations = [_complete(each, sizes[each["image_id"]]) for each in part.whole["annotations"]]
            text = json.dumps({**part.whole, "annotations": annotations})
            written(folder / "annotations" / f"instances_{split}.json", text)


def _complete(annotation: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return an annotation with what other readers of the format ask for."""
    across, down = annotation["bbox"][2:]
    drawn = annotation.get("segmentation")
    own = {
        "area": mask_area(read_segmentation(drawn, *size), *size) if drawn else across * down,
        "iscrowd": 0,
    }
    return {**own, **annotation}


def _read(root: Path, files: Files) -> Part:
    images = files.images(root)
    others = ", ".join(path.name for path in files.passed_over)
    notes = (f"{files.annotations.name} counts, not {others}",) if others else ()
    return Part(files.annotations, images, read_whole(files.annotations), notes=notes)
