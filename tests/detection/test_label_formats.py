"""Labels of every format give the same boxes, are found by what is in the folder, and are used by every command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import label_sets
import pytest
from coco_sets import write
from label_sets import CSV, HEADER, VOC, YAML, YOLO, csv, lay_out, voc, voc_file, voc_object, yolo
from PIL import Image

from hmhsa_insert.detection.coco_data import CocoData, open_objects
from hmhsa_insert.detection.formats.table import FORMATS, find_format
from hmhsa_insert.training.problems import DataError

CLASSES = ("cat", "dog")
TRAIN = {"train-a.png": [[10, 5, 20, 10, "cat"], [0, 0, 20, 20, "dog"]], "train-b.png": []}
VAL = {"val-a.png": [[0, 0, 10, 4, "dog"]], "val-b.png": [[0, 0, 40, 20, "cat"]]}


def boxes(data: CocoData) -> list[dict[str, list[list[object]]]]:
    names = dict(zip(data.category_ids, data.classes, strict=True))
    return [
        {
            record.file_name: [[*each["bbox"], names[each["category_id"]]] for each in record.annotations]
            for record in split.records
        }
        for split in (data.train, data.val)
    ]


def moved(files: dict[str, str], *renames: tuple[str, str]) -> dict[str, str]:
    found = {}
    for name, text in files.items():
        for old, new in renames:
            name = name.replace(old, new)
        found[name] = text
    return found


SPLIT_CSV = "set,path,x_min,y_min,x_max,y_max,class_name,width,height\n" + "".join(
    f'{split},"{split}-{row}",40,20\n'.replace('"', "")
    for split, row in [
        ("train", "a.png,10,5,30,15,cat"),
        ("train", "a.png,0,0,20,20,dog"),
        ("train", "b.png,,,,,"),
        ("val", "a.png,0,0,10,4,dog"),
        ("val", "b.png,0,0,40,20,cat"),
    ]
)
ROBOFLOW = YAML.replace("images/train", "../train/images").replace("images/val", "../valid/images")
ZERO = {
    name: text.replace("<xmin>11<", "<xmin>10<").replace("<ymin>6<", "<ymin>5<") for name, text in VOC.items()
}
ZERO = {name: text.replace("min>1<", "min>0<") for name, text in ZERO.items()}

# Files, and where the pictures lie; the labels are the same in all.
LAYOUTS: dict[str, tuple[str, dict[str, str], str]] = {
    "yolo": ("yolo", YOLO, "images/{}"),
    "yolo: names with numbers": (
        "yolo",
        {**YOLO, "data.yaml": YAML.replace("[cat, dog]", "\n  0: cat\n  1: dog") + "nc: 2\npath: ../datasets/mine\n"},
        "images/{}",
    ),
    "yolo: no data.yaml": (
        "yolo",
        {**{k: v for k, v in YOLO.items() if k != "data.yaml"}, "classes.txt": "cat\ndog\n"},
        "images/{}",
    ),
    "yolo: a folder a split": (
        "yolo",
        {
            **moved(YOLO, ("labels/train", "train/labels"), ("labels/val", "val/labels")),
            "data.yaml": YAML.replace("images/train", "../train/images").replace("images/val", "val/images"),
        },
        "{}/images",
    ),
    "yolo: labels beside pictures, listed": (
        "yolo",
        {
            **moved(YOLO, ("labels/", "obj/")),
            "data.yaml": "path: .\ntrain: train.txt\nval: val.txt\nnames: [cat, dog]\n",
            "train.txt": "obj/train/train-a.png\n./obj/train/train-b.png\n",
            "val.txt": "obj/val/val-a.png\n\nobj/val/val-b.png\n",
        },
        "obj/{}",
    ),
    "voc": ("voc", VOC, "JPEGImages"),
    "voc: of a development kit": ("voc", {f"VOCdevkit/VOC2012/{k}": v for k, v in VOC.items()},
            "VOCdevkit/VOC2012/JPEGImages"),
    "voc: counted from 0": ("voc", ZERO, "JPEGImages"),
    "voc: a folder a split": (
        "voc",
        moved({k: v for k, v in VOC.items() if "Annot" in k}, ("Annotations/train", "train/train"),
              ("Annotations/val", "val/val")),
        "{}"),
    "voc: no sizes": ("voc", {k: v.replace("<width>40", "<width>0") for k, v in VOC.items()}, "JPEGImages"),
    "csv": ("csv", CSV, "images"),
    "csv: one file": ("csv", {"labels.csv": SPLIT_CSV}, "images"),
    "csv: in the folders of pictures": ("csv", {f"{k[:-4]}/_annotations.csv": v for k, v in CSV.items()}, "{}"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_boxes(tmp_path: Path, layout: str) -> None:
    name, files, pictures = LAYOUTS[layout]
    root = lay_out(tmp_path / "set", files, pictures)
    found = find_format(str(root))
    assert (found.format.name, found.notes) == (name, (f"labels: {FORMATS[name].title}",))
    data = open_objects(root)
    assert data.classes == CLASSES
    read = [{Path(name).name: each for name, each in split.items()} for split in boxes(data)]
    assert read == [TRAIN, VAL]
    assert data.notes[0] == f"labels: {FORMATS[name].title}"
    for split in (data.train, data.val):
        assert split.image(0).size == (label_sets.WIDTH, label_sets.HEIGHT)


def test_roboflows_paths(tmp_path: Path) -> None:
    files = moved(YOLO, ("labels/train", "train/labels"), ("labels/val", "valid/labels"))
    root = lay_out(tmp_path / "set", {**files, "data.yaml": ROBOFLOW}, "{}/images")
    (root / "val" / "images").rename(root / "valid" / "images")
    assert boxes(open_objects(root)) == [TRAIN, VAL]
    assert boxes(open_objects(root / "data.yaml")) == [TRAIN, VAL]


def test_polygons_are_masks_and_their_hull_is_the_box(tmp_path: Path) -> None:
    rows = "0 0.25 0.25 0.75 0.25 0.75 0.75\n1 0 0 0.5 0 0.5 1 0.25 1 0 1\n"
    square = "0 0 0 0.5 0 0.5 0.5 0 0.5\n"
    root = yolo(tmp_path / "set", rows=rows, **{"labels/val/val-a.txt": square, "labels/val/val-b.txt": ""})
    data = open_objects(root, masks=True)
    target = data.train.target(0)
    assert target["boxes"].tolist() == [[10, 5, 30, 15], [0, 0, 20, 20]]
    assert target["masks"].shape == (2, 20, 40)
    assert target["masks"][1].sum() == 400
    assert target["masks"][1][:, :20].all()
    assert boxes(open_objects(root)) == [
        {"train-a.png": [[10, 5, 20, 10, "cat"], [0, 0, 20, 20, "dog"]], "train-b.png": []},
        {"val-a.png": [[0, 0, 20, 10, "cat"]], "val-b.png": []},
    ]


def test_keypoints_are_not_taken_for_corners(tmp_path: Path) -> None:
    rows = "0 0.5 0.5 0.5 0.5 0.1 0.1 0.2 0.2\n"
    yaml = f"{YAML}kpt_shape: [2, 2]\n"
    others = {"labels/val/val-a.txt": rows, "labels/val/val-b.txt": rows}
    data = open_objects(yolo(tmp_path / "set", rows=rows, **{"data.yaml": yaml}, **others))
    assert boxes(data)[0] == {"train-a.png": [[10, 5, 20, 10, "cat"]], "train-b.png": []}
    assert "train: keypoints are not read" in data.notes


def test_pictures_without_labels_and_damaged_ones(tmp_path: Path) -> None:
    root = yolo(tmp_path / "set")
    (root / "labels" / "train" / "train-b.txt").unlink()
    (root / "images" / "val" / "val-c.png").write_bytes(b"no picture")
    data = open_objects(root)
    assert boxes(data) == [TRAIN, VAL]
    assert "train: 1 pictures have no label file, and count as without objects: train-b.png" in data.notes
    assert "val: 1 of 3 image files are missing or damaged: val-c.png; left out" in data.notes
    with pytest.raises(DataError, match=r"1 of 3 image files are missing or damaged: val-c.png"):
        open_objects(root, missing="error")


def test_sizes_are_those_of_upright_pictures(tmp_path: Path) -> None:
    root = yolo(tmp_path / "set")
    exif = Image.Exif()
    exif[274] = 6
    path = root / "images" / "train" / "train-a.png"
    Image.new("RGB", (label_sets.HEIGHT, label_sets.WIDTH)).save(path, exif=exif)
    data = open_objects(root)
    assert boxes(data) == [TRAIN, VAL]
    assert data.train.image(0).size == (label_sets.WIDTH, label_sets.HEIGHT)


def test_of_two_formats_one_is_read_and_the_other_can_be_named(tmp_path: Path) -> None:
    root = voc(write(tmp_path / "set"))
    found = find_format(str(root))
    assert found.notes == (
        f"labels: COCO json, not Pascal VOC XML, which are here too (`data='voc:{root}'` reads those)",
    )
    assert open_objects(root).classes == ("cat", "dog")
    assert boxes(open_objects(f"voc:{root}")) == [TRAIN, VAL]


def test_voc_says_what_counts(tmp_path: Path) -> None:
    hard = voc_object("cat", (11, 6, 30, 15), "<difficult>1</difficult><pose>Left</pose>")
    data = open_objects(voc(tmp_path / "set", xml=voc_file(hard, label_sets.DOG)))
    assert boxes(data) == [TRAIN, VAL]
    assert "train: 1 objects are marked difficult, and count as the others" in data.notes
    assert "val: boxes are read as first and last pixel, counted from 1" in data.notes
    zero = lay_out(tmp_path / "zero", ZERO, "JPEGImages")
    assert "train: boxes are read as edges in pixels from 0" in open_objects(zero).notes


def test_trainval_and_test_are_the_splits_of_2007(tmp_path: Path) -> None:
    files = moved(VOC, ("Main/train", "Main/trainval"), ("Main/val", "Main/test"))
    data = open_objects(lay_out(tmp_path / "set", files, "JPEGImages"))
    assert boxes(data) == [TRAIN, VAL]
    assert "train: trainval is for training, test for validation" in data.notes


def test_classes_keep_their_order_where_a_list_says_it(tmp_path: Path) -> None:
    root = voc(tmp_path / "set", **{"classes.txt": "dog\ncat\nbird\n"})
    data = open_objects(root)
    assert data.classes == ("dog", "cat", "bird")
    assert boxes(data) == [TRAIN, VAL]


@pytest.mark.parametrize("make", [voc, csv])
def test_masks_are_refused_where_there_are_none(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(DataError, match="have boxes alone, and masks are needed"):
        open_objects(make(tmp_path / "set"), masks=True)


def test_nothing_of_a_known_format(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    (tmp_path / "manifest.json").write_text(json.dumps({}))
    with pytest.raises(DataError) as caught:
        open_objects(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.where, problem.message) == (str(tmp_path), "there are no labels of a known format")
    assert all(each.title in problem.tip for each in FORMATS.values() if each.layout)


@pytest.mark.parametrize("name", ["yolo", "voc", "csv"])
def test_a_split_that_is_missing(tmp_path: Path, name: str) -> None:
    files, pictures = {"yolo": (YOLO, "images/{}"), "voc": (VOC, "JPEGImages"), "csv": (CSV, "images")}[name]
    kept = {k: v for k, v in files.items() if "val" not in k and k != "data.yaml"}
    root = lay_out(tmp_path / "set", kept, pictures)
    with pytest.raises(DataError, match=f"no {FORMATS[name].labels} of the val split"):
        open_objects(root)


def test_names_that_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "secret" / "a.png")
    for text in ("images/../../secret", str(tmp_path / "secret"), "/etc"):
        root = yolo(tmp_path / "set", **{"data.yaml": YAML.replace("images/train", text)})
        with pytest.raises(DataError, match="leads out of the folder"):
            open_objects(root)
    xml = voc_file(label_sets.CAT).replace("<size>", "<filename>../../secret/a.png</filename><size>")
    data = open_objects(voc(tmp_path / "voc", xml=xml))
    assert data.train.records[0].file_name == "train-a.png"
    with pytest.raises(DataError, match="no picture below the folder"):
        open_objects(csv(tmp_path / "csv", rows=f"{HEADER}../secret/a.png,0,0,9,9,cat\n"))
