"""timm's transforms as the settings ask for them, on color and gray images."""

import random
from typing import Any

import numpy as np
import pytest
import timm
import torch
from packaging.version import Version
from PIL import Image
from torch import nn

from hmhsa_insert.training.data.transforms import eval_transform, statistics, train_transform
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.settings import load_settings


def _settings(**augment: Any) -> Any:
    return load_settings({"epochs": 1, "batch_size": 2, "input_size": 24, "augment": augment})


def _image(mode: str) -> Image.Image:
    shape = (30, 40) if mode == "L" else (30, 40, 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("policy", ["rand-m9-mstd0.5-inc1", "rand-m10-n4-mstd5-inc1", "v0", "augmix-m9"])
def test_every_operation_of_a_policy_runs(mode: str, policy: str) -> None:
    channels = len(mode)
    if (mode, policy) == ("L", "augmix-m9") and Version(timm.__version__) < Version("1.0.30"):
        pytest.skip("augmix of older timm fails on gray images")
    transform = train_transform(
        _settings(auto_augment=policy, erasing=0.5, hflip=0.5), nn.Identity(), channels
    )
    random.seed(0)
    for _ in range(150):
        made = transform(_image(mode))
        assert made.shape == (channels, 24, 24)
        assert torch.isfinite(made).all()


def test_a_policy_that_timm_does_not_know() -> None:
    with pytest.raises(SettingsError, match=r"augment.auto_augment: timm does not know 'mine'"):
        train_transform(_settings(auto_augment="mine"), nn.Identity(), 3)


def test_evaluation_crops_the_middle_and_normalises() -> None:
    image = Image.fromarray(np.full((20, 20), 255, dtype=np.uint8))
    made = eval_transform(_settings(crop_pct=1.0), nn.Identity(), 1)(image)
    torch.testing.assert_close(made, torch.ones(1, 24, 24))
    again = eval_transform(_settings(crop_pct=0.5), nn.Identity(), 1)
    assert torch.equal(again(image), again(image))


def test_statistics_are_the_settings_or_the_networks_or_the_usual_ones() -> None:
    model = nn.Identity()
    assert statistics(_settings(), model, 1) == ((0.5,), (0.5,))
    assert statistics(_settings(), model, 3)[0] == pytest.approx((0.485, 0.456, 0.406))
    model.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}  # type: ignore[assignment]
    assert statistics(_settings(), model, 3) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert statistics(_settings(mean=[0.7], std=[0.2]), model, 3) == ((0.7,) * 3, (0.2,) * 3)
    with pytest.raises(SettingsError, match=r"augment.mean: 3 numbers for images of 1 channel"):
        statistics(_settings(mean=[0.1, 0.2, 0.3]), model, 1)
