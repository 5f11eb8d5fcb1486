"""Which images make which batch: a pure function of seed, epoch and update, for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.loop.seeding import ORDER, derived_seed
from hmhsa_insert.training.problems import SettingsError

# An image to read: the epoch, which its draws depend on, and its index; PADDING fills up a process's last batch.
Key = tuple[int, int]
PADDING = -1


@dataclass(frozen=True)
class Shares:
    """How an update's images are divided.

    Attributes:
        batch_size: images of one update.
        accumulate: batches of one process in an update.
        rank: number of this process.
        world: how many processes there are.
        most: updates of an epoch at most; None: as many as the split has batches for.
    """

    batch_size: int
    accumulate: int = 1
    rank: int = 0
    world: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        parts = self.accumulate * self.world
        if self.batch_size % parts:
            message = (
                f"{self.batch_size} images are not divided by {self.world} processes × {self.accumulate}"
            )
            raise SettingsError(Problem("batch_size", message + " accumulated batches"))

    @property
    def micro_batch(self) -> int:
        """Images of one forward in one process."""
        return self.batch_size // (self.accumulate * self.world)


class TrainBatches(Sampler[list[Key]]):
    """The batches of one process in one epoch: a permutation, what fills no update left out.

    One update takes the next `batch_size` images of the permutation, whatever the shares: 1 process with 64 images,
    2 with 32 and 4 accumulated batches of 16 see the same images at the same update.

    Args:
        num_images: in the split.
        shares: how an update's images are divided.
        seed: of the run.
    """

    def __init__(self, num_images: int, shares: Shares, seed: int) -> None:
        if num_images < shares.batch_size:
            message = f"{shares.batch_size} images an update, and the training split has {num_images}"
            raise SettingsError(
                Problem("batch_size", message, "`overrides=['batch_size=…']` makes it smaller")
            )
        self._num_images = num_images
        self._shares = shares
        self._seed = seed
        self._epoch = self._first_update = 0

    @property
    def updates(self) -> int:
        """Updates in an epoch."""
        whole = self._num_images // self._shares.batch_size
        return whole if self._shares.most is None else min(whole, self._shares.most)

    def start(self, epoch: int, update: int) -> None:
        """Let the next iteration begin at `update` (from 0) of `epoch`."""
        self._epoch, self._first_update = epoch, update

    def __iter__(self) -> Iterator[list[Key]]:
        shares = self._shares
        order = np.random.default_rng(derived_seed(self._seed, ORDER, self._epoch)).permutation(
            self._num_images
        )
        for update in range(self._first_update, self.updates):
            images = order[update * shares.batch_size : (update + 1) * shares.batch_size]
            # Accumulated batches one after the other, each divided among the processes.
            for mine in images.reshape(shares.accumulate, shares.world, shares.micro_batch)[:, shares.rank]:
                yield [(self._epoch, int(index)) for index in mine]

    def __len__(self) -> int:
        return (self.updates - self._first_update) * self._shares.accumulate


class EvalBatches(Sampler[list[Key]]):
    """The batches of one process in an evaluation: every image once, in as many batches in every process.

    Args:
        num_images: in the split.
        batch_size: images of one forward in one process.
        rank: number of this process.
        world: how many processes there are.
    """

    def __init__(self, num_images: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        mine = list(range(rank, num_images, world))
        mine += [PADDING] * (-(-num_images // world) - len(mine))
        self._batches = [mine[i : i + batch_size] for i in range(0, len(mine), batch_size)]

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self._batches:
            yield [(0, index) for index in batch]

    def __len__(self) -> int:
        return len(self._batches)
