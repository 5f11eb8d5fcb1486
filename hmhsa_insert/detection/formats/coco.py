"""COCO json: one file for each split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hmhsa_insert.detection.annotations import read_whole
from hmhsa_insert.detection.formats.format import Format, Part
from hmhsa_insert.detection.layout import Files, find_files
from hmhsa_insert.training.data.digests import Watch


class Coco(Format):
    """Boxes, polygons and run lengths in json."""

    name = "coco"
    title = "COCO json"
    labels = "annotation file"
    layout = "annotations/instances_train*.json and instances_val*.json beside train*/ and val*/ (or images/train*/ …)"
    masks = True

    def find(self, root: Path) -> Mapping[str, tuple[Path, Files]]:
        """Return where the splits lie."""
        return {split: (root, files) for split, files in find_files(root).items()}

    def read(
        self, places: Mapping[str, tuple[Path, Files]], masks: bool, watch: Watch | None = None
    ) -> dict[str, Part]:
        """Return what is in the splits; entries are checked where they are sorted by image."""
        return {split: _read(*place) for split, place in places.items()}


def _read(root: Path, files: Files) -> Part:
    images = files.images(root)
    others = ", ".join(path.name for path in files.passed_over)
    notes = (f"{files.annotations.name} counts, not {others}",) if others else ()
    return Part(files.annotations, images, read_whole(files.annotations), notes=notes)
