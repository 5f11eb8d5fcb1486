"""Images with boxes and masks, read and mirrored, every draw seeded by where it is made; batched as lists."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torchvision.transforms.functional import pil_to_tensor

from hmhsa_insert.detection.coco_data import CocoSplit, Target
from hmhsa_insert.training.data.order import PADDING, EvalBatches, Key, Shares
from hmhsa_insert.training.keyed_loader import KeyedTrainLoader, keyed_eval_loader
from hmhsa_insert.training.loader import read_or_next
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


def train_loader(
    split: CocoSplit, shares: Shares, seed: int, hflip: float, workers: int | None, pin: bool
) -> KeyedTrainLoader[DetectBatch]:
    """Return the training split of one process; a mirrored image has the probability `hflip`."""
    read = _Prepared(split, seed, hflip).batch
    return KeyedTrainLoader(read, split, shares, seed, workers, pin)


def eval_loader(
    split: CocoSplit, batch_size: int, rank: int, world: int, workers: int | None, pin: bool
) -> WorkerLoader[DetectBatch]:
    """Return a split in order, every image once over all processes."""
    read = _Prepared(split, seed=0, hflip=0.0).batch
    return keyed_eval_loader(
        read, split, EvalBatches(len(split), batch_size, rank, world), world, workers, pin
    )


def mirrored(image: torch.Tensor, target: Target) -> tuple[torch.Tensor, Target]:
    """Return an image, 3×H×W, and its target, left and right changed."""
    turned = dict(target)
    boxes = target["boxes"].clone()
    boxes[:, [0, 2]] = image.shape[-1] - target["boxes"][:, [2, 0]]
    turned["boxes"] = boxes
    if "masks" in target:
        turned["masks"] = target["masks"].flip(-1)
    return image.flip(-1), turned
