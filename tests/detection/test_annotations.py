"""Annotations as people have them: masks, areas, boxes and names of which pycocotools or torchvision would make wrong
numbers, a crash in the middle of an epoch, or a hang."""

import json
import time
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
from hmhsa_insert.detection.rle import BadRuns, area_of, read_runs
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


def _mask() -> np.ndarray[Any, Any]:
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[10:20, 10:30] = 1
    return mask


TEXT = coco_mask.encode(_mask())["counts"].decode()
LARGER = coco_mask.encode(np.asfortranarray(np.pad(_mask(), ((0, 8), (0, 8)))))["counts"].decode()
ALL = SIDE * SIDE
FEWER, MORE = "has runs of fewer pixels than the image", "has runs of more pixels than the image"
RANGE = "has a run that is negative or longer than the image"
NO_RUN, NO_TEXT = "has a run that is no whole number", "its text has other characters"

BAD_COUNTS: dict[str, tuple[Any, str]] = {
    "too few": ([100, 50, 100], FEWER),
    "too many": ([100, 50, ALL], MORE),
    "larger mask": (LARGER, MORE),
    "cut off": (TEXT[:-2], FEWER),
    "cut off within a number": (TEXT[:1], "its text ends within a number"),
    "negative": ([100, -50, ALL - 50], RANGE),
    "one negative": ([-5], RANGE),
    "huge": ([10**9], RANGE),
    "beyond 64 bits": ([10**30], RANGE),
    "text in a list": (["a"], NO_RUN),
    "numbers as text": (["100", "50", str(ALL - 150)], NO_RUN),
    "nothing in a list": ([None], NO_RUN),
    "a list in a list": ([[100]], NO_RUN),
    "true": ([True, ALL - 1], NO_RUN),
    "half a pixel": ([0.5, ALL - 0.5], NO_RUN),
    "infinite": ([float("inf")], NO_RUN),
    "no number": ([float("nan")], NO_RUN),
    "bytes as text": (f"b'{TEXT}'", NO_TEXT),
    "no ASCII": ("é" + TEXT, "its text is not ASCII"),
    "a lone surrogate": ("\udce9" + TEXT, "its text is not ASCII"),
    "nothing": ("", FEWER),
    "an empty list": ([], FEWER),
    "a number that never ends": ("o" * 40 + "0", RANGE),
    "spaces": ("  " + TEXT, NO_TEXT),
}


def _open(root: Path, annotation: dict[str, Any], **options: Any) -> CocoData:
    return open_coco(_write(root / "set", split([*GOOD, annotation])), **options)


@pytest.mark.parametrize("kind", BAD_COUNTS)
def test_bad_runs_are_refused_with_file_and_id(tmp_path: Path, kind: str) -> None:
    counts, message = BAD_COUNTS[kind]
    rle = {"size": [SIDE, SIDE], "counts": counts}
    with pytest.raises(DataError) as caught:
        _open(tmp_path, box(2, 3, (10, 10, 20, 10), 99, segmentation=rle), masks=True)
    for problem, name in zip(caught.value.problems, ("train", "val"), strict=False):
        assert problem.where.endswith(f"instances_{name}.json")
        assert problem.message.startswith("a 'segmentation' that ")
        assert message in problem.message
        assert problem.message.endswith("annotations[3] (id 99)")
    # Where no mask is needed it is not looked at.
    assert len(_open(tmp_path / "boxes", box(2, 3, (10, 10, 20, 10), 99, segmentation=rle)).train) == 3


@pytest.mark.parametrize(
    "counts", [TEXT, [430, 10, 10], [float(430), 10, 10]], ids=["text", "whole numbers", "floats"]
)
def test_good_runs_are_the_mask(tmp_path: Path, counts: Any) -> None:
    if isinstance(counts, list):
        edges = np.flatnonzero(np.diff(_mask().ravel(order="F"), prepend=0, append=2))
        runs = np.diff(edges, prepend=0).tolist()
        counts = [type(counts[0])(each) for each in runs]
        assert sum(counts) == ALL
    rle = {"size": [SIDE, SIDE], "counts": counts}
    data = _open(tmp_path, box(2, 3, (10, 10, 20, 10), 99, segmentation=rle), masks=True)
    assert np.array_equal(data.train.target(1)["masks"][-1].numpy(), _mask())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_runs_are_read_as_pycocotools_writes_them(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    seed, share = (
        data.draw(st.integers(0, 2**16)),
        data.draw(st.sampled_from([0.0, 0.02, 0.3, 0.5, 0.98, 1.0])),
    )
    mask = np.asfortranarray(np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    mask = np.asfortranarray(mask)
    runs = read_runs(coco_mask.encode(mask)["counts"].decode(), height * width)
    flat = np.repeat(np.arange(len(runs)) % 2, runs)
    assert np.array_equal(flat.reshape(width, height).T, mask)
    assert area_of(runs) == mask.sum()


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters(max_codepoint=130), max_size=30), st.integers(1, 2000))
def test_what_is_let_through_is_decoded_to_its_own_runs(text: str, pixels: int) -> None:
    try:
        runs = read_runs(text, pixels)
    except BadRuns:
        return
    decoded = coco_mask.decode({"size": [pixels, 1], "counts": text})
    assert decoded[:, 0].tolist() == np.repeat(np.arange(len(runs)) % 2, runs).tolist()


def test_many_runs_are_read_quickly() -> None:
    mask = np.asfortranarray(np.random.default_rng(0).random((640, 480)) < 0.5).astype(np.uint8)
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    start = time.perf_counter()
    for _ in range(20):
        read_runs(text, mask.size)
    assert time.perf_counter() - start < 20  # a loop over the characters takes several times as long


@pytest.mark.parametrize(
    "polygon", [[1e300, 0, 5, 5, 0, 5], [0, 0, 5, -1e9, 0, 5], [0, 0, 10**18, 10**18, 5, 5]]
)
def test_a_polygon_that_pycocotools_would_draw_for_hours(tmp_path: Path, polygon: list[float]) -> None:
    with pytest.raises(DataError, match=r"a corner far outside the image: annotations\[3\] \(id 99\)"):
        _open(tmp_path, box(2, 3, (1, 1, 5, 5), 99, segmentation=[polygon]), masks=True)


def test_an_empty_mask_is_no_mask_to_learn_from(tmp_path: Path) -> None:
    rle = {"size": [SIDE, SIDE], "counts": [ALL]}
    data = _open(tmp_path, box(2, 3, (1, 1, 5, 5), 99, segmentation=rle), masks=True)
    assert len(data.train.target(1)["boxes"]) == 1
    assert "1 boxes without area or mask in the image left out (id 99 of 2.png)" in data.notes[0]


TRIANGLE = [[5, 5, 35, 5, 5, 29]]  # its box has 30·24 = 720 pixels, the mask about half
RLE_200 = {"size": [SIDE, SIDE], "counts": TEXT}


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
    assert data.notes == ("train: 1 boxes without area in the image left out (id 99 of 2.png)",)
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
