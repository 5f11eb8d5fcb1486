"""Where a COCO-format data set keeps its annotation files and images."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.problems import DataError

TRAIN, VAL = "train", "val"
_WORDS = {TRAIN: ("train", "training"), VAL: ("val", "valid", "validation")}
_ROBOFLOW = "_annotations.coco.json"
_TIP = (
    "expected ROOT/annotations/instances_train*.json and instances_val*.json beside train*/ and val*/ "
    "(or images/train*/ …); hmhsa-insert data make-shapes ROOT makes such a set"
)


@dataclass(frozen=True)
class Files:
    """The files of one split.

    Attributes:
        annotations: the json file.
        images: the folder that the images' names are below.
        passed_over: other annotation files that the split could have been.
    """

    annotations: Path
    images: Path
    passed_over: tuple[Path, ...] = ()


def find_files(root: Path) -> tuple[Files, Files]:
    """Return the training and the validation files below `root`.

    Read are COCO's own layout (``annotations/instances_train2017.json``, ``train2017/``), the same with images below
    ``images/``, and a json file among each split's images. Of several years the last counts.

    Raises:
        DataError: there is no such folder, file or images; all that is missing together.
    """
    if not os.path.isdir(root):
        raise DataError(Problem(str(root), "there is no such folder", _TIP))
    problems: list[Problem] = []
    found = [_find(root, split, problems) for split in (TRAIN, VAL)]
    train, val = found
    if train is None or val is None:
        raise DataError(problems)
    return train, val


def _find(root: Path, split: str, problems: list[Problem]) -> Files | None:
    candidates = _annotation_files(root, split)
    if not candidates:
        problems.append(Problem(str(root), f"no annotation file of the {split} split", _TIP))
        return None
    *others, annotations = candidates
    folders = _image_folders(root, split, annotations)
    images = next((folder for folder in folders if folder.is_dir()), None)
    if images is None:
        tried = ", ".join(str(folder.relative_to(root)) for folder in folders)
        problems.append(Problem(str(annotations), "there is no folder of its images", f"tried: {tried}"))
        return None
    return Files(annotations, images, tuple(others))


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
