"""Folders as people have them: which pictures are of which class and split, and what is said of the rest."""

import os
from pathlib import Path

import pytest
from pictures_on_disk import fill, names, paint, seen

from hmhsa_insert.training.data import Data, open_data, open_scored
from hmhsa_insert.training.data.split_names import split_name
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.schema import LoaderSettings


def _open(root: Path, **loader: object) -> Data:
    return open_data(str(root), loader=LoaderSettings(**loader))  # type: ignore[arg-type]


def _problem(root: Path, **loader: object) -> str:
    with pytest.raises(DataError) as caught:
        _open(root, **loader)
    return str(caught.value)


# Classes


def test_pictures_deeper_in_a_class_belong_to_it(tmp_path: Path) -> None:
    days = {
        f"{split}/{name}/{day}": 2 for split in ("train", "val") for name in ("cat", "dog") for day in "ab"
    }
    data = _open(fill(tmp_path, days))
    assert data.classes == ("cat", "dog")
    assert seen(data.train)[:3] == [("cat/a/0.png", 0), ("cat/a/1.png", 0), ("cat/b/0.png", 0)]
    assert data.train.targets.tolist() == [0] * 4 + [1] * 4  # type: ignore[union-attr]
    assert any(
        "8 pictures lie in folders of a class and belong to it: 'cat/a', 'cat/b'" in n for n in data.notes
    )


@pytest.mark.parametrize(
    "deeper",
    [
        {"cat/2019/05": 1, "cat": 1, "dog": 2},  # two levels, beside pictures in the class itself
        {"cat/cat": 2, "dog/dog": 2},  # called like the class
        {"cat/dog": 2, "dog": 2},  # called like the other class
    ],
)
def test_a_class_is_the_folder_at_the_top_whatever_is_below(tmp_path: Path, deeper: dict[str, int]) -> None:
    data = _open(fill(tmp_path, deeper), val_share=0.25)
    assert data.classes == ("cat", "dog")
    whole = [*seen(data.train), *seen(data.val)]
    assert all(("cat", "dog")[target] == name.split("/")[0] for name, target in whole)


@pytest.mark.parametrize(
    "path",
    [
        ".ipynb_checkpoints/0-checkpoint.png",
        "cat/.ipynb_checkpoints/0-checkpoint.png",
        "__MACOSX/cat/._0.png",
        ".Trash-1000/files/9.png",
        ".thumbnails/9.png",
        "cat/@eaDir/SYNOPHOTO_THUMB_S.jpg",
        "cat/._0.png",
        "#recycle/9.png",
        "$RECYCLE.BIN/9.png",
        "lost+found/9.png",
        "dog/__pycache__/9.png",
        "System Volume Information/9.png",
        "cat/.hidden.png",
    ],
)
def test_hidden_and_system_files_are_neither_classes_nor_pictures(tmp_path: Path, path: str) -> None:
    clean = _open(fill(tmp_path / "clean", {"cat": 6, "dog": 6}))
    fill(tmp_path / "set", {"cat": 6, "dog": 6})
    paint(tmp_path / "set" / path)
    data = _open(tmp_path / "set")
    assert data.classes == ("cat", "dog")
    assert [name for name, _ in seen(data.train)] == [name for name, _ in seen(clean.train)]
    top = path[: path.index("/") if path[0] in ".#$_lS" else len(path)]
    assert any(
        note.startswith("left out: 1 hidden or system") and top.split("/")[0] in note for note in data.notes
    )


def test_system_files_that_are_no_folders(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 4, "dog": 4})
    for name in ("Thumbs.db", ".DS_Store", "cat/desktop.ini", "dog/Icon\r"):
        (tmp_path / name).write_bytes(b"\0")
    note = _open(tmp_path).notes[0]
    assert note == "left out: 4 hidden or system files and folders, such as '.DS_Store'"


# Splits


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train", "val"),
        ("train", "test"),
        ("Train", "Val"),
        ("TRAIN", "TEST"),
        ("training_set", "test_set"),
        ("train", "Test"),
        ("train", "validate"),
        ("set/train", "set/val"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("TrainSet", "ValSet"),
        ("train2017", "val2017"),
        ("train_images", "test_images"),
        ("Training Data", "Testing Data"),
        ("flowers-train", "flowers-valid"),
        ("imgs_train", "imgs_evaluation"),
        ("trainset", "testset"),
        ("train/images", "val/images"),
        ("PetData/train", "PetData/dev"),
    ],
)
def test_splits_as_they_are_commonly_called(tmp_path: Path, train: str, val: str) -> None:
    counts = {f"{train}/cat": 3, f"{train}/dog": 4, f"{val}/cat": 2, f"{val}/dog": 1}
    data = _open(fill(tmp_path, counts))
    assert data.classes == ("cat", "dog")
    assert data.train.targets.tolist() == [0, 0, 0, 1, 1, 1, 1]  # type: ignore[union-attr]
    assert data.val.targets.tolist() == [0, 0, 1]  # type: ignore[union-attr]
    assert f"training: '{train}', 7 pictures of 2 classes; validation: '{val}', 3" in data.notes[0]


def test_validation_comes_before_test_and_what_is_not_read_is_said(tmp_path: Path) -> None:
    counts = {f"{split}/{name}": 2 for split in ("train", "valid", "test", "extra") for name in ("a", "b")}
    fill(tmp_path, counts)
    paint(tmp_path / "overview.png")
    data = _open(tmp_path)
    assert "validation: 'valid'" in data.notes[0]
    assert data.notes[1] == (
        "not read: 9 pictures beside the splits, in '.', 'extra/a', 'extra/b', 'test/a' and 1 more"
    )


@pytest.mark.parametrize(
    "counts",
    [
        {"bicycle": 4, "bus": 4, "train": 4},
        {f"{split}/{name}": 3 for split in ("train", "val") for name in ("bus", "car", "train")},
        {"Test": 4, "control": 4},
        {"valid": 4, "invalid": 4},
    ],
)
def test_a_class_can_be_called_like_a_split(tmp_path: Path, counts: dict[str, int]) -> None:
    data = _open(fill(tmp_path, counts), val_share=0.25)
    assert set(data.classes) == {path.split("/")[-1] for path in counts}


@pytest.mark.parametrize(
    ("counts", "options"),
    [
        # A split without a partner, or a class of trains with two kinds of them?
        (
            {"train/steam": 3, "train/electric": 3, "bus": 3, "car": 3},
            ("loader.train=train", "loader.train=."),
        ),
        # Two splits whose pictures are in no class, or two classes?
        ({"train": 4, "test": 4}, ("loader.train=.", "loader.val=test")),
        # Two data sets side by side.
        (
            {f"{s}/{w}/{c}": 2 for s in ("pets", "cars") for w in ("train", "val") for c in "ab"},
            ("loader.train=pets/train', 'loader.val=pets/val", "loader.train=cars/train"),
        ),
        # Two folders that could be the validation split.
        (
            {f"{w}/{c}": 2 for w in ("train", "val", "validation") for c in "ab"},
            ("loader.train=train', 'loader.val=val", "loader.train=train', 'loader.val=validation"),
        ),
        # Both are there on a file system that tells cases apart.
        (
            {f"{w}/{c}": 2 for w in ("Train", "train", "val") for c in "ab"},
            ("loader.train=Train", "loader.train=train"),
        ),
        # A set with splits beside other folders of pictures.
        (
            {"set/train/a": 2, "set/train/b": 2, "set/val/a": 2, "set/val/b": 2, "more": 3},
            ("loader.train=.", "loader.train=set/train"),
        ),
    ],
)
def test_an_ambiguous_tree_is_an_error_with_its_readings(
    tmp_path: Path, counts: dict[str, int], options: tuple[str, ...]
) -> None:
    fill(tmp_path, counts)
    problem = _problem(tmp_path)
    assert "ways; choose one" in problem
    for option in options:
        assert option in problem


def test_the_options_choose(tmp_path: Path) -> None:
    fill(tmp_path, {"train/steam": 3, "train/electric": 3, "bus": 3, "car": 3})
    assert _open(tmp_path, train=".").classes == ("bus", "car", "train")
    assert _open(tmp_path, train="train").classes == ("electric", "steam")
    assert "there is no folder 'trian' with pictures" in _problem(tmp_path, train="trian")
    assert "did you mean 'train'" in _problem(tmp_path, train="trian")
    fill(tmp_path / "two", {f"{w}/{c}": 2 for w in ("train", "val", "validation") for c in "ab"})
    data = _open(tmp_path / "two", train="train", val="validation")
    assert data.notes[0].endswith("validation: 'validation', 4 pictures of 2 classes")
    assert _open(tmp_path / "two", train="train", val="none").whole is not None
    assert "share pictures" in _problem(tmp_path / "two", train="train", val="train/a")


def test_splits_inside_classes_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {f"{name}/{split}": 3 for name in ("cat", "dog") for split in ("train", "test")})
    assert "'cat/test', 'cat/train' are splits that lie inside a class" in _problem(tmp_path)
    assert len(_open(tmp_path, train=".").train) + len(_open(tmp_path, train=".").val) == 12


def test_unlabelled_test_pictures_are_not_read(tmp_path: Path) -> None:
    data = _open(fill(tmp_path, {"train/cat": 5, "train/dog": 5, "test": 4}))
    assert names(data)[0] | names(data)[1] == {f"{c}/{i}.png" for c in ("cat", "dog") for i in range(5)}
    assert any("not read: 4 pictures beside the splits, in 'test'" in note for note in data.notes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("train", "train"), ("Training-Set", "train"), ("imagesTrain", "train"), ("val2017", "val")),
        *(("VALIDATION", "val"), ("dev", "val"), ("test_images", "test"), ("testing", "test")),
        *(("constrained", None), ("interval", None), ("contest", None), ("latest", None), ("retrain", None)),
        *(("devil", None), ("train_val", None), ("trainer", None), ("2017", None)),
    ],
)  # fmt: skip
def test_what_a_name_says(name: str, kind: str | None) -> None:
    said = split_name(name)
    assert (said.kind if said is not None else None) == kind


def test_only_one_class_with_folders_of_pictures_says_how_to_go_on(tmp_path: Path) -> None:
    problem = _problem(fill(tmp_path, {"PetImages/Cat": 3, "PetImages/Dog": 3}))
    assert (
        "holds 1 class: PetImages (if 'Cat', 'Dog' are the classes: `overrides=['loader.train=PetImages']`"
        in problem
    )
    assert _open(tmp_path, train="PetImages", val_share=0.4).classes == ("Cat", "Dog")


# Files that are no pictures


def test_what_is_no_picture_is_counted_and_said(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 4, "dog": 4})
    for name in ("cat/labels.csv", "cat/0.txt", "dog/0.txt", "README", "cat/film.mp4", "cat/scan.eps"):
        (tmp_path / name).write_bytes(b"x")
    assert _open(tmp_path).notes[0] == "left out: 2 .txt, 1 without an ending, 1 .csv, 1 .eps, 1 .mp4"


def test_links_and_pipes_are_no_pictures_and_hang_nothing(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 4, "dog": 4})
    (tmp_path / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    paint(tmp_path.parent / "elsewhere" / "linked.png")
    (tmp_path / "dog" / "good.png").symlink_to(tmp_path.parent / "elsewhere" / "linked.png")
    data = _open(tmp_path)
    assert data.notes[0] == "left out: 1 links that lead nowhere, 1 neither files nor folders"
    assert "dog/good.png" in names(data)[0] | names(data)[1]
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    assert "a link leads back to a folder it lies in" in _problem(tmp_path)


def test_a_class_whose_pictures_cannot_be_read_says_which_package_could(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    fill(tmp_path, {"cat": 4, "dog": 4})
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "0.jxl").write_bytes(b"x")
    assert "owl: no images in class 'owl' (1 .jxl in it) (pip install pillow-jxl-plugin" in _problem(tmp_path)
    (tmp_path / "owl" / "0.jxl").unlink()
    assert "add images, or remove the folder" in _problem(tmp_path)


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 4, "dog": 4})
    (tmp_path / "dog").chmod(0)
    try:
        if os.access(tmp_path / "dog", os.R_OK):
            pytest.skip("everything may be read")
        assert "cannot be listed" in _problem(tmp_path)
    finally:
        (tmp_path / "dog").chmod(0o755)


# What is scored


def test_a_folder_without_splits_is_scored_whole(tmp_path: Path) -> None:
    data = open_scored(str(fill(tmp_path, {"cat": 7, "dog": 3})))
    assert data.val.targets.tolist() == [0] * 7 + [1] * 3  # type: ignore[union-attr]
    assert data.notes == ("scored: all of it (there is no validation split), 10 pictures of 2 classes",)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"train/a": 2, "train/b": 2, "val/a": 3}, ["a/0.png", "a/1.png", "a/2.png"]),
        ({"test/a": 1, "test/b": 2}, ["a/0.png", "b/0.png", "b/1.png"]),
        ({"only": 2}, ["only/0.png", "only/1.png"]),
    ],
)
def test_what_cannot_be_trained_on_can_be_scored(
    tmp_path: Path, counts: dict[str, int], expected: list[str]
) -> None:
    data = open_scored(str(fill(tmp_path, counts)))
    assert [name for name, _ in seen(data.val)] == expected
