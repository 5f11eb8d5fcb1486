"""Images in NumPy files: any number of channels, their precision kept, their statistics asked for and said."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hmhsa_insert as hi
from hmhsa_insert.models import read_state_dict
from hmhsa_insert.training.data.array_transforms import array_eval_transform, measured
from hmhsa_insert.training.data.arrays import channels_in, read_planes
from hmhsa_insert.training.data.sources import open_data
from hmhsa_insert.training.problems import DataError, SettingsError, TrainingError
from hmhsa_insert.training.settings import load_settings

RUN: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 4,
    "input_size": 32,
    "compute": {"device": "cpu"},
    "loader": {"workers": 0},
}
STATISTICS = {"mean": [0.5, 0.25, 0.5, 0.5], "std": [0.25] * 4, "erasing": 0.5}


def folder(root: Path, shape: tuple[int, ...] = (20, 24, 4), dtype: str = "uint16") -> str:
    rng = np.random.default_rng(0)
    for number in range(16):
        path = root / ("train" if number < 8 else "val") / "ab"[number % 2] / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = rng.random(shape) if dtype.startswith("f") else rng.integers(0, np.iinfo(dtype).max, shape)
        np.save(path, values.astype(dtype))
    return str(root)


def saved(array: Any) -> io.BytesIO:
    file = io.BytesIO()
    np.save(file, array)
    file.seek(0)
    return file


@pytest.mark.parametrize(
    ("shape", "channels"), [((9, 8), 1), ((9, 8, 1), 1), ((9, 8, 5), 5), ((5, 9, 8), 5), ((2, 9, 8), 2)]
)
def test_the_axis_of_channels(shape: tuple[int, ...], channels: int) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    assert channels_in(saved(array)) == channels
    found = read_planes(saved(array)).values
    assert found.shape == (channels, 9, 8)
    wanted = (
        array.reshape(channels, 9, 8) if shape[0] == channels or len(shape) == 2 else array.transpose(2, 0, 1)
    )
    assert torch.equal(found, torch.from_numpy(wanted.astype(np.float32) / np.float32(65535)))


@pytest.mark.parametrize(
    ("dtype", "value", "read"), [("uint8", 255, 1.0), ("uint16", 1, 1 / 65535), ("float32", -2.5, -2.5)]
)
def test_what_one_stands_for(dtype: str, value: float, read: float) -> None:
    found = read_planes(saved(np.full((3, 4), value, dtype))).values
    assert found.flatten().tolist() == pytest.approx([read] * 12, rel=1e-6)


class Evil:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('it ran')",)


HUGE = b"{'descr': '|u1', 'fortran_order': False, 'shape': (999999, 999999, 9), }"
BAD = {
    "objects": pickle.dumps(Evil()),
    "an array of objects": saved(np.array([[Evil()]], dtype=object)).getvalue(),
    "text": b"no array",
    "cut off": saved(np.zeros((9, 9), np.uint8)).getvalue()[:-3],
    "a huge array": b"\x93NUMPY\x01\x00v\x00" + HUGE.ljust(117) + b"\n",
    "no axis": saved(np.zeros((4, 9, 4), np.uint8)).getvalue(),
    "four axes": saved(np.zeros((1, 4, 9, 4), np.uint8)).getvalue(),
    "complex": saved(np.zeros((4, 9), np.complex64)).getvalue(),
    "not finite": saved(np.full((4, 9), np.nan)).getvalue(),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_image(what: str) -> None:
    with pytest.raises((ValueError, EOFError)):
        read_planes(io.BytesIO(BAD[what]))


def test_a_network_is_built_for_the_channels_and_trained(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    data = open_data(source)
    assert (data.channels, data.arrays) == (4, True)
    assert "arrays of 4 channels, at the precision that they have" in data.notes
    with pytest.raises(SettingsError, match="images of 4 channels have no statistics of their own") as caught:
        hi.train("timm/test_resnet", data=source, settings=RUN, folder=tmp_path / "no")
    mean, std = measured(data.train, 4)
    written = f"augment.mean=[{', '.join(f'{value:.4g}' for value in mean)}]"
    assert written in caught.value.problems[0].tip
    assert np.abs(np.array([mean, std]) - [[0.5] * 4, [12**-0.5] * 4]).max() < 0.02
    settings = {**RUN, "augment": STATISTICS}
    result = hi.train("timm/test_resnet", data=source, settings=settings, folder=tmp_path / "run")
    assert result.damaged == ()
    again = hi.evaluate(tmp_path / "run")
    assert again.top1 == pytest.approx(result.top1)
    weights = read_state_dict(tmp_path / "run" / "best.safetensors")
    assert next(each for each in weights.values() if each.ndim == 4).shape[1] == 4


def test_what_evaluation_sees_is_normalized_and_nothing_else(tmp_path: Path) -> None:
    data = open_data(folder(tmp_path / "set", (32, 32, 4), "float32"))
    settings = load_settings({**RUN, "augment": {**STATISTICS, "crop_pct": 1.0}}, ())
    image = data.val.image(3)  # type: ignore[union-attr]
    found = array_eval_transform(settings, data.val, 4)(image)  # type: ignore[arg-type]
    mean = torch.tensor(STATISTICS["mean"])[:, None, None]
    assert torch.allclose(found, (image.values - mean) / 0.25, atol=1e-6)  # type: ignore[attr-defined]


def test_other_channels_and_colors_are_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    network = hi.load_model("timm/test_resnet", num_classes=2).model
    settings = {**RUN, "augment": STATISTICS}
    with pytest.raises(TrainingError, match="takes images of 3 channels, and the data's have 4"):
        hi.train(network, data=source, settings=settings, folder=tmp_path / "a")
    colors = {**settings, "augment": {**STATISTICS, "color_jitter": 0.4}}
    with pytest.raises(SettingsError, match="it changes colors, and these images are arrays"):
        hi.train("timm/test_resnet", data=source, settings=colors, folder=tmp_path / "b")
    few = {**settings, "augment": {**STATISTICS, "mean": [0.5, 0.5]}}
    with pytest.raises(SettingsError, match="2 numbers for images of 4 channels"):
        hi.train("timm/test_resnet", data=source, settings=few, folder=tmp_path / "c")


def test_arrays_of_other_channels_are_named(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    np.save(tmp_path / "set" / "train" / "a" / "0.npy", np.zeros((20, 24, 5), np.uint16))
    with pytest.raises(DataError, match=r"found 5 channels \(a/0.npy\) and 4 channels"):
        open_data(source)


def test_beside_pictures_arrays_are_left_out_as_before(tmp_path: Path) -> None:
    from PIL import Image

    source = folder(tmp_path / "set")
    for split in ("train", "val"):
        for name in "ab":
            Image.new("L", (9, 9)).save(tmp_path / "set" / split / name / "x.png")
    data = open_data(source)
    assert (data.arrays, len(data.train.targets)) == (False, 2)  # type: ignore[union-attr]
    assert "left out: 16 .npy" in data.notes
