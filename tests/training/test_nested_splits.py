"""Splits below other folders, and classes called like splits: which pictures are of which, written down by hand."""

import tarfile
from pathlib import Path

import pytest
from pictures_on_disk import fill

from hmhsa_insert.training.data import open_data, open_scored
from hmhsa_insert.training.problems import DataError


def _paths(train: str, val: str) -> dict[str, int]:
    return {f"{train}/cat": 3, f"{train}/dog": 3, f"{val}/cat": 2, f"{val}/dog": 2}


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("x/y_train/images", "x/y_test/images"),
        ("d/TRAIN_set/TRAIN_set", "d/TEST_set/TEST_set"),
        ("data/seg_train/seg_train", "data/seg_test/seg_test"),
        ("data/train/images", "data/val/imgs"),
    ],
)
def test_splits_one_level_deeper_with_one_more_folder_in_them(tmp_path: Path, train: str, val: str) -> None:
    data = open_data(str(fill(tmp_path, _paths(train, val))))
    assert data.classes == ("cat", "dog")
    said = f"training: '{train}', 6 pictures of 2 classes; validation: '{val}', 4 pictures of 2 classes"
    assert data.notes[0] == said


def test_of_a_tree_with_a_copy_of_itself_inside_the_outer_one_is_read(tmp_path: Path) -> None:
    fill(tmp_path, _paths("xray/train", "xray/val") | _paths("xray/xray/train", "xray/xray/val"))
    for root in (tmp_path, tmp_path / "xray"):
        below = "xray/" if root == tmp_path else ""
        data = open_data(str(root))
        assert data.notes[0].startswith(f"training: '{below}train', 6 pictures of 2 classes; ")
        assert "not read: 10 pictures beside the splits" in " ".join(data.notes)


def test_classes_inside_splits_may_be_called_like_splits(tmp_path: Path) -> None:
    fill(tmp_path, {"train/train": 3, "train/test": 3, "val/train": 2, "val/test": 2})
    data = open_data(str(tmp_path))
    assert (data.classes, len(data.train), len(data.val)) == (("test", "train"), 6, 4)


def test_a_class_called_like_a_split_beside_others_is_said(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 4, "dog": 4, "test": 4})
    data = open_data(str(tmp_path))
    assert data.classes == ("cat", "dog", "test")
    assert "read as classes, though called like splits: 'test'" in data.notes


def test_an_unlabelled_test_folder_inside_another_is_no_split(tmp_path: Path) -> None:
    fill(tmp_path, {"a_train/a_train/cat": 4, "a_train/a_train/dog": 4, "a_test/a_test": 3})
    data = open_data(str(tmp_path))
    assert (data.classes, len(data.train) + len(data.val)) == (("cat", "dog"), 8)
    assert "not read: 3 pictures beside the splits, in 'a_test/a_test'" in data.notes


def test_a_test_split_alone_below_another_folder_is_scored(tmp_path: Path) -> None:
    fill(tmp_path, {"x/test/cat": 3, "x/test/dog": 2})
    data = open_scored(str(tmp_path))
    assert (data.classes, len(data.val)) == (("cat", "dog"), 5)
    assert data.notes[0] == "scored: 'x/test', 5 pictures of 2 classes"
    with pytest.raises(DataError, match="no training split"):
        open_data(str(tmp_path))


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", "__MACOSX/a", "cat/.thumbnails"])
def test_hidden_folders_in_a_tar_file_are_no_empty_classes(tmp_path: Path, hidden: str) -> None:
    folder = fill(tmp_path / "f", _paths("train", "val") | {f"train/{hidden}": 2})
    with tarfile.open(tmp_path / "f.tar", "w") as archive:
        archive.add(folder, arcname=".")
    for source in (folder, tmp_path / "f.tar"):
        data = open_data(str(source))
        assert (data.classes, len(data.train), len(data.val)) == (("cat", "dog"), 6, 4)
        assert any("hidden or system" in note for note in data.notes)
