"""The training settings of image classification: what is done to images, what is minimized, how folders are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from hmhsa_insert.training.run_schema import (
    BelowOne,
    Contradiction,
    Pair,
    ReadSettings,
    RunSettings,
    Section,
    Share,
)

# Evaluation resizes the shorter side to this at most: a picture of that size is some hundred megabytes.
MOST_RESIZED = 8192
PerChannel = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=64)]


class AugmentSettings(Section):
    """What is done to training images; draws depend on seed, epoch and image alone."""

    scale: Pair = (0.08, 1.0)
    """Smallest and largest share of the image's area in a random crop."""
    ratio: Pair = (3 / 4, 4 / 3)
    """Smallest and largest aspect ratio of the crop."""
    hflip: Share = 0.0
    """Probability of a mirrored image."""
    color_jitter: NonNegativeFloat = 0.0
    """Strength of random brightness, contrast, saturation; timm leaves it out where `auto_augment` is on."""
    auto_augment: str | None = None
    """Policy, by its name in timm, such as ``rand-m9-mstd0.5-inc1``."""
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    """Interpolation of resizing: bicubic, bilinear, or random between them (in training)."""
    erasing: Share = 0.0
    """Probability of an erased rectangle."""
    mixup: NonNegativeFloat = 0.0
    """Alpha of Mixup; 0 is off."""
    cutmix: NonNegativeFloat = 0.0
    """Alpha of CutMix; 0 is off."""
    mix_prob: Share = 1.0
    """Probability that a batch is mixed, by Mixup or CutMix."""
    switch_prob: Share = 0.5
    """Probability of CutMix where both are on."""
    crop_pct: Annotated[float, Field(ge=0.1, le=1)] = 0.875
    """Share of the resized image that evaluation sees."""
    mean: PerChannel | None = None
    """Mean of the normalization, one number a channel; null: the network's own, 0.5 for gray images."""
    std: PerChannel | None = None
    """Standard deviation of the normalization, one number a channel; null: the network's own, 0.5 for gray images."""


class LossSettings(Section):
    """What is minimized."""

    name: Literal["ce", "bce"] = "ce"
    """ce: cross-entropy; bce: one binary cross-entropy a class."""
    label_smoothing: BelowOne = 0.0
    """Label smoothing: share of the target spread evenly over all classes."""


class LoaderSettings(ReadSettings):
    """How classified images are read."""

    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the images that becomes the validation split, where the source has none."""
    num_classes: PositiveInt | None = None
    """Classes of a streamed source that does not say it."""
    train: str | None = None
    """Folder of the training split below the source's; null: found by its name; `.`: the source itself."""
    val: str | None = None
    """Folder of the validation split, as `train`; `none`: there is none."""
    channels: Literal[1, 3] | None = None
    """Channels of the images: 1 (gray) or 3 (RGB); null: by the images."""


class ClassifySettings(RunSettings):
    """Everything that determines a training of classification besides network, recipe, data and seed."""

    input_size: Annotated[int, Field(ge=8, le=4096)] = 224
    """Side of the square images, in pixels."""
    augment: AugmentSettings = AugmentSettings()
    loss: LossSettings = LossSettings()
    loader: LoaderSettings = LoaderSettings()

    @property
    def image_side(self) -> int:
        """Side of the images, in pixels."""
        return self.input_size

    @property
    def mixes(self) -> bool:
        """Whether training images are mixed, so that targets are soft."""
        return self.augment.mixup > 0 or self.augment.cutmix > 0

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what no single value shows."""
        yield from super().contradictions()
        augment = self.augment
        if augment.scale[0] > augment.scale[1] or augment.scale[1] > 1:
            yield ("augment", "scale"), "'scale' must be two shares of the area, the smaller one first", ""
        if augment.ratio[0] > augment.ratio[1]:
            yield ("augment", "ratio"), "'ratio' must be two numbers, the smaller one first", ""
        side = int(self.input_size / augment.crop_pct)
        if side > MOST_RESIZED:
            message = f"images would be resized to {side:,} pixels for it, and {MOST_RESIZED:,} are the most"
            yield ("augment", "crop_pct"), message, "a larger crop_pct, or a smaller input_size"
