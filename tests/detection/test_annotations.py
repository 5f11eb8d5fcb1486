"""Annotations as people have them: areas, boxes and names of which pycocotools or torchvision would make wrong
numbers, a crash in the middle of an epoch, or a hang."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coco_sets import SIDE, box, split, write
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from hmhsa_insert.detection.coco_data import CocoData, open_coco
from hmhsa_insert.detection.loader import mirrored
from hmhsa_insert.detection.metric import average_precision
from hmhsa_insert.detection.plan_run import plan_detection
from hmhsa_insert.detection.resize import DetectorTransform
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.run import train_run

GOOD = [box(1, 3, (5, 5, 10, 10), 1), box(2, 17, (4, 4, 20, 20), 2), box(3, 3, (9, 9, 12, 12), 3)]
RUN: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 1,
    "optimizer": {"lr": 1e-4},
    "augment": {"hflip": 1.0},
    "detector": {"min_size": 64, "max_size": 64, "pyramid_channels": 8, "anchor_size": 8, "group_norm": True},
    "compute": {"device": "cpu"},
    "loader": {"workers": 0},
}


def _write(root: Path, whole: dict[str, Any], **options: Any) -> Path:
    """Write a set whose splits are alike."""
    return write(root, whole, whole, **options)


def _open(root: Path, annotation: dict[str, Any], **options: Any) -> CocoData:
    return open_coco(_write(root / "set", split([*GOOD, annotation])), **options)


TRIANGLE = [[5, 5, 35, 5, 5, 29]]  # its box has 30·24 = 720 pixels, the mask about half
_MASK = np.zeros((SIDE, SIDE), np.uint8, order="F")
_MASK[10:20, 10:30] = 1
RLE_200 = {"size": [SIDE, SIDE], "counts": coco_mask.encode(_MASK)["counts"].decode()}


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("missing", ["left out", None, "12", float("nan"), -3, True, 10**400])
def test_an_area_that_is_missing_is_that_of_the_mask(tmp_path: Path, masks: bool, missing: Any) -> None:
    area = float(coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(TRIANGLE, SIDE, SIDE))))
    assert 300 < area < 420
    drawn = {
        4: box(1, 3, (5, 5, 30, 24), 4, segmentation=TRIANGLE),
        5: box(2, 3, (10, 10, 20, 10), 5, segmentation=RLE_200),
        6: box(3, 3, (1, 1, 7, 3), 6) | ({} if masks else {"segmentation": None}),
    }
    for each in drawn.values():
        each["area"] = missing
        if missing == "left out":
            del each["area"]
    data = open_coco(_write(tmp_path / "set", split([*GOOD, *drawn.values()])), masks=masks)
    found = [record.annotations[-1]["area"] for record in data.val.records]
    assert found == [area, 200.0, 21.0]
    said = "3 annotations have no 'area': that of the mask is taken, or of the box"
    assert f"train: {said}" in data.notes
    assert f"val: {said}" in data.notes


def test_a_missing_area_is_that_of_the_part_of_a_box_in_the_image(tmp_path: Path) -> None:
    # Of 40×40 pixels: 10 of 20 across and 8 of 10 down; 7 of 12 and 5 of 9; none of 9 and 3 of 3.
    drawn = [box(1, 3, (30, -2, 20, 10), 4), box(1, 3, (-5, 35, 12, 9), 5), box(1, 3, (-20, 1, 9, 3), 6)]
    for each in drawn:
        del each["area"], each["segmentation"]
    data = open_coco(_write(tmp_path / "set", split([*GOOD, *drawn])))
    assert [each["area"] for each in data.val.records[0].annotations[1:]] == [80.0, 35.0, 0.0]


def test_a_thin_object_is_in_the_size_bin_of_its_mask(tmp_path: Path) -> None:
    """A box of 1900 pixels is medium, its mask of about 950 small: below 32² = 1024."""
    side = 128
    triangle = [[10, 10, 60, 10, 10, 48]]
    rle = coco_mask.merge(coco_mask.frPyObjects(triangle, side, side))
    image = {"id": 1, "file_name": "1.png", "height": side, "width": side}
    annotation = box(1, 3, (10, 10, 50, 38), 7, segmentation=triangle)
    del annotation["area"]
    data = open_coco(_write(tmp_path / "set", split([annotation], images=[image])), masks=True)
    found = {"image_id": 1, "category_id": 3, "score": 0.9, "bbox": [10, 10, 50, 38]}
    found["segmentation"] = {"size": [side, side], "counts": rle["counts"].decode()}
    for kind, small in (("mask", 1.0), ("box", 1.0)):
        scores = average_precision(data.val, [found], kind)  # type: ignore[arg-type]
        assert (scores["AP"], scores["APm"]) == (pytest.approx(1.0), None)
        assert scores["APs"] == (pytest.approx(small) if kind == "mask" else scores["APs"])


THIN = {
    "rounding": (30.0, 5, (0.1 + 0.2) * 100 - 0.3 * 100, 20),
    "1e-7 wide": (30.3, 5, 1e-7, 20),
    "1e-6 high": (5, 30.0, 20, 1e-6),
    "at the right edge": (39.9999999, 5, 20, 20),
    "at the lower edge": (5, 39.9999999, 20, 20),
    "near zero, and mirrored": (0.0, 5, 1e-7, 20),
    "the least double": (20.0, 5, 5e-324, 20),
}


@pytest.mark.parametrize("kind", THIN)
def test_a_box_that_collapses_in_float32_is_left_out_and_named(tmp_path: Path, kind: str) -> None:
    data = _open(tmp_path, box(2, 3, THIN[kind], 99))
    assert data.train.target(1)["boxes"].tolist() == [[4, 4, 24, 24]]
    assert data.notes == (
        "train: 1 boxes without area in the image left out (id 99 of 2.png)",
        "val: 1 boxes without area in the image count as objects to be found (id 99 of 2.png)",
    )
    result = train_run(plan_detection("timm/test_resnet", data, settings=RUN), tmp_path / "run")
    assert result.damaged == ()


@settings(max_examples=400, deadline=None)
@given(
    st.floats(-60, 60),
    st.floats(-60, 60),
    *([st.floats(0, 1) | st.floats(0, 1e-4)] * 2),
    st.floats(0.01, 300),
)
def test_what_is_trained_on_has_an_area_mirrored_and_scaled(
    left: float, top: float, across: float, down: float, scale: float
) -> None:
    from hmhsa_insert.detection.annotations import ImageRecord
    from hmhsa_insert.detection.coco_data import CocoSplit

    each = {"bbox": [left, top, across, down], "iscrowd": 0, "category_id": 1}
    record = ImageRecord(1, "1.png", 50, 60, (each,))
    target = CocoSplit(Path(), (record,), {1: 1}, False).target(0)
    target = mirrored(torch.zeros(3, 50, 60), target)[1]
    boxes = target["boxes"] * torch.tensor(scale)
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_a_box_that_is_thin_and_not_too_thin_is_trained_on(tmp_path: Path) -> None:
    data = _open(tmp_path, box(2, 3, (30.3, 5, 1e-3, 20), 99))
    assert len(data.train.target(1)["boxes"]) == 2
    assert data.notes == ()
    train_run(plan_detection("timm/test_resnet", data, settings=RUN), tmp_path / "run")


@pytest.mark.parametrize("size", [(600, 3), (3, 600), (2000, 1)])
def test_a_picture_that_is_too_thin_for_the_resize(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    images = [{"id": 1, "file_name": "thin.png", "height": height, "width": width}]
    images += [{"id": 2, "file_name": "2.png", "height": SIDE, "width": SIDE}]
    thin = box(1, 3, (width // 4, 0, width // 2, height) if width > 3 else (0, 100, width, 300), 1)
    data = open_coco(_write(tmp_path / "set", split([thin, GOOD[1]], images=images)))
    planned = plan_detection("timm/test_resnet", data, settings=RUN)
    result = train_run(planned, tmp_path / "run")
    assert (result.damaged, result.images) == ((), 2)


def test_the_resize_of_a_thin_picture() -> None:
    make = (32, 64, [0.5] * 3, [0.5] * 3)
    ours, theirs = DetectorTransform(*make), GeneralizedRCNNTransform(*make)
    image, boxes = torch.rand(3, 3, 600), torch.tensor([[150.0, 0.0, 450.0, 3.0]])
    target = {"boxes": boxes, "masks": torch.ones(1, 3, 600, dtype=torch.uint8)}
    resized, found = ours.resize(image, target)
    assert resized.shape == (3, 1, 64)
    assert found is not None
    assert found["boxes"].tolist() == [[16.0, 0.0, 48.0, 1.0]]
    assert found["masks"].shape == (1, 1, 64)
    assert target["boxes"] is boxes  # what was given is untouched
    for shape in ((3, 64, 64), (3, 10, 64), (3, 1, 64), (3, 480, 640)):
        image = torch.rand(shape)
        assert torch.equal(ours.resize(image)[0], theirs.resize(image)[0])


NAMES = [
    "2021-05-04T12:30:05.png",
    "cam1/12:30:05.png",
    "a:b.png",
    "..hidden.png",
    "a..b.png",
    "a b ü 人.png",
]


@pytest.mark.parametrize("name", [*NAMES, "x" * 200 + ".png", "./1.png", "new\nline\x1b[31m.png"])
def test_names_that_a_file_may_have(tmp_path: Path, name: str) -> None:
    images = [{"id": 1, "file_name": name, "height": SIDE, "width": SIDE}]
    root = _write(tmp_path / "set", split([GOOD[0]], images=images), files=False)
    for part in ("train", "val"):
        path = root / "images" / part / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (SIDE, SIDE)).save(path)
    assert open_coco(root).train.image(0).size == (SIDE, SIDE)


@pytest.mark.parametrize(
    "name", [".", "./", "", "\0", "a\0.png", "/", "..", "C:\\x.png", "c:/x.png", 7, None]
)
def test_names_that_no_file_has(tmp_path: Path, name: Any) -> None:
    images = [{"id": 8, "file_name": name, "height": SIDE, "width": SIDE}]
    whole = split([box(8, 3, (1, 1, 9, 9))], images=images)
    with pytest.raises(DataError, match=r"file_name'.*: images\[0\] \(id 8\)"):
        open_coco(_write(tmp_path / "set", whole, files=False))


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a/" * 3000 + ".png", "\ud800.png", "gone.png"])
def test_names_of_files_that_are_not_there(tmp_path: Path, name: str) -> None:
    images = [{"id": 8, "file_name": name, "height": SIDE, "width": SIDE}]
    whole = split([box(8, 3, (1, 1, 9, 9))], images=images)
    with pytest.raises(DataError, match="1 of 1 image files are missing"):
        open_coco(_write(tmp_path / "set", whole, files=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [10**400, 1, 9, 9]}, "no 'bbox' of four numbers"),
        ({"bbox": [1, 1, 10**30, 9]}, "no 'bbox' of four numbers"),
        ({"bbox": [1, 1, float("inf"), 9]}, "no 'bbox' of four numbers"),
        ({"bbox": ["1", 1, 9, 9]}, "no 'bbox' of four numbers"),
        ({"bbox": [True, 1, 9, 9]}, "no 'bbox' of four numbers"),
        ({"image_id": 10**30}, "an 'image_id' that no image has"),
        ({"category_id": 10**30}, "a 'category_id' that no category has"),
    ],
)
def test_numbers_that_no_array_holds(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    root = _write(tmp_path / "set", split([*GOOD, box(2, 3, (1, 1, 9, 9), 99)]))
    path = root / "annotations" / "instances_train.json"
    whole = json.loads(path.read_text())
    whole["annotations"][3] |= changes
    path.write_text(json.dumps(whole))
    with pytest.raises(DataError) as caught:
        open_coco(root)
    assert f"{message}" in str(caught.value)
    assert str(caught.value).endswith("annotations[3] (id 99)")
    assert str(path) in str(caught.value)


def test_sizes_that_no_picture_has(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "1.png", "height": 10**6, "width": 10**6}]
    with pytest.raises(DataError, match=r"that no picture has: images\[0\] \(id 1\)"):
        open_coco(_write(tmp_path / "set", split([GOOD[0]], images=images), files=False))
