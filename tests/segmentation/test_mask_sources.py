"""Sources of images and masks: every layout, what is decided said, what cannot be used refused with its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hmhsa_insert.detection import make_shapes as shapes
from hmhsa_insert.segmentation.labels import IGNORED, CocoLabels, read_numbers
from hmhsa_insert.segmentation.layouts import VOC_CLASSES
from hmhsa_insert.segmentation.mask_data import MaskData
from hmhsa_insert.segmentation.open_masks import open_masks
from hmhsa_insert.segmentation.schema import MaskReadSettings
from hmhsa_insert.training.problems import DataError

LABELS = np.array([[0, 1, 2], [255, 2, 1]], dtype=np.uint8)
AS_CLASSES = [[0, 1, 2], [IGNORED, 2, 1]]


def picture(path: Path, size: tuple[int, int] = (3, 2)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 8, 7)).save(path)


def mask(path: Path, labels: Any = LABELS, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.asarray(labels)
    if mode == "P":
        image = Image.fromarray(labels.astype(np.uint8), "L")
        image.putpalette(list(range(255, -1, -1)) * 3)
    elif mode == "16":
        image = Image.fromarray(labels.astype(np.uint16))
    elif mode == "RGB":
        image = Image.fromarray(np.repeat(labels[..., None].astype(np.uint8), 3, axis=2))
    else:
        image = Image.fromarray(labels.astype(np.uint8))
    image.save(path)


def folders(root: Path, splits: tuple[str, ...] = ("train", "val"), mode: str = "L") -> Path:
    for split in splits:
        for name in ("a", "b"):
            picture(root / "images" / split / f"{name}.jpg")
            mask(root / "masks" / split / f"{name}.png", mode=mode)
    return root


def split_first(root: Path) -> Path:
    for split in ("training", "validation"):
        picture(root / split / "img" / "deep" / "a.png")
        mask(root / split / "label" / "deep" / "a_mask.png")
    return root


def voc(root: Path) -> Path:
    base = root / "VOCdevkit" / "VOC2012"
    for name, split in (("x", "train"), ("y", "val")):
        picture(base / "JPEGImages" / f"{name}.jpg")
        mask(base / "SegmentationClass" / f"{name}.png", mode="P")
        path = base / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    return root


def ade(root: Path) -> Path:
    for split in ("training", "validation"):
        picture(root / "images" / split / "ADE_1.jpg")
        mask(root / "annotations" / split / "ADE_1.png", [[1, 2, 3], [0, 3, 2]])
    lines = ["Idx\tRatio\tName", *(f"{n}\t0.1\t{name}, other" for n, name in enumerate("abc", 1))]
    (root / "objectInfo150.txt").write_text("\n".join(lines))
    return root


def table(root: Path) -> Path:
    folders(root)
    lines = ["image,mask,split"]
    lines += [f"images/{s}/{n}.jpg,masks/{s}/{n}.png,{s}" for s in ("train", "val") for n in ("a", "b")]
    path = root / "list.csv"
    path.write_text("\n".join([*lines, "images/val/b.jpg,masks/val/b.png,test"]))
    return path


LAYOUTS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], str]] = {
    "folders": (folders, ("0", "1", "2"), "folders of images and masks"),
    "split first": (split_first, ("0", "1", "2"), "folders of images and masks"),
    "voc": (voc, VOC_CLASSES, "VOC"),
    "ade": (ade, ("a", "b", "c"), "ADE20K"),
    "csv": (table, ("0", "1", "2"), "a CSV file of paths"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_found_and_said(layout: str, tmp_path: Path) -> None:
    make, classes, said = LAYOUTS[layout]
    data = open_masks(str(make(tmp_path)))
    assert data.classes == classes
    assert data.notes[0] == f"read as {said}: {len(classes)} classes"
    for split in (data.train, data.val):
        image, labels = split.pair(0)
        assert (image.size, image.mode) == ((3, 2), "RGB")
        assert labels.tolist() == AS_CLASSES
    assert data.whole is None


@pytest.mark.parametrize("mode", ["L", "P", "16", "RGB"])
def test_labels_are_numbers_whatever_the_file_shows(mode: str, tmp_path: Path) -> None:
    data = open_masks(str(folders(tmp_path, mode=mode)))
    assert data.train.pair(1)[1].tolist() == AS_CLASSES


def test_labels_of_sixteen_bits_go_beyond_255(tmp_path: Path) -> None:
    folders(tmp_path)
    mask(tmp_path / "masks/train/a.png", [[0, 300, 1], [255, 0, 0]], "16")
    data = open_masks(str(tmp_path))
    assert data.num_classes == 301
    assert data.train.pair(0)[1].tolist() == [[0, 300, 1], [IGNORED, 0, 0]]


def test_black_and_white_masks_have_two_classes(tmp_path: Path) -> None:
    folders(tmp_path)
    for path in tmp_path.glob("masks/*/*.png"):
        mask(path, [[0, 255, 0], [255, 0, 0]])
    data = open_masks(str(tmp_path))
    assert data.classes == ("0", "255")
    assert any("255 is a class of its own" in note for note in data.notes)
    assert data.train.pair(0)[1].tolist() == [[0, 1, 0], [1, 0, 0]]


def test_the_label_that_is_ignored_is_a_setting(tmp_path: Path) -> None:
    data = open_masks(str(folders(tmp_path)), loader=MaskReadSettings(ignore=2))
    assert data.num_classes == 256
    assert data.train.pair(0)[1].tolist() == [[0, 1, IGNORED], [255, IGNORED, 1]]
    zero = open_masks(str(tmp_path), loader=MaskReadSettings(zero="ignore"))
    assert zero.classes == ("1", "2")
    assert zero.train.pair(0)[1].tolist() == [[IGNORED, 0, 1], [IGNORED, 1, 0]]
    with pytest.raises(DataError, match="label 3 is none of the 3 classes"):
        open_masks(str(ade(tmp_path / "ade")), loader=MaskReadSettings(zero="class"))


def test_classes_are_named_by_a_file(tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\ntree\n")
    assert open_masks(str(tmp_path)).classes == ("sky", "road", "car", "tree")
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    with pytest.raises(DataError, match="label 2 is none of the 2 classes") as caught:
        open_masks(str(tmp_path))
    assert "loader.ignore=2" in str(caught.value)
    (tmp_path / "classes.txt").write_text("sky\nsky\n")
    with pytest.raises(DataError, match="it names 'sky' twice"):
        open_masks(str(tmp_path))


def test_without_a_validation_split_some_are_held_out_always_the_same(tmp_path: Path) -> None:
    for number in range(10):
        picture(tmp_path / "images" / f"{number}.jpg")
        mask(tmp_path / "masks" / f"{number}.png")
    data, again = (open_masks(str(tmp_path), loader=MaskReadSettings(val_share=0.3)) for _ in range(2))
    assert (len(data.train), len(data.val), len(data.whole)) == (7, 3, 10)
    names = [split.name(i) for split in (data.train, data.val) for i in range(len(split))]
    assert sorted(names) == [f"{number}.jpg" for number in range(10)]
    assert [data.val.name(i) for i in range(3)] == [again.val.name(i) for i in range(3)]
    assert "no validation split: 3 of 10 images held out, 7 for training" in data.notes


def test_what_has_no_partner_is_left_out_and_said(tmp_path: Path) -> None:
    folders(tmp_path)
    picture(tmp_path / "images/train/alone.jpg")
    mask(tmp_path / "masks/val/other.png")
    data = open_masks(str(tmp_path))
    assert (len(data.train), len(data.val)) == (2, 2)
    assert "1 images without a mask left out: 'alone.jpg'" in data.notes
    assert "1 masks without an image left out: 'other.png'" in data.notes


def test_the_fingerprint_is_of_images_masks_and_classes(tmp_path: Path) -> None:
    root = folders(tmp_path / "a")
    first = open_masks(str(root))
    assert first.fingerprint == open_masks(str(root)).fingerprint
    assert first.fingerprint == open_masks(str(folders(tmp_path / "b"))).fingerprint
    changed = LABELS.copy()
    changed[0, 0] = 1
    mask(root / "masks/val/b.png", changed)
    second = open_masks(str(root))
    assert (second.fingerprint != first.fingerprint, second.names_fingerprint) == (
        True,
        first.names_fingerprint,
    )
    (root / "classes.txt").write_text("x\ny\nz\n")
    assert open_masks(str(root)).names_fingerprint != first.names_fingerprint


def test_the_shapes_set_has_the_exact_masks_of_its_annotations(tmp_path: Path) -> None:
    shapes.make_shapes(tmp_path / "shapes", images=6, size=64, seed=3)
    data: MaskData = open_masks("shapes", tmp_path)
    assert data.classes == ("background", "circle", "ring", "square", "triangle", "star")
    whole = json.loads((tmp_path / "shapes/annotations/instances_train.json").read_text())
    areas = np.zeros(6, dtype=np.int64)
    for each in whole["annotations"]:
        areas[each["category_id"]] += each["area"]
    counted = np.zeros(6, dtype=np.int64)
    for index in range(len(data.train)):
        counted += np.bincount(data.train.pair(index)[1].ravel(), minlength=6)
    assert counted[1:].tolist() == areas[1:].tolist()
    assert areas[1:].any()


def test_smaller_objects_lie_above_larger_ones_and_crowds_are_ignored() -> None:
    from hmhsa_insert.detection.annotations import ImageRecord

    def box(left: int, top: int, right: int, bottom: int, **more: Any) -> dict[str, Any]:
        corners = [left, top, right, top, right, bottom, left, bottom]
        return {"segmentation": [list(map(float, corners))], "iscrowd": 0, "category_id": 7, **more}

    annotations = (box(2, 2, 4, 4, category_id=9), box(0, 0, 6, 6), box(4, 4, 8, 8, iscrowd=1))
    labels = CocoLabels(ImageRecord(1, "a", 8, 8, annotations), {7: 1, 9: 2}).read()
    expected = np.zeros((8, 8), dtype=np.int32)
    expected[4:8, 4:8] = IGNORED
    expected[0:6, 0:6] = 1
    expected[2:4, 2:4] = 2
    assert labels.tolist() == expected.tolist()


def panoptic(root: Path) -> Path:
    ids = np.array([[7, 300, 0], [7, 7, 300]])
    colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
    for split in ("train", "val"):
        picture(root / f"{split}2017" / "1.jpg")
        path = root / "annotations" / f"panoptic_{split}2017" / "1.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(colors).save(path)
        written = {
            "images": [{"id": 1, "file_name": "1.jpg"}],
            "categories": [{"id": 5, "name": "sky"}, {"id": 3, "name": "car"}],
            "annotations": [
                {
                    "image_id": 1,
                    "file_name": "1.png",
                    "segments_info": [{"id": 7, "category_id": 5}, {"id": 300, "category_id": 3}],
                }
            ],
        }
        (root / "annotations" / f"panoptic_{split}2017.json").write_text(json.dumps(written))
    return root


def test_panoptic_masks_have_things_and_stuff(tmp_path: Path) -> None:
    data = open_masks(str(panoptic(tmp_path)))
    assert data.classes == ("car", "sky")
    assert data.val.pair(0)[1].tolist() == [[1, 0, IGNORED], [1, 1, 0]]


def _panoptic_with(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], str]:
    def made(root: Path) -> str:
        path = panoptic(root) / "annotations" / "panoptic_train2017.json"
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))
        return str(root)

    return made


def _then(change: Callable[[Path], object], make: Callable[[Path], Path] = folders) -> Callable[[Path], str]:
    def made(root: Path) -> str:
        found = make(root)
        change(root)
        return str(found)

    return made


BROKEN: dict[str, tuple[Callable[[Path], str], str]] = {
    "nothing there": (lambda root: str(root / "none"), "there is no such folder"),
    "an empty folder": (lambda root: str(root), "no images and masks are found here"),
    "no pair": (
        _then(lambda root: [p.rename(p.with_name(f"z{p.name}")) for p in root.glob("masks/train/*")]),
        "no image has a mask of its name",
    ),
    "two of one name": (
        _then(lambda root: picture(root / "images/train/a.png")),
        "a.jpg and a.png have one name",
    ),
    "colors": (
        _then(
            lambda root: [Image.new("RGB", (3, 2), (1, 2, 3)).save(p) for p in [*root.glob("masks/*/*.png")]]
        ),
        "its pixels are colors (RGB), and one number a pixel is needed",
    ),
    "damaged": (
        _then(lambda root: [p.write_bytes(b"no png") for p in root.glob("masks/*/*.png")]),
        "cannot be read",
    ),
    "ignored alone": (
        _then(lambda root: [mask(p, np.full((2, 3), 255)) for p in root.glob("masks/*/*.png")]),
        "no pixel of a mask has a class",
    ),
    "csv without columns": (
        _then(lambda root: (root / "list.csv").write_text("image,msk\na,b\n"), table),
        "list.csv:1: there is no column 'mask'",
    ),
    "csv of missing files": (
        _then(lambda root: (root / "list.csv").write_text("image,mask\nimages/train/a.jpg,no.png\n"), table),
        "list.csv:2: there is no file",
    ),
    "voc without lists": (
        _then(lambda root: next(root.rglob("val.txt")).unlink(), voc),
        "val.txt: there is no list of this split's images",
    ),
    "voc of a missing file": (
        _then(lambda root: next(root.rglob("y.jpg")).unlink(), voc),
        "val.txt:1: there is no file JPEGImages/y.jpg",
    ),
    "ade without names": (
        _then(lambda root: (root / "objectInfo150.txt").write_text("Idx\n"), ade),
        "it does not name the classes",
    ),
    "panoptic of no image": (
        _panoptic_with(lambda values: values["annotations"][0].update(image_id=2)),
        "1 annotations of no image that is listed: 1.png",
    ),
    "panoptic of no category": (
        _panoptic_with(lambda values: values["categories"].pop()),
        "1 annotations with a category that is not listed: 1.png",
    ),
    "panoptic of another form": (
        _panoptic_with(lambda values: values.update(annotations="all")),
        "'annotations' must be a list",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_used_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    make, message = BROKEN[case]
    with pytest.raises(DataError) as caught:
        open_masks(make(tmp_path))
    assert message in str(caught.value)


@pytest.mark.parametrize("values", [[[-1, 0]], [[70000, 0]]])
def test_numbers_that_no_label_has_are_refused(values: list[list[int]], tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    Image.fromarray(np.array(values, dtype=np.int32), "I").save(path)
    with pytest.raises(DataError, match="is no label: they are 0 to 65,535"):
        read_numbers(path)


def test_an_image_and_a_mask_of_other_sizes_do_not_belong_together(tmp_path: Path) -> None:
    folders(tmp_path)
    picture(tmp_path / "images/train/a.jpg", (2, 3))
    with pytest.raises(DataError, match="is 2×3 upright, and its mask 3×2"):
        open_masks(str(tmp_path)).train.pair(0)
