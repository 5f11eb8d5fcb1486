"""Where a run is: what is saved beside weights and optimiser, so that it goes on as if nothing had happened."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.problems import TrainingError

Row = dict[str, float | int | None]


@dataclass
class Best:
    """The best evaluation so far.

    Attributes:
        top1: in percent.
        epoch: from 1.
        weights: ``model`` or ``ema``.
    """

    top1: float = -1.0
    epoch: int = 0
    weights: str = "model"


@dataclass
class Progress:
    """The place of a run, saved and loaded with its checkpoints.

    Attributes:
        epoch: epochs done.
        update: updates done in the epoch under way.
        total: updates done in all.
        history: one row of metrics an epoch.
        best: the best evaluation so far.
        damaged: names of training images that could not be read.
    """

    accelerator: Accelerator
    epoch: int = 0
    update: int = 0
    total: int = 0
    history: list[Row] = field(default_factory=list)
    best: Best = field(default_factory=Best)
    damaged: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        # Loss, right answers and images of the epoch under way, of this process.
        self._sums = [0.0, 0.0, 0.0]
        # What is not added yet: reading a number waits until an accelerator has computed it.
        self._waiting: list[tuple[int, torch.Tensor, torch.Tensor, int]] = []

    def add(self, loss: torch.Tensor, scores: torch.Tensor, targets: torch.Tensor) -> None:
        """Note one forward: its mean loss, scores N×classes, targets N or N×classes."""
        with torch.no_grad():
            truth = targets.argmax(1) if targets.ndim == 2 else targets
            right = scores.argmax(1).eq(truth).sum()
        self._waiting.append((self.total, loss.detach(), right, len(scores)))

    def check(self) -> None:
        """Add up what was noted. Waits for the device.

        Raises:
            TrainingError: a loss was not a number; with the update it began at.
        """
        if not self._waiting:
            return
        updates, losses, rights, counts = zip(*self._waiting, strict=True)
        self._waiting = []
        numbers = torch.stack([torch.stack(losses).float(), torch.stack(rights).float()]).tolist()
        for update, loss, right, count in zip(updates, *numbers, counts, strict=True):
            if not math.isfinite(loss):
                tip = "a smaller learning rate, optimizer.clip_norm, or compute.precision=no may help"
                message = f"the loss of update {update + 1} is not a number"
                raise TrainingError(Problem(f"epoch {self.epoch + 1}", message, tip))
            for index, value in enumerate((loss * count, right, count)):
                self._sums[index] += value

    def means(self) -> tuple[float, float]:
        """Return the epoch's mean loss and top-1 in percent so far, of this process."""
        loss, right, images = self._sums
        return (loss / images, 100.0 * right / images) if images else (0.0, 0.0)

    def close_epoch(self) -> tuple[float, float]:
        """Return mean loss and top-1 in percent over all processes, and begin the next epoch."""
        self.check()
        loss, right, images = (sum(column) for column in zip(*self._of_all(), strict=True))
        self._sums = [0.0, 0.0, 0.0]
        self.epoch, self.update = self.epoch + 1, 0
        return loss / images, 100.0 * right / images

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain data; all processes call this together."""
        return {
            "epoch": self.epoch,
            "update": self.update,
            "total": self.total,
            "history": [dict(row) for row in self.history],
            "best": {"top1": self.best.top1, "epoch": self.best.epoch, "weights": self.best.weights},
            "damaged": self.all_damaged(),
            "sums": self._of_all(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; sums go to the processes they came from."""
        self.epoch, self.update, self.total = state["epoch"], state["update"], state["total"]
        self.history = [dict(row) for row in state["history"]]
        self.best, self.damaged = Best(**state["best"]), set(state["damaged"])
        sums, rank, world = state["sums"], self.accelerator.process_index, self.accelerator.num_processes
        if len(sums) != world:  # a run that goes on with another number of processes: all on the first
            together = [sum(column) for column in zip(*sums, strict=True)]
            sums = [together, *([0.0, 0.0, 0.0] for _ in range(world - 1))]
        self._sums = list(sums[rank])

    def all_damaged(self) -> list[str]:
        """Return the names of damaged training images of all processes; they call this together."""
        return sorted(set(gather_object(sorted(self.damaged))))

    def _of_all(self) -> list[list[float]]:
        """Return every process's sums."""
        gathered: list[list[float]] = gather_object([list(self._sums)])
        return gathered
