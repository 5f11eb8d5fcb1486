"""The training settings of detectors: those of every run, and the detector's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, PositiveInt

from hmhsa_insert.training.run_schema import Contradiction, RunSettings, Section, Share


class DetectorSettings(Section):
    """How the detector is built, and at which size images are seen.

    Attributes:
        min_size: images are scaled to this shorter side, in pixels;
        max_size: or to this longer side, if that comes first.
        trainable_stages: only the last so many stages of the backbone train; None: all of it.
        frozen_norm: BatchNorms of the backbone stand still, for pretrained weights and small batches.
        pyramid_channels: of the feature pyramid; narrower heads follow a narrower one.
        anchor_size: side of the finest level's smallest anchors, in pixels of the scaled image.
        group_norm: GroupNorm in pyramid and heads: learns faster where nothing is pretrained.
        options: numbers that torchvision's class takes by name, such as ``score_thresh``.
    """

    min_size: Annotated[int, Field(ge=32, le=4096)] = 800
    max_size: Annotated[int, Field(ge=32, le=8192)] = 1333
    trainable_stages: Annotated[int, Field(ge=0)] | None = None
    frozen_norm: bool = False
    pyramid_channels: Annotated[int, Field(ge=8, le=2048)] = 256
    anchor_size: PositiveInt = 32
    group_norm: bool = False
    options: dict[str, float | int] = Field(default_factory=dict)


class DetectAugmentSettings(Section):
    """What is done to training images; draws depend on seed, epoch and image alone.

    Attributes:
        hflip: probability of a mirrored image.
    """

    hflip: Share = 0.5


class DetectSettings(RunSettings):
    """Everything that determines the training of a detector besides network, recipe, data and seed.

    Attributes:
        detector, augment: sections of detection; the rest as of every run.
    """

    detector: DetectorSettings = DetectorSettings()
    augment: DetectAugmentSettings = DetectAugmentSettings()

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what no single value shows."""
        yield from super().contradictions()
        if self.detector.max_size < self.detector.min_size:
            message = f"{self.detector.max_size} is less than min_size {self.detector.min_size}"
            yield ("detector", "max_size"), message, ""
