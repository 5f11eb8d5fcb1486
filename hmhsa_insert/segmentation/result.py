"""The result of a segmenter's run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hmhsa_insert.training.result import RunResult


@dataclass(frozen=True, repr=False)
class SemanticResult(RunResult):
    """A finished run of semantic segmentation."""

    required: ClassVar[tuple[str, ...]] = ("miou", "mdice", "pixel_accuracy")

    @property
    def miou(self) -> float | None:
        """Mean intersection over union of the classes, as a share."""
        return self.scores["miou"]

    @property
    def mdice(self) -> float | None:
        """Mean Dice of the classes, as a share."""
        return self.scores["mdice"]

    @property
    def pixel_accuracy(self) -> float | None:
        """Share of the pixels whose class was found."""
        return self.scores["pixel_accuracy"]
