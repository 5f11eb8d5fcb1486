"""Tar files of pictures: read as the folders they hold, hidden things and later versions told apart."""

import io
import tarfile
from pathlib import Path

import pytest
from pictures_on_disk import fill, names, paint, seen

from hmhsa_insert.training.data import Data, open_data
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.schema import LoaderSettings


def _open(root: Path, **loader: object) -> Data:
    return open_data(str(root), loader=LoaderSettings(**loader))  # type: ignore[arg-type]


def _problem(root: Path, **loader: object) -> str:
    with pytest.raises(DataError) as caught:
        _open(root, **loader)
    return str(caught.value)


def _tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _bytes(tmp_path: Path, level: int) -> bytes:
    return paint(tmp_path / "one.png", level).read_bytes()


def test_tar_files_in_a_tar_file_are_folders(tmp_path: Path) -> None:
    """As ImageNet's training archive is: a tar file of a tar file a class."""
    inner = {
        f"{name}.tar": _tar(
            tmp_path / f"{name}.tar", {f"{name}_{i}.png": _bytes(tmp_path, level + i) for i in range(3)}
        ).read_bytes()
        for name, level in (("n01", 60), ("n02", 200))
    }
    data = _open(_tar(tmp_path / "whole.tar", inner), val_share=0.3)
    assert data.classes == ("n01", "n02")
    assert names(data)[0] | names(data)[1] == {f"{c}/{c}_{i}.png" for c in ("n01", "n02") for i in range(3)}
    for index, (name, _) in enumerate(seen(data.train)):
        level = {"n01": 60, "n02": 200}[name[:3]] + int(name[-5])
        paint(tmp_path / "same.png", level)
        expected = _bytes(tmp_path, level)
        found = io.BytesIO()
        data.train.image(index).save(found, "png")  # type: ignore[union-attr]
        assert found.getvalue() == expected


def test_a_tar_file_beside_the_folder_it_was_unpacked_into_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})
    _tar(tmp_path / "train.tar", {"a/0.png": b"", "c/0.png": b""})
    data = _open(tmp_path)
    assert data.classes == ("a", "b")
    assert "left out: 1 .tar" in data.notes


def test_hidden_things_and_later_versions_in_a_tar_file(tmp_path: Path) -> None:
    first, second = _bytes(tmp_path, 60), _bytes(tmp_path, 200)
    path = _tar(
        tmp_path / "set.tar",
        {"./a/0.png": first, "./a/1.png": first, "./b/0.png": first, "./b/1.png": first, "./a/._0.png": b"x"},
    )
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("a/0.png")
        info.size = len(second)
        tar.addfile(info, io.BytesIO(second))
    data = _open(path, val_share=0.5)
    whole = data.whole
    assert whole is not None
    assert [whole.name(i) for i in range(len(whole))] == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    assert whole.image(0).getpixel((0, 0)) != whole.image(1).getpixel((0, 0))
    compressed = tmp_path / "compressed.tar"
    with tarfile.open(compressed, "w:gz"):
        pass
    assert "unpack it, or pack it without compression" in _problem(compressed)
