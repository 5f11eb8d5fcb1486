"""The training settings of detectors: those of every run, and the detector's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, PositiveInt

from hmhsa_insert.training.run_schema import Contradiction, RunSettings, Section, Share

CELL = 32  # images are padded to whole multiples of it


class DetectorSettings(Section):
    """How the detector is built, and at which size images are seen."""

    min_size: Annotated[int, Field(ge=32, le=4096)] = 800
    """Shorter side, in pixels, to which images are scaled."""
    max_size: Annotated[int, Field(ge=32, le=8192)] = 1333
    """Longer side, in pixels, that no scaled image exceeds."""
    trainable_stages: Annotated[int, Field(ge=0)] | None = None
    """Last stages of the backbone that train; null: all of it."""
    frozen_norm: bool = False
    """BatchNorms of the backbone are frozen, for pretrained weights and small batches."""
    pyramid_channels: Annotated[int, Field(ge=8, le=2048)] = 256
    """Channels of the feature pyramid; narrower heads follow a narrower one."""
    anchor_size: PositiveInt = 32
    """Side of the finest level's smallest anchors, in pixels of the scaled image."""
    group_norm: bool = False
    """GroupNorm in pyramid and heads: learns faster where nothing is pretrained."""
    options: dict[str, float | int] = Field(default_factory=dict)
    """Numbers that torchvision's class takes by name, such as ``score_thresh``."""


class DetectAugmentSettings(Section):
    """What is done to training images; draws depend on seed, epoch and image alone."""

    hflip: Share = 0.5
    """Probability of a mirrored image."""


class DetectSettings(RunSettings):
    """Everything that determines the training of a detector besides network, recipe, data and seed."""

    detector: DetectorSettings = DetectorSettings()
    augment: DetectAugmentSettings = DetectAugmentSettings()

    @property
    def image_side(self) -> int:
        """Side of the padded square image at which the backbone's maps are measured, in pixels."""
        return -(-self.detector.min_size // CELL) * CELL

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what no single value shows."""
        yield from super().contradictions()
        if self.detector.max_size < self.detector.min_size:
            message = f"{self.detector.max_size} is less than min_size {self.detector.min_size}"
            yield ("detector", "max_size"), message, ""
