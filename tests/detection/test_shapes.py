"""The shapes set: masks are exact, boxes tight, bytes the same for one seed, and nothing is half-written."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from typer.testing import CliRunner

from hmhsa_insert.commands import app
from hmhsa_insert.detection import make_shapes as module
from hmhsa_insert.detection.coco_data import open_coco
from hmhsa_insert.detection.make_shapes import make_shapes
from hmhsa_insert.detection.shapes import SHAPES, draw_scene
from hmhsa_insert.training.problems import DataError

GRAY = [np.full((200, 300, 3), 90, dtype=np.uint8)]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), height=st.integers(32, 90), width=st.integers(32, 90))
def test_masks_are_what_is_painted(seed: int, height: int, width: int) -> None:
    scene = draw_scene(np.random.default_rng(seed), GRAY, height, width)
    assert scene.pixels.shape == (height, width, 3)
    masks = np.array([shape.mask for shape in scene.shapes]).reshape(-1, height, width)
    assert masks.sum(axis=0).max(initial=0) <= 1  # no pixel is two shapes'
    assert all(mask.any() for mask in masks)
    painted = (scene.pixels != 90).any(axis=2)
    seen = masks.any(axis=0)
    assert not (painted & ~seen).any()
    # A painted pixel may have the color of what was there, but rarely.
    assert (seen & ~painted).sum() <= 0.05 * max(seen.sum(), 1)


def test_the_shapes_have_their_areas() -> None:
    """Against the closed formulas, on a fine grid over the square around the unit circle."""
    side = 1000
    x, y = np.meshgrid(*[(np.arange(side) + 0.5) / side * 2 - 1] * 2)
    star = 10 * 0.5 * 1.0 * 0.42 * np.sin(np.pi / 5)
    areas = {
        "circle": np.pi,
        "ring": np.pi * (1 - 0.55**2),
        "square": 2.0,
        "triangle": 3 * np.sqrt(3) / 4,
        "star": star,
    }
    assert areas.keys() == SHAPES.keys()
    for name, area in areas.items():
        assert SHAPES[name](x, y).mean() * 4 == pytest.approx(area, abs=0.01), name


def test_the_set_is_valid_exact_and_split(tmp_path: Path) -> None:
    made = make_shapes(tmp_path / "set", images=20, size=64, seed=1)
    assert made.images == (16, 4)
    for split, images, instances in zip(("train", "val"), made.images, made.instances, strict=True):
        whole = json.loads((tmp_path / "set" / "annotations" / f"instances_{split}.json").read_text())
        assert len(whole["images"]) == images
        assert len(whole["annotations"]) == instances > 0
        assert [each["name"] for each in whole["categories"]] == list(SHAPES)
        sizes = {each["id"]: (each["height"], each["width"]) for each in whole["images"]}
        for image in whole["images"]:
            with Image.open(tmp_path / "set" / "images" / split / image["file_name"]) as file:
                assert file.size == (image["width"], image["height"])
        for each in whole["annotations"]:
            mask = coco_mask.decode(each["segmentation"])
            assert mask.shape == sizes[each["image_id"]]
            assert mask.sum() == each["area"] > 0
            assert coco_mask.toBbox(each["segmentation"]).tolist() == each["bbox"]
    data = open_coco(tmp_path / "set", masks=True)
    assert data.classes == tuple(SHAPES)
    assert (len(data.train), len(data.val)) == made.images


def test_one_seed_gives_one_set_of_bytes(tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    make_shapes(first, images=6, size=48, seed=5)
    make_shapes(again, images=6, size=48, seed=5)
    make_shapes(other, images=6, size=48, seed=6)
    assert digests(first) == digests(again)
    assert digests(first) != digests(other)
    assert digests(first)["images/train/000001.jpg"] != digests(first)["images/val/000001.jpg"]


def test_what_is_wrong_is_said_together_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(DataError) as caught:
        make_shapes(tmp_path / "here", images=1, size=10)
    assert [problem.message for problem in caught.value.problems] == [
        "it exists",
        "1 make no training and validation split",
        "10 pixels",
    ]
    assert os.listdir(tmp_path / "here") == []


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.json, "dumps", full)
    with pytest.raises(DataError, match="No space left on device"):
        make_shapes(tmp_path / "set", images=4, size=48)
    assert os.listdir(tmp_path) == []


def test_the_command(tmp_path: Path) -> None:
    arguments = ["data", "make-shapes", str(tmp_path / "set"), "--images", "8", "--size", "48"]
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "training: 6 images with" in result.output
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 1
    assert "it exists" in again.output
