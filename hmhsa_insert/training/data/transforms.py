"""timm's transforms, made from the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_transform
from torch import nn

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.loader import Transform
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.schema import ClassifySettings


def train_transform(settings: ClassifySettings, model: nn.Module, channels: int) -> Transform:
    """Return what is done to a training image: crop, flip, color policy, normalization, erasing.

    Raises:
        SettingsError: timm does not know the policy.
    """
    augment = settings.augment
    mean, std = statistics(settings, model, channels)
    try:
        made = create_transform(
            input_size=(channels, settings.input_size, settings.input_size),
            is_training=True,
            scale=augment.scale,
            ratio=augment.ratio,
            hflip=augment.hflip,
            color_jitter=augment.color_jitter or None,
            auto_augment=augment.auto_augment,
            interpolation=augment.interpolation,
            mean=mean,
            std=std,
            re_prob=augment.erasing,
            re_mode="pixel",
        )
    except (AssertionError, ValueError, IndexError) as error:  # how timm refuses a policy
        where, message = "augment.auto_augment", f"timm does not know {augment.auto_augment!r}: {error}"
        raise SettingsError(Problem(where, message, "such as rand-m9-mstd0.5-inc1")) from error
    for step in made.transforms:
        for operation in _operations(step):
            if "Posterize" in operation.name:
                operation.level_fn = _one_bit_at_least(operation.level_fn)
    return cast(Transform, made)


def eval_transform(settings: ClassifySettings, model: nn.Module, channels: int) -> Transform:
    """Return what is done to an image in evaluation: resize, centre crop, normalization."""
    mean, std = statistics(settings, model, channels)
    interpolation = settings.augment.interpolation
    made = create_transform(
        input_size=(channels, settings.input_size, settings.input_size),
        interpolation="bicubic" if interpolation == "random" else interpolation,
        crop_pct=settings.augment.crop_pct,
        mean=mean,
        std=std,
    )
    return cast(Transform, made)


def statistics(settings: ClassifySettings, model: nn.Module, channels: int) -> tuple[tuple[float, ...], ...]:
    """Return the mean and standard deviation that images are normalized with, one number a channel."""
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    own = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD} if channels == 3 else {}
    both = []
    for name in ("mean", "std"):
        value = getattr(settings.augment, name)
        if value is None:
            value = (config.get(name) or own[name]) if channels == 3 else (0.5,)
        both.append(tuple(value) * channels if len(value) == 1 else tuple(value))
        if len(both[-1]) != channels:
            message = f"{len(both[-1])} numbers for images of {channels} channel"
            raise SettingsError(Problem(f"augment.{name}", message))
    return tuple(both)


def _operations(step: Any) -> Iterator[Any]:
    """Yield the single operations of timm's RandAugment, AugMix (``ops``) or AutoAugment (``policy``)."""
    yield from getattr(step, "ops", ())
    for pair in getattr(step, "policy", ()):
        yield from pair


def _one_bit_at_least(level_fn: Callable[..., tuple[int, ...]]) -> Callable[..., tuple[int, ...]]:
    """Have a strong posterization keep one bit: timm's keeps none, which Pillow refuses since version 13."""

    def level(*arguments: Any) -> tuple[int, ...]:
        return tuple(max(bits, 1) for bits in level_fn(*arguments))

    return level
