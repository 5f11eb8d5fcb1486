"""What is done to images of any number of channels: crops, mirroring, erasing, normalization; nothing of colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from timm.data.random_erasing import RandomErasing
from torchvision.transforms import InterpolationMode, v2

from hmhsa_insert.errors import Problem, mention
from hmhsa_insert.training.data.arrays import Planes
from hmhsa_insert.training.data.images import Images
from hmhsa_insert.training.loader import Transform
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.schema import ClassifySettings

_LOOKED_AT = 100


def array_train_transform(settings: ClassifySettings, images: Images, channels: int) -> Transform:
    """Return what is done to a training image.

    Raises:
        SettingsError: settings that need colors; no statistics, which are then said.
    """
    augment, side = settings.augment, settings.input_size
    problems = [
        Problem(
            f"augment.{name}", "it changes colors, and these images are arrays", mention("overrides", [off])
        )
        for name, value, off in (
            ("color_jitter", augment.color_jitter, "augment.color_jitter=0"),
            ("auto_augment", augment.auto_augment, "augment.auto_augment=null"),
        )
        if value
    ]
    if problems:
        raise SettingsError(problems)
    steps: list[Any] = [
        v2.RandomResizedCrop(side, augment.scale, augment.ratio, _mode(augment.interpolation, "bilinear")),
        v2.RandomHorizontalFlip(augment.hflip),
        v2.Normalize(*_statistics(settings, images, channels)),
    ]
    if augment.erasing:
        steps.append(RandomErasing(augment.erasing, mode="pixel", device="cpu"))
    return _transform(steps)


def array_eval_transform(settings: ClassifySettings, images: Images, channels: int) -> Transform:
    """Return what is done to an image in evaluation.

    Raises:
        SettingsError: no statistics, which are then said.
    """
    augment, side = settings.augment, settings.input_size
    resize = v2.Resize(int(side / augment.crop_pct), _mode(augment.interpolation, "bicubic"))
    return _transform([resize, v2.CenterCrop(side), v2.Normalize(*_statistics(settings, images, channels))])


def _transform(steps: Sequence[Any]) -> Transform:
    together = v2.Compose(steps)

    def apply(image: Planes) -> torch.Tensor:
        found: torch.Tensor = together(image.values)
        return found

    return cast(Transform, apply)


def _mode(name: str, otherwise: str) -> InterpolationMode:
    return InterpolationMode(otherwise if name == "random" else name)


def _statistics(settings: ClassifySettings, images: Images, channels: int) -> tuple[list[float], list[float]]:
    mean, std = settings.augment.mean, settings.augment.std
    if mean is None or std is None:
        own = zip(("mean", "std"), measured(images, channels), strict=True)
        texts = [f"augment.{name}=[{', '.join(f'{v:.4g}' for v in values)}]" for name, values in own]
        message = f"images of {channels} channels have no statistics of their own"
        raise SettingsError(Problem("augment.mean", message, f"this data's: {mention('overrides', texts)}"))
    problems = [
        Problem(f"augment.{name}", f"{len(value)} numbers for images of {channels} channels")
        for name, value in (("mean", mean), ("std", std))
        if len(value) not in (1, channels)
    ]
    if problems:
        raise SettingsError(problems)
    return _each(mean, channels), _each(std, channels)


def _each(values: Sequence[float], channels: int) -> list[float]:
    return [*values] * channels if len(values) == 1 else [*values]


def measured(images: Images, channels: int) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel over a sample of the images; damaged ones are passed over."""
    sums, squares, count = np.zeros(channels), np.zeros(channels), 0
    for index in np.linspace(0, len(images) - 1, min(_LOOKED_AT, len(images))):
        try:
            values = images.image(int(index)).convert(str(channels)).values.double()  # type: ignore[attr-defined]
        except Exception:  # a damaged file fails in any way its format likes
            continue
        sums += values.sum((1, 2)).numpy()
        squares += (values**2).sum((1, 2)).numpy()
        count += values[0].numel()
    mean = sums / max(count, 1)
    std = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
    return mean.tolist(), [value or 1.0 for value in std.tolist()]
