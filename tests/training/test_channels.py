"""Pictures of more channels than are read: an error, unless the user asks for those that are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from hmhsa_insert.detection.coco_data import open_coco
from hmhsa_insert.training.data.sources import open_data, open_scored
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.schema import LoaderSettings


def _folder(root: Path, mode: str) -> Path:
    for name in "ab":
        (root / name).mkdir(parents=True)
        for number in range(4):
            Image.new(mode, (8, 8), (10 * number, 20, 30, 40)).save(root / name / f"{number}.tif")
    return root


def test_a_channel_that_would_be_dropped_is_refused(tmp_path: Path) -> None:
    folder = str(_folder(tmp_path / "pictures", "RGBX"))
    for opening in (open_data, open_scored):
        with pytest.raises(DataError) as caught:
            opening(folder)
        (problem,) = caught.value.problems
        assert (problem.where, problem.message) == ("a/0.tif", "has 4 channels, of which 3 are read")
        assert "`overrides=['loader.channels=3']` reads those" in problem.tip
    data = open_data(folder, loader=LoaderSettings(channels=3))
    assert data.channels == 3
    assert data.train.image(0).convert("RGB").getpixel((0, 0))[1:] == (20, 30)  # type: ignore[union-attr]


def test_a_mask_of_opacity_is_no_channel_of_its_own(tmp_path: Path) -> None:
    assert open_data(str(_folder(tmp_path / "pictures", "RGBA"))).channels == 3


def test_detection_says_it(tmp_path: Path) -> None:
    whole = {
        "images": [{"id": 1, "file_name": "1.tif", "height": 8, "width": 8}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25}],
        "categories": [{"id": 1, "name": "tree"}],
    }
    for split, mode in (("train", "RGBX"), ("val", "RGB")):
        folder = tmp_path / "images" / split
        folder.mkdir(parents=True)
        Image.new(mode, (8, 8)).save(folder / "1.tif")
        path = tmp_path / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(whole))
    assert open_coco(tmp_path).notes == ("train: 1.tif has 4 channels, of which 3 are read",)
