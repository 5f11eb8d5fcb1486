"""Images with labels of their pixels, read and transformed, every draw seeded by where it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from hmhsa_insert.segmentation.labels import Numbers
from hmhsa_insert.segmentation.mask_data import MaskSplit
from hmhsa_insert.training.data.order import PADDING, Key
from hmhsa_insert.training.loader import first_readable
from hmhsa_insert.training.loop.seeding import IMAGE, derived_seed, seed_cpu

PairTransform = Callable[[Image.Image, Numbers], tuple[Tensor, Tensor]]


class MaskBatch(NamedTuple):
    """What a loader yields.

    Attributes:
        images: N×C×H×W in [0, 1]; in evaluation a list, for they have any size.
        targets: N×H×W, the class of each pixel; in evaluation a list.
        indices: N, each image's number in its split; PADDING for what only fills up the batch.
        damaged: N, true where the image of that index could not be read; in training another stands in for it.
    """

    images: Tensor | list[Tensor]
    targets: Tensor | list[Tensor]
    indices: Tensor
    damaged: Tensor


class PreparedMasks:
    """Images of a split by key; a batch at a time.

    Args:
        split: what is read.
        transform: of an image and its labels; may draw from torch's generator.
        seed: of the run.
        stacked: whether all have one size, and are stacked.
    """

    def __init__(self, split: MaskSplit, transform: PairTransform, seed: int, stacked: bool) -> None:
        self._split, self._transform, self._seed, self._stacked = split, transform, seed, stacked

    def batch(self, keys: Sequence[Key]) -> MaskBatch:
        """Return the images of these keys."""
        images, targets, indices, damaged = zip(*(self._item(*key) for key in keys), strict=True)
        as_one = torch.stack if self._stacked else list
        return MaskBatch(as_one(images), as_one(targets), torch.tensor(indices), torch.tensor(damaged))

    def _item(self, epoch: int, index: int) -> tuple[Tensor, Tensor, int, bool]:
        seed_cpu(derived_seed(self._seed, IMAGE, epoch, index))
        wanted = 0 if index == PADDING else index
        read, pair = first_readable(self._split.pair, len(self._split), wanted, self._split.name)
        image, target = self._transform(*pair)
        return image, target, index, read != wanted
