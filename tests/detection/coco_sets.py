"""Small sets in COCO's format, written as a test wants them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

SIDE = 40
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 17, "name": "dog"}]


def box(image: int, category: int, bbox: Sequence[float], number: int = 0, **more: Any) -> dict[str, Any]:
    x, y, w, h = bbox
    made = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [*bbox],
        "area": w * h,
        "iscrowd": 0,
    }
    return made | {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]} | more


def split(
    annotations: list[dict[str, Any]], images: Sequence[Any] = (1, 2, 3), **more: Any
) -> dict[str, Any]:
    listed = [
        {"id": i, "file_name": f"{i}.png", "height": SIDE, "width": SIDE} if isinstance(i, int) else i
        for i in images
    ]
    return {"images": listed, "annotations": annotations, "categories": CATEGORIES} | more


GOOD = split([box(1, 17, (5, 5, 20, 10), 1), box(2, 3, (0, 0, 8, 8), 2), box(2, 17, (10, 10, 25, 25), 3)])


def write(
    root: Path, train: Any = None, val: Any = None, year: str = "", below: str = "images", files: bool = True
) -> Path:
    """Write a set in the layout ``annotations/instances_SPLIT{year}.json`` with images in ``below/SPLIT{year}``."""
    (root / "annotations").mkdir(parents=True)
    for name, whole in (("train", train or GOOD), ("val", val or GOOD)):
        path = root / "annotations" / f"instances_{name}{year}.json"
        path.write_text(whole if isinstance(whole, str) else json.dumps(whole))
        folder = root / below / f"{name}{year}"
        folder.mkdir(parents=True)
        if files and not isinstance(whole, str):
            for image in whole.get("images", []):
                size = (image["width"], image["height"])
                Image.new("RGB", size, (10 * image["id"] % 256, 60, 90)).save(folder / image["file_name"])
    return root
