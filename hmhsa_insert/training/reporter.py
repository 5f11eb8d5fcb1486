"""The progress of a training while it runs: the command line shows it, a study may, a test need not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hmhsa_insert.training.loop.progress import EpochRow


@dataclass(frozen=True)
class OptimizerStep:
    """Where a training is after an optimizer step.

    Attributes:
        epoch: the one under way, from 1.
        epochs: how many there will be.
        update: updates done in this epoch.
        updates: updates in an epoch.
        loss: mean training loss of the epoch so far.
        meters: means of what the task reports beside the loss, of the epoch so far: in classification ``top1``, in
            percent (of mixed images, where they are mixed).
        images_per_s: over all processes, since the epoch (or the process) began.
    """

    epoch: int
    epochs: int
    update: int
    updates: int
    loss: float
    meters: Mapping[str, float]
    images_per_s: float


class Reporter(Protocol):
    """Receiver of a training's progress, in the first process only."""

    def note(self, text: str) -> None:
        """Something was decided, adapted or found."""

    def step(self, step: OptimizerStep) -> None:
        """Updates were done."""

    def evaluating(self, images: int) -> None:
        """So many more images were evaluated."""

    def epoch(self, row: EpochRow, timing: EpochRow) -> None:
        """An epoch ended; `row` is its line of ``metrics.csv``, `timing` that of ``timing.csv``."""


class Silent:
    """A reporter that says nothing; a base for one that says something."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def step(self, step: OptimizerStep) -> None:
        """Do nothing."""

    def evaluating(self, images: int) -> None:
        """Do nothing."""

    def epoch(self, row: EpochRow, timing: EpochRow) -> None:
        """Do nothing."""
