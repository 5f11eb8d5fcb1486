"""Batches of one image: refused before the run with the layer that needs two, or trained; nothing is dropped unsaid."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_nets import QUICK, Told, few_digits, train_plain

from hmhsa_insert.training.loop.small_batch import check_one_image
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.run import train

sys.path.append(str(Path(__file__).parents[1] / "detection"))
from coco_sets import GOOD, write

from hmhsa_insert.detection.plan_run import plan_detection
from hmhsa_insert.training.run import train_run

FEW: dict[str, Any] = {"train": 16, "val": 8}
ONE: dict[str, Any] = {"epochs": 1, "input_size": 32, "compute": {"device": "cpu"}}
REFUSED = (
    r"batch_size: one image in a forward, and layer4\.0\.bn1 \(BatchNorm2d\) needs two: its map has one pixel"
)


def _pooled() -> nn.Module:
    """A norm behind a pooling: one value a channel whatever the size of the image."""
    norm = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8))
    return nn.Sequential(nn.Conv2d(1, 8, 3), norm, nn.Flatten(), nn.Linear(8, 10))


@pytest.mark.parametrize(
    "extra", [{"batch_size": 1}, {"batch_size": 8, "accumulate": 8}, {"batch_size": 1, "ema": {}}]
)
def test_one_image_is_refused_before_the_run(tmp_path: Path, extra: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=REFUSED):
        train("timm/test_resnet", few_digits(**FEW), settings=ONE | extra, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    # The same folder takes the run with other settings.
    assert train_plain(tmp_path / "run", few_digits(**FEW), settings=ONE | {"batch_size": 8}).updates == 2


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    with pytest.raises(SettingsError, match="needs two"):
        train(
            "timm/test_resnet", few_digits(**FEW), settings=ONE | {"batch_size": 1}, folder=tmp_path / "run"
        )
    assert list(tmp_path.rglob("*")) == [tmp_path / "run"]


def test_a_norm_behind_a_pooling(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"and 1\.1 \(BatchNorm2d\) needs two"):
        train(_pooled(), few_digits(**FEW), settings=ONE | {"batch_size": 1}, folder=tmp_path / "run")
    train(_pooled(), few_digits(**FEW), settings=ONE | {"batch_size": 2}, folder=tmp_path / "run")


def test_a_detectors_backbone(tmp_path: Path) -> None:
    detector = {"min_size": 32, "max_size": 32, "pyramid_channels": 8, "group_norm": True}
    settings = {"epochs": 1, "detector": detector, "compute": {"device": "cpu"}, "loader": {"workers": 0}}
    root = write(tmp_path / "set")
    with pytest.raises(SettingsError, match=r"body\.layer4\.\S* \(BatchNorm2d\) needs two"):
        train_run(
            plan_detection("timm/test_resnet", root, settings=settings | {"batch_size": 1}), tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()
    assert len(GOOD["images"]) == 3


def test_one_image_where_the_maps_are_larger(tmp_path: Path) -> None:
    settings = ONE | {"batch_size": 1, "input_size": 64}
    assert train("timm/test_resnet", few_digits(4, 4), settings=settings, folder=tmp_path / "a").updates == 4
    settings = ONE | {"batch_size": 1}
    assert train_plain(tmp_path / "b", few_digits(4, 4), settings=settings).updates == 4


def test_norms_that_stand_still_need_no_batch() -> None:
    model = _pooled().train()
    with pytest.raises(SettingsError):
        check_one_image(model, (1, 16, 16))
    model[1].eval()
    check_one_image(model, (1, 16, 16))
    assert not any(module._forward_pre_hooks for module in model.modules())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    check_one_image(nn.Sequential(nn.Dropout(), model), (1, 16, 16))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("images", "batch", "left"), [(17, 16, 1), (16, 16, 0), (10, 4, 2), (5, 5, 0)])
def test_a_ragged_end_is_left_out_and_said(tmp_path: Path, images: int, batch: int, left: int) -> None:
    told = Told()
    settings = QUICK | {"epochs": 1, "batch_size": batch}
    result = train_plain(tmp_path / "run", few_digits(images, 8), settings=settings, reporter=told)
    assert result.images == images - left
    said = [note for note in told.notes if note.endswith("do not fill a batch and are left out")]
    assert said == (
        [f"{left} of {images} images, others each epoch, do not fill a batch and are left out"]
        if left
        else []
    )


def test_a_batch_of_more_images_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="17 images an update, and the training split has 16"):
        train_plain(tmp_path / "run", few_digits(**FEW), settings=QUICK | {"batch_size": 17})
    assert not (tmp_path / "run").exists()


def test_an_odd_batch_that_is_mixed(tmp_path: Path) -> None:
    settings = QUICK | {"batch_size": 5, "augment": {"mixup": 0.8}}
    with pytest.raises(SettingsError, match="mixup and cutmix pair images, and 5 in one forward is odd"):
        train_plain(tmp_path / "run", few_digits(**FEW), settings=settings)
