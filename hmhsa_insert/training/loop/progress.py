"""Where a run is: what is saved beside weights and optimizer, so that it goes on as if nothing had happened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from pydantic import ConfigDict, Field

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.shapes import Count, Shape
from hmhsa_insert.training.problems import TrainingError

EpochRow = dict[str, float | int | None]
Sums = dict[str, float]


class _Saved(Shape):
    model_config = ConfigDict(allow_inf_nan=True)


class _SavedBest(_Saved):
    score: float
    epoch: Count
    weights: Literal["model", "ema"]


class _SavedProgress(_Saved):
    epoch: Count
    update: Count
    total: Count
    history: list[EpochRow]
    best: _SavedBest
    damaged: list[str]
    sums: Annotated[list[Sums], Field(min_length=1)]


class SavedPlace(_Saved):
    """What a checkpoint holds beside weights and optimizer: the progress, and the weights' average."""

    progress: _SavedProgress
    average: dict[str, Any]


@dataclass
class Best:
    """The best evaluation so far.

    Attributes:
        score: of the column that the task judges by.
        epoch: from 1; 0: there was none.
        weights: ``model`` or ``ema``.
    """

    score: float = -1.0
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
    history: list[EpochRow] = field(default_factory=list)
    best: Best = field(default_factory=Best)
    damaged: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        # Of the epoch under way, of this process: images, and the sums of the loss and of every meter over them.
        self._sums: Sums = {}
        # What is not added yet: reading a number waits until an accelerator has computed it.
        self._waiting: list[tuple[int, int, torch.Tensor, Mapping[str, torch.Tensor]]] = []

    def add(self, loss: torch.Tensor, images: int, meters: Mapping[str, torch.Tensor]) -> None:
        """Note one forward: its mean loss, how many images it was of, and the meters' sums over them."""
        self._waiting.append((self.total, images, loss.detach(), meters))

    def check(self) -> None:
        """Add up what was noted. Waits for the device.

        Raises:
            TrainingError: a loss was not a number; with the update it began at.
        """
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        names = tuple(waiting[0][3])
        stacked = [
            torch.stack([loss.float(), *(meters[n].float() for n in names)]) for *_, loss, meters in waiting
        ]
        numbers = torch.stack(stacked).tolist()
        for (update, images, *_), (loss, *sums) in zip(waiting, numbers, strict=True):
            if not math.isfinite(loss):
                tip = "a smaller learning rate, optimizer.clip_norm, or compute.precision=no may help"
                message = f"the loss of update {update + 1} is not a number"
                raise TrainingError(Problem(f"epoch {self.epoch + 1}", message, tip))
            new = {"images": float(images), "loss": loss * images, **dict(zip(names, sums, strict=True))}
            self._sums = _added([self._sums, new])

    def means(self) -> Sums:
        """Return the epoch's mean loss and meters so far, of this process."""
        return _means(self._sums)

    def close_epoch(self) -> Sums:
        """Return mean loss and meters over all processes, and begin the next epoch."""
        self.check()
        means = _means(_added(self._of_all()))
        self._sums = {}
        self.epoch, self.update = self.epoch + 1, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain data; all processes call this together."""
        return {
            "epoch": self.epoch,
            "update": self.update,
            "total": self.total,
            "history": [dict(row) for row in self.history],
            "best": {"score": self.best.score, "epoch": self.best.epoch, "weights": self.best.weights},
            "damaged": self.all_damaged(),
            "sums": self._of_all(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; sums go to the processes they came from."""
        self.epoch, self.update, self.total = state["epoch"], state["update"], state["total"]
        self.history = [dict(row) for row in state["history"]]
        self.best, self.damaged = (
            Best(*(state["best"][name] for name in ("score", "epoch", "weights"))),
            set(state["damaged"]),
        )
        sums, rank, world = state["sums"], self.accelerator.process_index, self.accelerator.num_processes
        if len(sums) != world:  # a run that goes on with another number of processes: all on the first
            sums = [_added(sums), *({} for _ in range(world - 1))]
        self._sums = dict(sums[rank])

    def all_damaged(self) -> list[str]:
        """Return the names of damaged training images of all processes; they call this together."""
        return sorted(set(gather_object(sorted(self.damaged))))

    def _of_all(self) -> list[Sums]:
        """Return every process's sums."""
        gathered: list[Sums] = gather_object([dict(self._sums)])
        return gathered


def _added(sums: Iterable[Sums]) -> Sums:
    total: Sums = {}
    for each in sums:
        for name, value in each.items():
            total[name] = total.get(name, 0.0) + value
    return total


def _means(sums: Sums) -> Sums:
    return {name: value / sums["images"] for name, value in sums.items() if name != "images"}
