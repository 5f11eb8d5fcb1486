"""The shapes set: a small data set in COCO's format that the project makes itself, the same bytes for one seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hmhsa_insert.detection.coco_tools import mask_tools
from hmhsa_insert.detection.shapes import SHAPES, Drawn, Pixels, Scene, draw_scene
from hmhsa_insert.errors import Argument, Problem
from hmhsa_insert.files.whole_folder import replaceable, whole_folder
from hmhsa_insert.training.loop.seeding import derived_seed
from hmhsa_insert.training.problems import DataError

_ASPECTS = ((1.0, 1.0), (0.75, 1.0), (1.0, 0.75))  # height and width, as shares of the size
_VAL_SHARE = 0.2
_SPLITS = ("train", "val")
# What names the set as a source of data.
SHAPES_SET = "shapes"


@dataclass(frozen=True)
class Made:
    """What was written.

    Attributes:
        folder: of the set.
        images, instances: of the training and the validation split.
    """

    folder: Path
    images: tuple[int, int]
    instances: tuple[int, int]


def make_shapes(
    folder: str | Path,
    images: int = 600,
    size: int = 160,
    seed: int = 0,
    on_image: Callable[[], None] | None = None,
    *,
    overwrite: bool = False,
) -> Made:
    """Write the set: ``images/train``, ``images/val``, ``annotations/instances_train.json`` and ``…_val.json``.

    Backgrounds are crops of scikit-learn's two sample photographs; boxes are the tight boxes of the masks, masks are
    exact, written as compressed RLE. A fifth of the images is the validation split.

    Args:
        folder: must not exist, unless `overwrite` and a set was written there.
        images: of both splits together, at least 2.
        size: longer side of an image, in pixels.
        seed: determines every byte.
        on_image: called after each image.
        overwrite: replace an older set.

    Raises:
        DataError: the folder exists or cannot be written; too few images or too small ones.
    """
    target = Path(folder)
    ours = _check(target, images, size, overwrite)
    val = max(1, round(_VAL_SHARE * images))
    photographs = _photographs()
    instances = []
    with whole_folder(target, ours, DataError) as writing:
        for split, count in zip(_SPLITS, (images - val, val), strict=True):
            split_seed = derived_seed(seed, _SPLITS.index(split))
            instances.append(_write_split(writing, split, count, size, split_seed, photographs, on_image))
    return Made(target, (images - val, val), (instances[0], instances[1]))


def shapes_folder(data_dir: str | Path | None) -> Path:
    """Return the folder of the source ``shapes``, in `data_dir` or here; the set is drawn if it is not there.

    Raises:
        DataError: it cannot be written.
    """
    folder = Path(data_dir or ".") / SHAPES_SET
    if not folder.exists():
        make_shapes(folder, size=128)
    return folder


def _check(folder: Path, images: int, size: int, overwrite: bool) -> list[str]:
    """Return the files of an older set there, which are to be replaced."""
    ours, problems = replaceable(folder, overwrite)
    if images < 2:
        problems.append(
            Problem(Argument("images"), f"{images} make no training and validation split", "at least 2")
        )
    if not 32 <= size <= 4096:
        problems.append(Problem(Argument("size"), f"{size} pixels", "32 to 4096"))
    if problems:
        raise DataError(problems)
    return ours


def _photographs() -> list[Pixels]:
    from sklearn.datasets import load_sample_image

    return [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]


def _write_split(
    root: Path,
    split: str,
    count: int,
    size: int,
    seed: int,
    photographs: list[Pixels],
    on_image: Callable[[], None] | None,
) -> int:
    """Write one split; return how many shapes it has."""
    folder = root / "images" / split
    folder.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        rng = np.random.default_rng([seed, number])
        shares = _ASPECTS[int(rng.integers(len(_ASPECTS)))]
        height, width = (round(share * size) for share in shares)
        scene = draw_scene(rng, photographs, height, width)
        name = f"{number:06d}.jpg"
        Image.fromarray(scene.pixels).save(folder / name, quality=92)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        annotations += _annotations(scene, number, len(annotations))
        if on_image is not None:
            on_image()
    whole = {
        "info": {"description": f"hmhsa-insert shapes, {split}"},
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name, "supercategory": "shape"} for number, name in enumerate(SHAPES, 1)
        ],
    }
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(whole), encoding="utf-8")
    return len(annotations)


def _annotations(scene: Scene, image: int, before: int) -> list[dict[str, Any]]:
    return [
        {"id": before + number, "image_id": image, "iscrowd": 0, **_described(shape)}
        for number, shape in enumerate(scene.shapes, 1)
    ]


def _described(shape: Drawn) -> dict[str, Any]:
    """Return class, mask, area and tight box [x, y, width, height] of a shape."""
    rle = mask_tools().encode(np.asfortranarray(shape.mask, dtype=np.uint8))
    rows, columns = (np.flatnonzero(shape.mask.any(axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "category_id": 1 + list(SHAPES).index(shape.name),
        "segmentation": {"size": list(shape.mask.shape), "counts": rle["counts"].decode("ascii")},
        "area": int(shape.mask.sum()),
        "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
    }
