"""What the loop knows of a task's data, batches, loss and scores: the shapes that every task's own have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from hmhsa_insert.printed import Printed
from hmhsa_insert.quantities import score
from hmhsa_insert.tables import Table, left, right
from hmhsa_insert.training.loop.progress import EpochRow


class Split(Protocol):
    """Images of a source that belong together."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return what a report calls one image."""


class DataSource(Protocol):
    """What a run says of its data, whatever it is."""

    @property
    def source(self) -> str:
        """What the user called it."""

    @property
    def train(self) -> Split:
        """The training split."""

    @property
    def val(self) -> Split:
        """The validation split."""

    @property
    def num_classes(self) -> int:
        """How many classes there are."""

    @property
    def channels(self) -> int:
        """Of an image as it is stored: 1 or 3."""

    @property
    def fingerprint(self) -> str:
        """A digest of names, annotations and what is in the files."""

    @property
    def names_fingerprint(self) -> str:
        """A digest of names and annotations alone, by which runs of earlier versions know their data."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of their numbers."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided for the user."""


class ReadBatch(Protocol):
    """What the loop itself looks at in a batch."""

    @property
    def indices(self) -> torch.Tensor:
        """N, each image's number in its split."""

    @property
    def damaged(self) -> torch.Tensor:
        """N, true where the image could not be read and another stands in for it."""


class TrainBatchSource(Protocol):
    """The training split of one process, any epoch from any update on."""

    @property
    def updates(self) -> int:
        """Updates in an epoch."""

    def batches(self, epoch: int, first_update: int = 0) -> Iterator[Any]:
        """Yield this process's batches of an epoch."""

    def close(self) -> None:
        """End the processes that read."""


class EvalBatchSource(Protocol):
    """The validation split of one process, in order."""

    def __iter__(self) -> Iterator[Any]: ...

    def close(self) -> None:
        """End the processes that read."""


class Forward(NamedTuple):
    """What one forward in training gave.

    Attributes:
        loss: mean over the images; what is minimized.
        images: how many there were.
        meters: name -> sum over the images of what is shown beside the loss, on the device.
    """

    loss: torch.Tensor
    images: int
    meters: Mapping[str, torch.Tensor]


class Objective(Protocol):
    """Computes the loss of batches."""

    def to_device(self, batch: Any, device: torch.device, memory_format: Any) -> Any:
        """Return the batch on the device."""

    def forward(self, model: nn.Module, batch: Any) -> Forward:
        """Run a batch that is on the device; draws come from the generators that the loop seeded."""


@dataclass(frozen=True, repr=False)
class Evaluated(Printed, ABC):
    """What an evaluation found, the same in every process.

    Attributes:
        damaged: numbers of images that could not be read.
        seconds: wall time, reading included.
    """

    damaged: tuple[int, ...]
    seconds: float

    @property
    @abstractmethod
    def row(self) -> EpochRow:
        """Columns of ``metrics.csv``."""

    @property
    @abstractmethod
    def images(self) -> int:
        """How many images were evaluated."""

    @property
    def said(self) -> str:
        """The scores in a few words."""
        return ", ".join(
            f"{name} {'–' if value is None else f'{value:.6g}'}" for name, value in self.row.items()
        )

    def tables(self) -> Sequence[Table]:
        """Return the scores of the evaluation."""
        texts = {name: "–" if value is None else score(name).text(value) for name, value in self.row.items()}
        rows = [(name.removeprefix("val_"), text) for name, text in texts.items()]
        notes = [f"{len(self.damaged)} damaged images were left out"] if self.damaged else []
        title = f"{self.images:,} images, {self.images_per_s:.0f} a second"
        return [Table.of(title, [left("score"), right("value")], rows, notes)]

    @property
    def images_per_s(self) -> float:
        """Images evaluated in a second, reading included."""
        return self.images / self.seconds

    def write_predictions(self, folder: Path, split: Split) -> None:
        """Write what was said of every image into a file of `folder`; a task without such a file writes none."""
        return


@dataclass(frozen=True)
class Panel:
    """One of the pictures of learning curves: its label, and column -> title of each curve."""

    label: str
    curves: Mapping[str, str]
