"""The training settings of segmenters: those of every run, and the segmenter's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from hmhsa_insert.training.run_schema import Contradiction, Pair, ReadSettings, RunSettings, Section, Share

Side = Annotated[int, Field(ge=8, le=8192)]


class SegmenterSettings(Section):
    """How the segmenter is built, and at which size images are seen."""

    channels: Annotated[int, Field(ge=16, le=2048)] = 256
    """Channels of the decoder; its later layers follow in proportion."""
    short_side: Side | None = None
    """Shorter side, in pixels, to which images are scaled; null: images are seen as they are."""
    long_side: Side | None = None
    """Longer side, in pixels, that no scaled image exceeds; null: no limit."""
    window: Annotated[int, Field(ge=32, le=8192)] | None = None
    """Side of the windows in which evaluation sees larger images; null: the whole image at once."""
    options: dict[str, float | int | bool | str | None] = Field(default_factory=dict)
    """What the decoder takes by name, such as ``decoder_attention_type``."""


class SemanticAugmentSettings(Section):
    """What is done to training images and their masks alike; draws depend on seed, epoch and image alone."""

    scale: Pair = (1.0, 1.0)
    """Smallest and largest factor on the size of an image, before the crop."""
    hflip: Share = 0.5
    """Probability of a mirrored image."""
    color: Share = 0.0
    """Probability of a photometric distortion: brightness, contrast, saturation, hue."""
    most_of_one: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Largest share of a crop that one class may have; ten crops are tried."""


class SemanticLossSettings(Section):
    """What is minimized."""

    ce: NonNegativeFloat = 1.0
    """Weight of the cross-entropy; 0 leaves it out."""
    dice: NonNegativeFloat = 0.0
    """Weight of smp's Dice loss."""
    lovasz: NonNegativeFloat = 0.0
    """Weight of smp's Lovász loss."""
    class_weights: Annotated[tuple[PositiveFloat, ...], Field(strict=False)] | None = None
    """Weight of each class in the cross-entropy; null: all alike."""

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss."""
        return {"ce": self.ce, "dice": self.dice, "lovasz": self.lovasz}


class MaskReadSettings(ReadSettings):
    """How images and masks are read."""

    ignore: Annotated[int, Field(ge=-1, le=65535)] = 255
    """Number in masks that stands for no class; -1: there is none."""
    zero: Literal["auto", "class", "ignore"] = "auto"
    """Number 0 in masks: a class, or ignore it; auto: as the layout has it (ADE20K ignores it)."""
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the images that becomes the validation split, where the source has none."""


class SemanticSettings(RunSettings):
    """Everything that determines the training of a segmenter besides network, recipe, data and seed."""

    input_size: Annotated[int, Field(ge=32, le=4096)] = 512
    """Side of the square crops that are trained on, in pixels."""
    segmenter: SegmenterSettings = SegmenterSettings()
    augment: SemanticAugmentSettings = SemanticAugmentSettings()
    loss: SemanticLossSettings = SemanticLossSettings()
    loader: MaskReadSettings = MaskReadSettings()

    @property
    def image_side(self) -> int:
        """Side of the crops, in pixels."""
        return self.input_size

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what no single value shows."""
        yield from super().contradictions()
        seen, scale = self.segmenter, self.augment.scale
        if seen.short_side and seen.long_side and seen.long_side < seen.short_side:
            message = f"{seen.long_side} is less than short_side {seen.short_side}"
            yield ("segmenter", "long_side"), message, ""
        if scale[0] > scale[1]:
            yield ("augment", "scale"), "'scale' must be two factors, the smaller one first", ""
        if not any(self.loss.weights.values()):
            yield ("loss",), "all losses have the weight 0, so that nothing is minimized", ""
        if self.loss.class_weights is not None and not self.loss.ce:
            yield ("loss", "class_weights"), "they are of the cross-entropy, whose weight is 0", ""
