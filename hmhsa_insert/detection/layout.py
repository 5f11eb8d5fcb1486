"""Where a COCO-format data set keeps its annotation files and images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.split_names import split_name
from hmhsa_insert.training.problems import DataError

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)
_WORDS = {TRAIN: ("train", "training"), VAL: ("val", "valid", "validation"), TEST: ("test",)}
_ROBOFLOW = "_annotations.coco.json"


@dataclass(frozen=True)
class Files:
    """The files of one split.

    Attributes:
        annotations: the json file.
        tried: folders that the images' names may be below.
        passed_over: other annotation files that the split could have been.
    """

    annotations: Path
    tried: tuple[Path, ...]
    passed_over: tuple[Path, ...] = ()

    def images(self, root: Path) -> Path:
        """Return the folder of the images.

        Raises:
            DataError: there is none.
        """
        found = next((folder for folder in self.tried if folder.is_dir()), None)
        if found is None:
            tried = ", ".join(str(folder.relative_to(root)) for folder in self.tried)
            raise DataError(
                Problem(str(self.annotations), "there is no folder of its images", f"tried: {tried}")
            )
        return found


def find_files(root: Path) -> dict[str, Files]:
    """Return the files of each split below `root`.

    Read are COCO's own layout (``annotations/instances_train2017.json``, ``train2017/``), the same with images below
    ``images/``, and a json file among each split's images. Of several years the last counts.
    """
    found = {}
    for split in SPLITS:
        if candidates := _annotation_files(root, split):
            *others, annotations = candidates
            found[split] = Files(annotations, tuple(_image_folders(root, split, annotations)), tuple(others))
    return found


def split_of(name: str) -> str | None:
    """Return the split that a folder's or a file's name says: ``train`` of ``Train2017``; None if it says none."""
    found = split_name(name)
    return found.kind if found is not None and not found.affix else None


def _annotation_files(root: Path, split: str) -> list[Path]:
    """Return what may be the split's file; the best one last."""
    words = "|".join(_WORDS[split])
    named = re.compile(rf"(instances_)?({words})[-_]?\d*\.json\Z")
    beside = [root / word / _ROBOFLOW for word in _WORDS[split]]
    found = [path for path in beside if path.is_file()]
    for folder in (root, root / "annotations"):
        if folder.is_dir():
            found += sorted(path for path in folder.iterdir() if named.match(path.name))
    return found


def _image_folders(root: Path, split: str, annotations: Path) -> list[Path]:
    if annotations.name == _ROBOFLOW:
        return [annotations.parent]
    tag = annotations.stem.removeprefix("instances_")
    names = dict.fromkeys((tag, *_WORDS[split]))
    return [root / below / name for name in names for below in ("images", ".")] + [root / "images"]
