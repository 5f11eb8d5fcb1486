"""Broken files of every format: each is refused with its place and what is wrong, all problems together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from label_sets import CAT, HEADER, YAML, csv, voc, voc_file, voc_object, yolo

from hmhsa_insert.detection.coco_data import open_objects
from hmhsa_insert.training.problems import DataError

Make = Callable[..., Path]
ROWS, XML, TABLE = "labels/train/train-a.txt", "Annotations/train-a.xml", "train.csv"
FORM = "a row is CLASS X Y WIDTH HEIGHT (the centre), or CLASS X1 Y1 X2 Y2 X3 Y3 …, all from 0 to 1"
OBB = (
    "the detectors here learn upright boxes: export the set with upright boxes or polygons; if these are polygons, "
    "write `task: segment` in data.yaml"
)
ROTATED = "the detectors here learn upright boxes: export the set with upright boxes"
NEEDED = "columns: image, xmin, ymin, xmax, ymax, label"

# What is changed, the place below the folder, what is said, the tip.
Case = tuple[dict[str, str], str, str, str]
YOLO_CASES: dict[str, Case] = {
    "a name for a class": ({"rows": "cat 0.5 0.5 1 1"}, f"{ROWS}:1:1", "'cat' is not the number of a class", FORM),
    "a class that there is not": (
        {"rows": "0 0.5 0.5 1 1\n 2 0.5 0.5 1 1"}, f"{ROWS}:2:2", "there is no class 2", "there are 2 classes, 0 to 1",
    ),
    "pixels": (
        {"rows": "0 10 5 20 10"}, f"{ROWS}:1:3", "10 is not a share of the picture, 0 to 1",
        "divide pixels by the width or height of the picture",
    ),
    "a negative width": ({"rows": "0 0.5 0.5 -0.5 1"}, f"{ROWS}:1:11",
                         "-0.5 is not a share of the picture, 0 to 1", ""),
    "text": ({"rows": "0 0.5 half 1 1"}, f"{ROWS}:1:7", "'half' is not a number", FORM),
    "not a number": ({"rows": "0 nan 0.5 1 1"}, f"{ROWS}:1:3", "'nan' is not a number", FORM),
    "three numbers": ({"rows": "0 0.5 0.5 1"}, f"{ROWS}:1:1", "3 numbers after the class", FORM),
    "an angle or a confidence": (
        {"rows": "0 0.5 0.5 1 1 0.3"}, f"{ROWS}:1:1", "5 numbers after the class",
        "a fifth is the angle of an oriented box or the confidence of a prediction: neither is a label here",
    ),
    "half a corner": ({"rows": "0 0 0 1 0 1 1 0"}, f"{ROWS}:1:1", "7 numbers after the class", FORM),
    "oriented boxes": (
        {"rows": "0 0.5 0.5 1 1\n0 0.5 0 1 0.5 0.5 1 0 0.5"}, f"{ROWS}:2:1",
        "an oriented box, as all 1 with corners have four of them", OBB,
    ),
    "said to be oriented": ({"data.yaml": f"{YAML}task: obb\n"}, "data.yaml:4:7", "the boxes are oriented", OBB),
    "no names": ({"data.yaml": YAML.replace("names", "nmaes")}, "data.yaml:1:1", "there are no 'names' of classes",
                 "did you mean 'nmaes'?"),
    "another count": ({"data.yaml": f"{YAML}nc: 3\n"}, "data.yaml:4:5", "nc is 3, and there are 2 names", ""),
    "a folder misspelled": ({"data.yaml": YAML.replace("s/val", "s/vla")}, "data.yaml:2:6", "there is no 'images/vla'",
                            "did you mean 'images/val', 'images' or 'images/train'?"),
    "no validation": ({"data.yaml": YAML.replace("val: images/val\n", "")}, "data.yaml:1:1", "there is no 'val'",
                      "write the folder of its pictures"),
    "numbers with holes": ({"data.yaml": YAML.replace("[cat, dog]", "{0: cat, 2: dog}")}, "data.yaml:3:8",
                           "the numbers of 2 classes must be 0 to 1", ""),
    "a tab": ({"data.yaml": "train: x\n\tval: y\n"}, "data.yaml:2:1", "a tab stands where YAML wants spaces",
              "indent with spaces"),
    "not text": ({"rows": "0 0.5 \udcff"}, f"{ROWS}:1:7", "byte 0xff is not UTF-8 text", "save the file as UTF-8"),
}  # fmt: skip
VOC_CASES: dict[str, Case] = {
    "cut off": ({"xml": "<annotation>\n<object>"}, f"{XML}:2:9", "it is damaged: no element found", ""),
    "empty": ({"xml": ""}, f"{XML}:1:1", "it is damaged: it is empty", ""),
    "tags that cross": ({"xml": "<annotation>\n<a><b></a></b>"}, f"{XML}:2:9", "it is damaged: mismatched tag", ""),
    "a declaration of entities": (
        {"xml": '<!DOCTYPE a [<!ENTITY b "boom">]>\n<annotation>&b;</annotation>'}, f"{XML}:1:13",
        "a document type declaration is not read: it could declare entities", "",
    ),
    "another root": ({"xml": "<annotations></annotations>"}, f"{XML}:1:1",
                     "the root is <annotations>, not <annotation>",
                     "did you mean 'annotations'?"),
    "no name": ({"xml": voc_file(CAT.replace("name>", "nome>"))}, f"{XML}:3:1", "<object> has no <name>",
                "did you mean 'nome'?"),
    "no box": ({"xml": voc_file("<object><name>cat</name></object>")}, f"{XML}:3:1", "<object> has no <bndbox>", ""),
    "no side": ({"xml": voc_file(CAT.replace("<xmin>11</xmin>", "<xmn>11</xmn>"))}, f"{XML}:5:1",
                "<bndbox> has no <xmin>", "did you mean 'xmn'?"),
    "a side without a number": ({"xml": voc_file(voc_object("cat", (1, 1, "", 9)))}, f"{XML}:5:37",
                                "<xmax> is empty", ""),
    "text": ({"xml": voc_file(voc_object("cat", ("left", 1, 9, 9)))}, f"{XML}:5:9",
             "<xmin> is 'left', not a number of pixels", ""),
    "infinite": ({"xml": voc_file(voc_object("cat", (1, 1, "1e999", 9)))}, f"{XML}:5:37",
                 "<xmax> is '1e999', not a number of pixels", ""),
    "the wrong way round": ({"xml": voc_file(voc_object("cat", (9, 1, 2, 9)))}, f"{XML}:5:1",
                            "<xmax> 2 is less than <xmin> 9", ""),
    "a rotated box": ({"xml": voc_file("<object><name>cat</name><robndbox/></object>")}, f"{XML}:3:25",
                      "a rotated box", ROTATED),
    "half difficult": ({"xml": voc_file(voc_object("cat", (1, 1, 9, 9), "<difficult>yes</difficult>"))},
                       f"{XML}:4:17", "<difficult> is 'yes', neither 0 nor 1", ""),
    "a class that is not listed": ({"xml": voc_file(voc_object("cta", (1, 1, 9, 9))), "classes.txt": "cat\ndog\n"},
                                   f"{XML}:4:1", "there is no class 'cta'", "did you mean 'cat'?"),
    "a size of text": ({"xml": voc_file(CAT, size="<width>wide</width><height>2</height>")}, f"{XML}:2:7",
                       "<width> is 'wide', not a number of pixels", ""),
    "a file that is not there": ({"ImageSets/Main/train.txt": "train-a\ntrain-c\n"}, "Annotations/train-c.xml",
                                 "cannot be read: No such file or directory", ""),
    "a list that leads out": ({"ImageSets/Main/train.txt": "train-a\n../../x\n"}, "ImageSets/Main/train.txt:2:1",
                              "'../../x' leads out of the folder", ""),
}  # fmt: skip
ROW = "train-a.png,10,5,30,15,cat\n"
CSV_CASES: dict[str, Case] = {
    "a column misspelled": ({"rows": HEADER.replace("xmax", "xmaks") + ROW}, f"{TABLE}:1:1",
                            "there is no column 'xmax'", "did you mean 'xmaks'?"),
    "a column missing": ({"rows": HEADER.replace(",label", "") + "train-a.png,1,1,9,9\n"}, f"{TABLE}:1:1",
                         "there is no column 'label'", NEEDED),
    "text": ({"rows": f"{HEADER}train-a.png,ten,5,30,15,cat\n"}, f"{TABLE}:2:13",
             "xmin is 'ten', not a number of pixels", ""),
    "one side": ({"rows": f"{HEADER}train-a.png,10,,30,15,cat\n"}, f"{TABLE}:2:16",
                 "ymin is '', not a number of pixels", ""),
    "infinite": ({"rows": f"{HEADER}{ROW}train-a.png,10,5,inf,15,cat\n"}, f"{TABLE}:3:18",
                 "xmax is 'inf', not a number of pixels", ""),
    "not a number": ({"rows": f"{HEADER}train-a.png,10,5,30,nan,cat\n"}, f"{TABLE}:2:21",
                     "ymax is 'nan', not a number of pixels", ""),
    "too large": ({"rows": f"{HEADER}train-a.png,10,5,3e300,15,cat\n"}, f"{TABLE}:2:18",
                  "xmax is '3e300', not a number of pixels", ""),
    "the wrong way round": ({"rows": f"{HEADER}train-a.png,30,5,10,15,cat\n"}, f"{TABLE}:2:18",
                            "xmax 10 is less than xmin 30", ""),
    "upside down": ({"rows": f"{HEADER}train-a.png,10,15,30,5,cat\n"}, f"{TABLE}:2:22",
                    "ymax 5 is less than ymin 15", ""),
    "no label": ({"rows": f"{HEADER}train-a.png,10,5,30,15,\n"}, f"{TABLE}:2:24", "the object has no label", ""),
    "no picture": ({"rows": f"{HEADER},10,5,30,15,cat\n"}, f"{TABLE}:2:1", "no picture is named", ""),
    "a path that leads out": ({"rows": f"{HEADER}../a.png,10,5,30,15,cat\n"}, f"{TABLE}:2:1",
                              "'../a.png' is no picture below the folder", ""),
    "a cell too many": ({"rows": f"{HEADER}train-a.png,10,5,30,15,cat,x\n"}, f"{TABLE}:2:1",
                        "7 cells, and the header has 6 columns", ""),
    "a cell too few": ({"rows": f"{HEADER}train-a.png,10,5,30,cat\n"}, f"{TABLE}:2:1",
                       "5 cells, and the header has 6 columns", ""),
    "a quote that is open": ({"rows": f'{HEADER}train-a.png,10,5,30,15,"cat\n'}, f"{TABLE}:2:1",
                             "the row cannot be read: unexpected end of data", ""),
    "after a comma in quotes": ({"rows": f'{HEADER}"train-a,b.png",10,5,30,x,cat\n'}, f"{TABLE}:2:25",
                                "ymax is 'x', not a number of pixels", ""),
    "no rows": ({"rows": HEADER}, TABLE, "it has no rows of the train split", ""),
}  # fmt: skip
ALL = [
    pytest.param(make, case, id=f"{make.__name__}: {name}")
    for make, cases in ((yolo, YOLO_CASES), (voc, VOC_CASES), (csv, CSV_CASES))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("make", "case"), ALL)
def test_a_broken_file_is_refused_at_its_place(tmp_path: Path, make: Make, case: Case) -> None:
    changes, where, message, tip = case
    root = make(tmp_path / "set", **changes)
    with pytest.raises(DataError) as caught:
        open_objects(root)
    problem = caught.value.problems[0]
    assert (problem.where, problem.message, problem.tip) == (f"{root}/{where}", message, tip)


def test_each_format_has_fifteen() -> None:
    assert all(len(cases) >= 15 for cases in (YOLO_CASES, VOC_CASES, CSV_CASES))


@pytest.mark.parametrize(
    ("make", "changes", "places"),
    [
        (yolo, {"rows": "7 0.5 0.5 1 1\n0 9 9 9 9\n0"}, [f"{ROWS}:1:1", f"{ROWS}:2:3", f"{ROWS}:3:1"]),
        (yolo, {"data.yaml": "train: x\nval: y\nnames: []\n"}, ["data.yaml:1:8", "data.yaml:2:6", "data.yaml:3:8"]),
        (voc, {"xml": voc_file("<object/>", "<object/>")}, [f"{XML}:3:1"] * 2 + [f"{XML}:3:10"] * 2),
        (csv, {"rows": f"{HEADER}a,1,1,x,x,\n,1,1,2,2,cat\n"},
         [f"{TABLE}:2:7", f"{TABLE}:2:9", f"{TABLE}:2:11", f"{TABLE}:3:1"]),
    ],
)  # fmt: skip
def test_all_problems_come_together(
    tmp_path: Path, make: Make, changes: dict[str, str], places: list[str]
) -> None:
    root = make(tmp_path / "set", **changes)
    with pytest.raises(DataError) as caught:
        open_objects(root)
    assert [problem.where for problem in caught.value.problems] == [f"{root}/{place}" for place in places]


def test_many_problems_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_objects(yolo(tmp_path / "set", rows="x\n" * 2000))
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1].message == "and 1,980 more problems"


HOSTILE = {
    "a million rows": (yolo, {"rows": "0 0.5 0.5 1 1\n" * 1_000_000}, "at most 10,000 are read for one picture"),
    "deep XML": (voc, {"xml": "<annotation>" * 100_000}, "elements are nested more than 64 deep"),
    "many elements": (voc, {"xml": f"<annotation>{'<a/>' * 300_000}</annotation>"}, "more than 200,000 elements"),
    "a large file": (voc, {"xml": f"<annotation>{' ' * (17 << 20)}</annotation>"}, "larger than 16 MiB"),
    "an entity of another file": (
        voc,
        {"xml": '<!DOCTYPE a SYSTEM "file:///etc/hostname"><annotation/>'},
        "a document type declaration is not read",
    ),
    "aliases": (
        yolo,
        {"data.yaml": "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
        )},
        "the file holds more than 200,000 values",
    ),
    "a number of many digits": (yolo, {"rows": f"{'9' * 5000} 0.5 0.5 1 1"}, "is not the number of a class"),
    "a long line": (csv, {"rows": f"{HEADER}{'x' * (1 << 20)},1,2,3,4,cat\n"}, "field larger than field limit"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_files_of_strangers_are_bounded(tmp_path: Path, what: str) -> None:
    make, changes, message = HOSTILE[what]
    with pytest.raises(DataError) as caught:
        open_objects(make(tmp_path / "set", **changes))
    assert message in str(caught.value)
