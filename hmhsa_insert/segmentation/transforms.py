"""What is done to an image and its labels alike, by torchvision's transforms of tv_tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from hmhsa_insert.segmentation.labels import IGNORED, Numbers
from hmhsa_insert.segmentation.schema import SemanticSettings
from hmhsa_insert.segmentation.segmenter import Seen

_CROPS = 10  # tried, until no class has too much of one


def seen_by(settings: SemanticSettings) -> Seen:
    """Return at which size images are seen by the settings."""
    return Seen(settings.segmenter.short_side, settings.segmenter.long_side, settings.segmenter.window)


def as_tensors(image: Image.Image, labels: Numbers) -> tuple[Tensor, Tensor]:
    """Return an image C×H×W, uint8, and its labels H×W, which torchvision's transforms treat alike."""
    return tv_tensors.Image(functional.pil_to_tensor(image)), tv_tensors.Mask(torch.from_numpy(labels))


def scaled(image: Tensor, size: Sequence[int]) -> Tensor:
    """Return an image, or a mask, at another height and width; as it is where they are its own."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    resized: Tensor = functional.resize(image, list(size), antialias=True)
    return resized


class TrainTransform:
    """A random scale, crop and mirror image of both, and a photometric distortion of the image.

    Args:
        settings: what is drawn.
        mean: of the image's channels, from 0 to 1: what stands beside an image that is smaller than the crop.
    """

    def __init__(self, settings: SemanticSettings, mean: Sequence[float]) -> None:
        self._settings, self._seen = settings.augment, seen_by(settings)
        self._side = settings.input_size
        self._fill = [255 * value for value in mean]
        self._flip = v2.RandomHorizontalFlip(self._settings.hflip)
        self._distort = v2.RandomPhotometricDistort(p=self._settings.color)

    def __call__(self, image: Image.Image, labels: Numbers) -> tuple[Tensor, Tensor]:
        """Return an image C×S×S in [0, 1], and its labels S×S."""
        pair = as_tensors(image, labels)
        low, high = self._settings.scale
        factor = low + (high - low) * float(torch.rand(()))
        size = [max(1, round(factor * side)) for side in self._seen.size(image.height, image.width)]
        first, second = self._cropped(*self._padded(*(scaled(each, size) for each in pair)))
        first, second = self._flip(first, second)
        if self._settings.color and first.shape[0] == 3:
            first = self._distort(first)
        return first.as_subclass(Tensor).float() / 255, second.as_subclass(Tensor).long()

    def _padded(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        height, width = image.shape[-2:]
        beside = [0, 0, max(0, self._side - width), max(0, self._side - height)]
        if not any(beside):
            return image, labels
        return (
            functional.pad(image, beside, fill=self._fill),
            functional.pad(labels, beside, fill=IGNORED),
        )

    def _cropped(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        height, width = image.shape[-2:]
        for _ in range(_CROPS):
            top, left = (int(torch.randint(length - self._side + 1, ())) for length in (height, width))
            box = (top, left, self._side, self._side)
            cut: Tensor = functional.crop(labels, *box)
            if self._settings.most_of_one == 1 or self._is_mixed(cut.as_subclass(Tensor)):
                break
        return functional.crop(image, *box), cut

    def _is_mixed(self, labels: Tensor) -> bool:
        counts = torch.bincount(labels[labels != IGNORED].long())
        return bool(counts.numel() and counts.max() <= self._settings.most_of_one * counts.sum())


class EvalTransform:
    """The image at the size that the network sees; its labels as they are."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def __call__(self, image: Image.Image, labels: Numbers) -> tuple[Tensor, Tensor]:
        """Return an image C×H×W in [0, 1], and its labels, of the size of the file."""
        first, second = as_tensors(image, labels)
        first = scaled(first, self._seen.size(image.height, image.width))
        return first.as_subclass(Tensor).float() / 255, second.as_subclass(Tensor).long()
