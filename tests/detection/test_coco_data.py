"""COCO-format data: layouts, what is left out, and every kind of damage said at once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coco_sets import CATEGORIES, GOOD, SIDE, box, split, write
from pycocotools import mask as coco_mask

from hmhsa_insert.detection.coco_data import open_coco
from hmhsa_insert.training.problems import DataError


@pytest.mark.parametrize(("year", "below"), [("", "images"), ("2017", "."), ("2017", "images"), ("", ".")])
def test_layouts(tmp_path: Path, year: str, below: str) -> None:
    data = open_coco(write(tmp_path / "set", year=year, below=below))
    assert (len(data.train), len(data.val)) == (3, 3)
    assert data.train.image(0).size == (SIDE, SIDE)
    assert data.train.folder.name == f"train{year}"


def test_a_json_among_the_images(tmp_path: Path) -> None:
    for name in ("train", "valid"):
        write(tmp_path / "made" / name)
        folder = tmp_path / "set" / name
        folder.parent.mkdir(exist_ok=True)
        (tmp_path / "made" / name / "images" / "train").rename(folder)
        (folder / "_annotations.coco.json").write_text(json.dumps(GOOD))
    assert len(open_coco(tmp_path / "set").val) == 3


def test_of_two_years_the_last_counts_and_it_is_said(tmp_path: Path) -> None:
    root = write(tmp_path / "set", year="2014")
    write(tmp_path / "other", year="2017")
    for path in sorted((tmp_path / "other").rglob("*"), key=lambda path: len(path.parts)):
        target = root / path.relative_to(tmp_path / "other")
        if path.is_file():
            path.rename(target)
        else:
            target.mkdir(exist_ok=True)
    data = open_coco(root)
    assert data.train.folder.name == "train2017"
    assert "train: instances_train2017.json counts, not instances_train2014.json" in data.notes


def test_ids_with_holes_become_labels_and_targets_are_torchvisions(tmp_path: Path) -> None:
    data = open_coco(write(tmp_path / "set"), masks=True)
    assert data.classes == ("cat", "dog")
    assert data.category_ids == (3, 17)
    target = data.train.target(1)
    assert target["labels"].tolist() == [1, 2]
    assert target["boxes"].tolist() == [[0, 0, 8, 8], [10, 10, 35, 35]]
    assert target["masks"].shape == (2, SIDE, SIDE)
    assert target["masks"].dtype == torch.uint8
    assert target["masks"].sum((1, 2)).tolist() == [64, 625]
    assert int(target["masks"][0, :8, :8].sum()) == 64
    empty = data.train.target(2)
    assert empty["boxes"].shape == (0, 4)
    assert empty["labels"].shape == (0,)
    assert empty["masks"].shape == (0, SIDE, SIDE)


def test_all_three_forms_of_a_mask(tmp_path: Path) -> None:
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8, order="F")
    mask[4:9, 10:30] = 1
    rle = coco_mask.encode(mask)
    compressed = {"size": [SIDE, SIDE], "counts": rle["counts"].decode()}
    runs = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel(order="F"), [2]])))
    uncompressed = {"size": [SIDE, SIDE], "counts": np.diff(np.concatenate([[0], runs])).tolist()}
    polygon = [[10, 4, 30, 4, 30, 9, 10, 9]]
    forms = [box(1, 3, (10, 4, 20, 5), segmentation=each) for each in (compressed, uncompressed, polygon)]
    masks = open_coco(write(tmp_path / "set", split(forms)), masks=True).train.target(0)["masks"]
    assert len(masks) == 3
    for found in masks:
        assert np.array_equal(found.numpy(), mask)


def test_what_is_left_out_is_counted_and_said(tmp_path: Path) -> None:
    annotations = [
        box(1, 3, (5, 5, 10, 10)),
        box(1, 3, (5, 5, 0, 10), 41),
        box(1, 3, (-20, 5, 15, 10), 42),  # wholly outside
        box(1, 3, (30, 30, 20, 20)),  # half outside: clipped
        box(2, 3, (5, 5, 20, 20), iscrowd=1),
        box(1, 3, (6, 6, 10, 10), 43, segmentation=[[1, 1, 2, 2]]),  # two corners: no area
    ]
    root = write(tmp_path / "set", split(annotations))
    data = open_coco(root)
    assert data.train.target(0)["boxes"].tolist() == [[5, 5, 15, 15], [30, 30, 40, 40], [6, 6, 16, 16]]
    assert data.notes == (
        "train: 2 boxes without area in the image left out (id 41 of 1.png, id 42 of 1.png), "
        "1 crowd regions not trained on, 2 images without boxes kept as negatives",
    )
    masked = open_coco(root, masks=True)
    assert len(masked.train.target(0)["masks"]) == 2
    said = "id 41 of 1.png, id 42 of 1.png, id 43 of 1.png"
    assert masked.notes[0].startswith(f"train: 3 boxes without area or mask in the image left out ({said})")
    # Nothing is taken from what is evaluated.
    assert sum(len(record.annotations) for record in data.train.records) == 6


def test_missing_images_are_left_out_or_refused(tmp_path: Path) -> None:
    many = split([box(9, 3, (1, 1, 9, 9))], images=range(1, 10))
    root = write(tmp_path / "set", many)
    for number in range(1, 9):
        (root / "images" / "train" / f"{number}.png").unlink()
    data = open_coco(root)
    said = "8 of 9 image files are missing: 1.png, 2.png, 3.png, 4.png, 5.png and 3 more"
    assert data.notes[0] == f"instances_train.json: {said}; left out"
    assert [record.id for record in data.train.records] == [9]
    with pytest.raises(DataError, match="8 of 9 image files are missing") as caught:
        open_coco(root, missing="error")
    assert "loader.corrupt=skip" in caught.value.problems[0].tip
    (root / "images" / "train" / "9.png").unlink()
    with pytest.raises(DataError, match="9 of 9 image files are missing"):
        open_coco(root)


@pytest.mark.parametrize(
    ("listed", "changes", "said"),
    [
        ("images", {"height": 0}, "no 'height' and 'width' in pixels: images[0] (id 1)"),
        ("images", {"file_name": "../1.png"}, "a 'file_name' outside the folder of images: images[0] (id 1)"),
        ("images", {"id": "1"}, "is not a mapping with an integer 'id': images[0] (id 1)"),
        ("categories", {"name": ""}, "no 'name': categories[0] (id 3)"),
    ],
)
def test_only_the_entry_that_is_wrong_is_said(
    tmp_path: Path, listed: str, changes: dict[str, Any], said: str
) -> None:
    own = changes.get("id", 1)
    boxes = [box(1, 3, (1, 1, 9, 9), number) | {"image_id": own} for number in (1, 2)]
    whole = split(boxes, images=(1,), categories=[{"id": 3, "name": "a"}])
    whole[listed][0].update(changes)
    for bad_box in (False, True):
        if bad_box:  # what else is wrong is said with it
            whole["annotations"][1]["bbox"] = [1, 2]
        with pytest.raises(DataError) as caught:
            open_coco(write(tmp_path / f"set{bad_box}", whole, files=False))
        more = ["no 'bbox' of four numbers [x, y, width, height]: annotations[1] (id 2)"] * bad_box
        assert [problem.message for problem in caught.value.problems] == [said, *more]


def _damaged(**changes: Any) -> dict[str, Any]:
    return split([box(1, 3, (1, 1, 9, 9)) | changes])


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        ("{", r"json:1:2: it is damaged: expecting property name"),
        ("[]", "it has no list 'images', 'annotations', 'categories'"),
        ({"images": [], "annotations": {}, "categories": []}, "it has no list 'annotations'"),
        (_damaged(image_id=9), "an 'image_id' that no image has: annotations[0]"),
        (_damaged(image_id=[1]), "an 'image_id' that no image has: annotations[0]"),
        (_damaged(category_id=4), "a 'category_id' that no category has: annotations[0]"),
        (_damaged(bbox=[1, 2, 3]), "no 'bbox' of four numbers"),
        (_damaged(bbox=[1, 2, 3, float("nan")]), "no 'bbox' of four numbers"),
        (_damaged(iscrowd=7), "an 'iscrowd' that is neither 0 nor 1"),
        (_damaged(segmentation=None), "no 'segmentation'"),
        (_damaged(segmentation=[[1, 2, 3]]), "not a list of polygons"),
        (_damaged(segmentation={"size": [5, 5], "counts": "11"}), "whose size is not the image's"),
        (
            split([box(1, 3, (1, 1, 9, 9))], categories=[*CATEGORIES, CATEGORIES[0]]),
            "an 'id' that another one has",
        ),
        (split([], images=()), "there are no images"),
        (split([]), "no image has a box to learn from"),
        (split([], categories=[{"id": 1}]), "no 'name': categories[0]"),
    ],
)
def test_damage_is_named(tmp_path: Path, whole: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_coco(write(tmp_path / "set", whole), masks=True)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "C:\\x.png", "a/../../b.png"])
def test_no_image_outside_the_folder_is_read(tmp_path: Path, name: str) -> None:
    whole = split([box(1, 3, (1, 1, 9, 9))])
    whole["images"][0]["file_name"] = name
    with pytest.raises(DataError, match="outside the folder of images"):
        open_coco(write(tmp_path / "set", whole, files=False))


def test_all_kinds_of_damage_together(tmp_path: Path) -> None:
    whole = split([box(8, 3, (1, 1, 9, 9), 20 + n) for n in range(7)] + [box(1, 8, (1, 1, 9, 9))])
    with pytest.raises(DataError) as caught:
        open_coco(write(tmp_path / "set", whole))
    messages = [problem.message for problem in caught.value.problems]
    assert len(messages) == 2
    assert messages[0].endswith("annotations[3] (id 23), annotations[4] (id 24) and 2 more")


def test_other_categories_in_the_two_files(tmp_path: Path) -> None:
    other = split([], categories=[{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}])
    with pytest.raises(DataError, match="5 is 'nothing' there, 'dog' here"):
        open_coco(write(tmp_path / "set", val=other))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        open_coco(tmp_path / "none")
    with pytest.raises(DataError) as caught:
        open_coco(tmp_path)
    assert [problem.message for problem in caught.value.problems] == [
        "no annotation file of the train split",
        "no annotation file of the val split",
    ]
    root = write(tmp_path / "set", files=False)
    (root / "images" / "val").rmdir()
    (root / "images" / "train").rmdir()
    (root / "images").rmdir()
    with pytest.raises(DataError, match="there is no folder of its images"):
        open_coco(root)


def test_the_fingerprint_sees_one_number(tmp_path: Path) -> None:
    other = split([*GOOD["annotations"][:2], box(2, 17, (10, 10, 25, 26), 3)])
    one, same = (open_coco(write(tmp_path / name)).fingerprint for name in ("one", "same"))
    assert one == same
    assert open_coco(write(tmp_path / "other", val=other)).fingerprint != one


def test_a_wrong_size_is_a_damaged_image(tmp_path: Path) -> None:
    root = write(tmp_path / "set")
    whole = json.loads(json.dumps(GOOD))
    whole["images"][0]["width"] = SIDE + 1
    (root / "annotations" / "instances_train.json").write_text(json.dumps(whole))
    with pytest.raises(DataError, match=f"is {SIDE}×{SIDE} upright, annotated as {SIDE + 1}×{SIDE}"):
        open_coco(root).train.image(0)
