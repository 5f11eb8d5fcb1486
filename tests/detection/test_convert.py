"""Conversions of labels: round trips keep boxes, masks, ids and names; what a format cannot carry is said; broken sets
write nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_sets import GOOD, SIDE, box, split, write
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_sets import CAT, csv, voc, voc_file, voc_object, yolo
from PIL import Image
from pycocotools import mask as coco_mask
from typer.testing import CliRunner

from hmhsa_insert.commands import app
from hmhsa_insert.detection.coco_data import CocoData, open_objects
from hmhsa_insert.detection.convert import WRITTEN, convert
from hmhsa_insert.detection.formats.masks import palette
from hmhsa_insert.detection.formats.outline import outline
from hmhsa_insert.detection.make_shapes import make_shapes
from hmhsa_insert.detection.segmentation import decoded
from hmhsa_insert.training.problems import DataError


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shapes(tmp_path_factory.mktemp("shapes") / "set", images=40, size=96, seed=3).folder


def read(root: Path, masks: bool = False) -> CocoData:
    return open_objects(root, masks)


def trip(source: Path, folder: Path, *steps: str) -> tuple[Path, list[tuple[str, ...]]]:
    """Convert from one format to the next; return the last set, and the notes of each step."""
    notes, here = [], source
    for number, to in enumerate(steps):
        made = convert(str(here), to, folder / f"{number}-{to}")
        notes.append(made.notes)
        here = made.folder
    return here, notes


def same_masks(one: CocoData, other: CocoData) -> bool:
    pairs = zip((one.train, one.val), (other.train, other.val), strict=True)
    return all(
        np.array_equal(a.target(index)["masks"], b.target(index)["masks"])
        for a, b in pairs
        for index in range(len(a))
    )


@pytest.mark.parametrize(
    "steps", [("yolo", "coco"), ("voc", "coco"), ("yolo", "voc", "coco"), ("voc", "yolo", "coco")]
)
def test_round_trips_of_the_shapes_set(shapes: Path, tmp_path: Path, steps: tuple[str, ...]) -> None:
    back, _ = trip(shapes, tmp_path, *steps)
    before, after = read(shapes), read(back)
    assert (after.classes, after.category_ids) == (before.classes, before.category_ids)
    for one, other in ((before.train, after.train), (before.val, after.val)):
        assert [(r.id, r.file_name, r.height, r.width) for r in one.records] == [
            (r.id, r.file_name, r.height, r.width) for r in other.records
        ]
        pairs = [
            pair
            for a, b in zip(one.records, other.records, strict=True)
            for pair in zip(a.annotations, b.annotations, strict=True)
        ]
        assert len(pairs) > 10
        for a, b in pairs:
            assert (a["id"], a["category_id"]) == (b["id"], b["category_id"])
            assert np.abs(np.array(a["bbox"]) - b["bbox"]).max() < 1e-4  # half a pixel is asked for
        for record in one.records:
            assert (one.folder / record.file_name).read_bytes() == (
                other.folder / record.file_name
            ).read_bytes()


def test_masks_go_to_yolo_and_back_pixel_by_pixel(shapes: Path, tmp_path: Path) -> None:
    back, (forth, again) = trip(shapes, tmp_path, "yolo", "coco")
    assert same_masks(read(shapes, True), read(back, True))
    assert same_masks(read(shapes, True), read(tmp_path / "0-yolo", True))
    assert [note for note in forth if "boxes" in note or "of the same pixels" in note] == [
        "train: 81 masks are polygons now, of the same pixels",
        "val: 21 masks are polygons now, of the same pixels",
    ]
    assert "not carried: area of objects" in forth
    assert "not carried: supercategory of classes" in forth
    assert again == ("labels: YOLO labels",)


def test_what_voc_cannot_carry(shapes: Path, tmp_path: Path) -> None:
    _, (notes,) = trip(shapes, tmp_path, "voc")
    assert notes == (
        "labels: COCO json",
        "not carried: info of the whole set",
        "not carried: supercategory of classes",
        "not carried: area of objects",
        "train: not carried: masks of 81 objects",
        "val: not carried: masks of 21 objects",
    )


def test_vocs_flags_go_through_coco(tmp_path: Path) -> None:
    more = "<pose>Left</pose><difficult>1</difficult><truncated>0</truncated>"
    root = voc(tmp_path / "set", xml=voc_file(voc_object("cat", (11.5, 6, 30, 15), more), CAT))
    back, notes = trip(root, tmp_path, "coco", "voc")
    xml = (back / "Annotations" / "train-a.xml").read_text()
    assert "<pose>Left</pose><difficult>1</difficult><truncated>0</truncated>" in xml
    assert "<xmin>11.5</xmin><ymin>6</ymin><xmax>30</xmax><ymax>15</ymax>" in xml
    assert notes == [("labels: Pascal VOC XML",), ("labels: COCO json", "not carried: area of objects")]


@pytest.mark.parametrize("make", [yolo, voc, csv])
@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_every_format_becomes_every_other(make: Any, to: str, tmp_path: Path) -> None:
    root = make(tmp_path / "set")
    made = convert(str(root), to, tmp_path / "new")
    assert made.said == "train: 2 images with 2 objects, val: 2 images with 2 objects"
    before, after = read(root), read(made.folder)
    assert after.classes == before.classes
    for one, other in ((before.train, after.train), (before.val, after.val)):
        assert [[(e["category_id"], e["bbox"]) for e in r.annotations] for r in one.records] == [
            [(e["category_id"], e["bbox"]) for e in r.annotations] for r in other.records
        ]


def test_ids_with_holes_crowds_and_boxes_outside(tmp_path: Path) -> None:
    annotations = [
        box(1, 17, (-5, 5, 20, 10), 40),
        box(1, 3, (5, 5, 0, 10), 41),
        box(
            2, 3, (5, 5, 20, 20), 42, iscrowd=1, segmentation={"size": [SIDE, SIDE], "counts": [SIDE * SIDE]}
        ),
        box(2, 17, (2.5, 3.25, 10, 10), 44, keypoints=[1, 2, 3]),
    ]
    root = write(tmp_path / "set", split(annotations, licenses=[]))
    notes = convert(str(root), "yolo", tmp_path / "yolo").notes
    assert notes[:4] == (
        "labels: COCO json",
        "train: left out: 1 boxes without area in their pictures (id 41)",
        "train: left out: 1 crowd regions (id 42)",
        "train: 1 boxes are cut at the edges of their pictures",
    )
    assert "not carried: licenses of the whole set" in notes
    assert "not carried: area, keypoints of objects" in notes
    assert "numbered anew: classes (3 is 1, 17 is 2)" in notes
    assert "train: numbered anew: objects" in notes
    record = read(tmp_path / "yolo").train.records
    assert [[each["bbox"] for each in each.annotations] for each in record] == [
        [[0, 5, 15, 10]], [[2.5, 3.25, 10, 10]], [],
    ]  # fmt: skip
    assert convert(str(root), "coco", tmp_path / "coco").notes == ("labels: COCO json",)
    for name in ("train", "val"):
        one, other = (
            json.loads((tmp_path / place / "annotations" / f"instances_{name}.json").read_text())
            for place in ("set", "coco")
        )
        assert one == other


def test_polygons_stay_as_they_are_and_several_become_one(tmp_path: Path) -> None:
    two = [[1, 1, 11, 1, 11, 9, 1, 9], [20, 20, 30, 20, 30, 35]]
    bent = [[3, 3.5, 20.25, 5, 10, 30, 4, 8, 3, 5]]
    whole = split(
        [
            box(1, 3, (1, 1, 29, 34), 1, segmentation=two),
            box(2, 17, (3, 3.5, 17.25, 26.5), 2, segmentation=bent),
        ]
    )
    root = write(tmp_path / "set", whole)
    back, _ = trip(root, tmp_path, "yolo", "coco")
    found = json.loads((back / "annotations" / "instances_train.json").read_text())["annotations"]
    assert found[1]["segmentation"] == bent
    assert len(found[0]["segmentation"]) == 1
    assert same_masks(read(root, True), read(back, True))


@settings(max_examples=150, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1)))
def test_an_outline_draws_the_pixels_it_is_made_of(mask: Any) -> None:
    if not mask.any():
        mask[0, 0] = 1
    points = outline(mask)
    assert np.array_equal(decoded([points], *mask.shape), mask)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    xs, ys = points[::2], points[1::2]
    assert (min(xs), max(xs)) == (columns[0], columns[-1] + 1)
    assert (min(ys), max(ys)) == (rows[0], rows[-1] + 1)


def test_a_ring_has_its_hole() -> None:
    ring = np.ones((7, 8), np.uint8)
    ring[2:5, 3:6] = 0
    assert np.array_equal(decoded([outline(ring)], 7, 8), ring)
    assert outline(np.ones((2, 3), np.uint8)) == [0, 0, 3, 0, 3, 2, 0, 2]


def test_semantic_masks(tmp_path: Path) -> None:
    large, small = [[0, 0, 20, 0, 20, 20, 0, 20]], [[5, 5, 10, 5, 10, 10, 5, 10]]
    crowd = {"size": [SIDE, SIDE], "counts": [SIDE * 15, SIDE * 25]}
    annotations = [
        box(1, 17, (5, 5, 5, 5), 1, segmentation=small),
        box(1, 3, (0, 0, 20, 20), 2, segmentation=large),
        box(1, 3, (15, 0, 25, SIDE), 3, segmentation=crowd, iscrowd=1),
    ]
    root = write(tmp_path / "set", split(annotations))
    made = convert(str(root), "masks", tmp_path / "masks")
    assert (made.folder / "classes.txt").read_text() == "background\ncat\ndog\n"
    with Image.open(made.folder / "masks" / "train" / "1.png") as image:
        assert (image.mode, image.getpalette()[:15]) == ("P", palette()[:15])
        found = np.asarray(image)
    wanted = np.zeros((SIDE, SIDE), np.uint8)
    wanted[:, 15:] = 255
    wanted[:20, :20] = 1
    wanted[5:10, 5:10] = 2
    assert np.array_equal(found, wanted)
    names = sorted(str(path.relative_to(made.folder)) for path in made.folder.rglob("*.png"))
    assert names == [
        f"{kind}/{part}/{n}.png"
        for kind in ("images", "masks")
        for part in ("train", "val")
        for n in (1, 2, 3)
    ]
    # Of Pascal VOC: its table begins so.
    assert palette()[:15] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128]
    assert palette()[-3:] == [224, 224, 192]


NO_MASK = box(1, 3, (1, 1, 9, 9), segmentation=None)
MANY = [{"id": number, "name": f"c{number}"} for number in range(3, 300)]
BROKEN_NAME = [{"id": 3, "name": "a\nb"}, {"id": 17, "name": "dog"}]
ONE_STEM = [
    {"id": number, "file_name": name, "height": SIDE, "width": SIDE}
    for number, name in ((1, "a.png"), (2, "a.jpg"))
]
# The format, what is converted, what is said.
REFUSED: dict[str, tuple[str, Any, str]] = {
    "boxes alone": (
        "masks",
        GOOD | {"annotations": [NO_MASK]},
        "1 of 1 objects of the train split have no mask",
    ),
    "many classes": (
        "masks",
        GOOD | {"categories": MANY},
        "297 classes, and masks of 8 bits hold 254",
    ),
    "a line break in a class": (
        "voc",
        GOOD | {"categories": BROKEN_NAME},
        "there is no class",
    ),
    "two pictures of one stem": (
        "yolo",
        split([box(1, 3, (1, 1, 9, 9)), box(2, 3, (5, 5, 9, 9))], images=ONE_STEM),
        "train: a.png and a.jpg would have one file of labels",
    ),
    "a mask that is none": (
        "yolo",
        split([box(1, 3, (1, 1, 9, 9), 8, segmentation=[[1, 2, "x", 4]])]),
        "not a list of polygons",
    ),
    "a category that there is not": (
        "coco",
        split([box(1, 4, (1, 1, 9, 9), 8)]),
        "a 'category_id' that no category has",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_nothing_is_written_of_what_cannot_be(tmp_path: Path, what: str) -> None:
    to, whole, message = REFUSED[what]
    root = write(tmp_path / "set", whole, whole)
    with pytest.raises(DataError) as caught:
        convert(str(root), to, tmp_path / "new")
    assert message in str(caught.value)
    assert os.listdir(tmp_path) == ["set"]


def test_missing_pictures_are_left_out_and_said(tmp_path: Path) -> None:
    root = write(tmp_path / "set")
    (root / "images" / "train" / "2.png").unlink()
    notes = convert(str(root), "coco", tmp_path / "new").notes
    assert notes[1] == "train: left out: 1 pictures whose files are missing or damaged (2.png)"
    assert [record.file_name for record in read(tmp_path / "new").train.records] == ["1.png", "3.png"]


def test_the_command(tmp_path: Path, shapes: Path) -> None:
    def run(*words: object) -> Any:
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["data", "convert", *map(str, words)])

    done = run(shapes, "--to", "voc", "-o", tmp_path / "voc")
    assert done.exit_code == 0, done.output
    assert "not carried: masks of 81 objects" in done.output
    assert done.output.splitlines()[-1].endswith(
        "(train: 32 images with 81 objects, val: 8 images with 21 objects)"
    )
    again = run(shapes, "--to", "voc", "-o", tmp_path / "voc")
    assert (again.exit_code, "it exists" in again.output) == (1, True)
    assert run(shapes, "--to", "yolo", "-o", tmp_path / "voc", "--overwrite").exit_code == 0
    assert sorted(os.listdir(tmp_path / "voc")) == ["data.yaml", "images", "labels", "manifest.json"]
    wrong = run(shapes, "--to", "yollo", "-o", tmp_path / "x")
    assert "there is no format 'yollo' that is written" in wrong.output
    assert "did you mean 'yolo'?" in wrong.output
    assert WRITTEN == ("coco", "yolo", "voc", "masks")


def test_rle_and_its_outline_have_one_area() -> None:
    rng = np.random.default_rng(0)
    mask = np.asfortranarray(rng.random((60, 50)) < 0.5, dtype=np.uint8)
    drawn = coco_mask.merge(coco_mask.frPyObjects([outline(mask)], 60, 50))
    assert coco_mask.area(drawn) == mask.sum()
