"""Images with boxes and masks, read and mirrored, every draw seeded by where it is made; batched as lists."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torchvision.transforms.functional import pil_to_tensor

from hmhsa_insert.detection.coco_data import CocoSplit, Target
from hmhsa_insert.training.data.order import PADDING, EvalBatches, Key, Shares, TrainBatches
from hmhsa_insert.training.loader import default_workers, read_or_next, reading_loader
from hmhsa_insert.training.loop.seeding import IMAGE, derived_seed, seed_cpu
from hmhsa_insert.training.workers import WorkerLoader


class DetectBatch(NamedTuple):
    """What a loader yields.

    Attributes:
        images: of each image 3×H×W, 0 to 1.
        targets: of each image, see :meth:`CocoSplit.target`.
        indices: N, each image's number in its split; PADDING for what only fills up the batch.
        damaged: N, true where the image of that index could not be read; in training another stands in for it.
    """

    images: list[torch.Tensor]
    targets: list[Target]
    indices: torch.Tensor
    damaged: torch.Tensor


class _Item(NamedTuple):
    image: torch.Tensor
    target: Target
    number: int
    damaged: bool


class _Prepared:
    """Images of a split by key, mirrored with a probability; a batch at a time."""

    def __init__(self, split: CocoSplit, seed: int, hflip: float) -> None:
        self._split, self._seed, self._hflip = split, seed, hflip

    def batch(self, keys: Sequence[Key]) -> DetectBatch:
        """Return the images of these keys."""
        images, targets, indices, damaged = zip(*(self[key] for key in keys), strict=True)
        return DetectBatch(list(images), list(targets), torch.tensor(indices), torch.tensor(damaged))

    def __getitem__(self, key: Key) -> _Item:
        epoch, index = key
        seed_cpu(derived_seed(self._seed, IMAGE, epoch, index))
        wanted = 0 if index == PADDING else index
        read, image = read_or_next(self._split, wanted)
        pixels, target = pil_to_tensor(image).float().div_(255), self._split.target(read)
        if random.random() < self._hflip:
            pixels, target = mirrored(pixels, target)
        return _Item(pixels, target, index, read != wanted)


class DetectTrainLoader:
    """The training split of one process, any epoch from any update on.

    Args:
        split: what to read.
        shares: how an update's images are divided.
        seed: of the run.
        hflip: probability of a mirrored image.
        workers: processes that read; None: by the machine.
        pin: keep batches in page-locked memory, for an accelerator.
    """

    def __init__(
        self, split: CocoSplit, shares: Shares, seed: int, hflip: float, workers: int | None, pin: bool
    ) -> None:
        self._sampler = TrainBatches(len(split), shares, seed)
        count = _workers(split, shares.world, workers)
        self._loader = reading_loader(_Prepared(split, seed, hflip).batch, self._sampler, count, pin)

    @property
    def updates(self) -> int:
        """Updates in an epoch."""
        return self._sampler.updates

    def batches(self, epoch: int, first_update: int = 0) -> Iterator[DetectBatch]:
        """Yield this process's batches of an epoch, `accumulate` of them an update."""
        self._sampler.start(epoch, first_update)
        return iter(self._loader)

    def close(self) -> None:
        """End the processes that read."""
        self._loader.close()


def eval_loader(
    split: CocoSplit, batch_size: int, rank: int, world: int, workers: int | None, pin: bool
) -> WorkerLoader[DetectBatch]:
    """Return a split in order, every image once over all processes."""
    batches = EvalBatches(len(split), batch_size, rank, world)
    prepared = _Prepared(split, seed=0, hflip=0.0)
    return reading_loader(prepared.batch, batches, _workers(split, world, workers), pin)


def mirrored(image: torch.Tensor, target: Target) -> tuple[torch.Tensor, Target]:
    """Return an image, 3×H×W, and its target, left and right changed."""
    turned = dict(target)
    boxes = target["boxes"].clone()
    boxes[:, [0, 2]] = image.shape[-1] - target["boxes"][:, [2, 0]]
    turned["boxes"] = boxes
    if "masks" in target:
        turned["masks"] = target["masks"].flip(-1)
    return image.flip(-1), turned


def _workers(split: CocoSplit, world: int, workers: int | None) -> int:
    return default_workers(split, world) if workers is None else workers
