"""Images by number: what every source of data that is not a stream looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

Targets = npt.NDArray[np.int64]
_GREY_MODES = {"1", "L", "LA", "I", "I;16"}
_LOOKED_AT = 32


class Images(Protocol):
    """A split of labelled images."""

    @property
    def targets(self) -> Targets:
        """The class of every image, N."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image.Image:
        """Return one image, decoded; raises whatever its reader does for a damaged one."""

    def name(self, index: int) -> str:
        """Return what a report calls one image."""


@dataclass(frozen=True)
class ArrayImages:
    """Images in memory: ``pixels`` N×H×W, uint8."""

    pixels: npt.NDArray[np.uint8]
    targets: Targets
    title: str
    numbers: Targets

    def __len__(self) -> int:
        return len(self.targets)

    def image(self, index: int) -> Image.Image:
        """Return one image."""
        return Image.fromarray(self.pixels[index])

    def name(self, index: int) -> str:
        """Return the image's number in its data set."""
        return f"{self.title}[{self.numbers[index]}]"


class FileImages:
    """Images of a timm ``ImageDataset``: a folder, a tar file, a Hugging Face data set."""

    def __init__(self, dataset: Any) -> None:
        # The reader below the data set: the latter puts another image in a damaged one's place, and only logs it.
        self._reader = dataset.reader
        if hasattr(self._reader, "targets"):
            labels = self._reader.targets
        elif hasattr(self._reader, "samples"):
            labels = [target for _, target in self._reader.samples]
        else:
            labels = list(self._reader.iter_targets())
        self.targets: Targets = np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.targets)

    def image(self, index: int) -> Image.Image:
        """Return one image, its file closed again."""
        file, _ = self._reader[index]
        with file:
            image = Image.open(file)
            image.load()
        return image

    def name(self, index: int) -> str:
        """Return the file's path below the split's folder."""
        return str(self._reader.filename(index) or index)


class TorchImages:
    """Images of a torchvision data set."""

    def __init__(self, dataset: Any, title: str) -> None:
        self._dataset = dataset
        self._title = title
        labels = getattr(dataset, "targets", getattr(dataset, "labels", None))
        if labels is None:
            labels = [dataset[index][1] for index in range(len(dataset))]
        self.targets: Targets = np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.targets)

    def image(self, index: int) -> Image.Image:
        """Return one image."""
        image: Image.Image = self._dataset[index][0]
        return image

    def name(self, index: int) -> str:
        """Return the image's number in its data set."""
        return f"{self._title}[{index}]"


class ChosenImages:
    """Some images of a split, as a split of their own.

    Attributes:
        images: the whole split.
        targets: the class of every chosen image, N.
    """

    def __init__(self, images: Images, indices: Sequence[int] | Targets) -> None:
        self.images = images
        self._indices = np.asarray(indices, dtype=np.int64)
        self.targets: Targets = images.targets[self._indices]

    def __len__(self) -> int:
        return len(self.targets)

    def image(self, index: int) -> Image.Image:
        """Return one image."""
        return self.images.image(int(self._indices[index]))

    def name(self, index: int) -> str:
        """Return what the whole split calls the image."""
        return self.images.name(int(self._indices[index]))


def held_out(images: Images, share: float) -> tuple[ChosenImages, ChosenImages]:
    """Split off `share` of every class, the same images every time; return the rest and those."""
    from sklearn.model_selection import train_test_split

    numbers = np.arange(len(images.targets))
    counts = np.bincount(images.targets)
    smallest = min(len(numbers) * share, counts[counts > 0].min())
    strata = images.targets if smallest >= 2 and len(numbers) * share >= len(counts) else None
    rest, held = train_test_split(numbers, test_size=share, random_state=0, stratify=strata)
    return ChosenImages(images, np.sort(rest)), ChosenImages(images, np.sort(held))


def count_channels(images: Images) -> int:
    """Return 1 if a sample of the images is grey, else 3; damaged images do not count."""
    modes = set()
    for index in np.linspace(0, len(images.targets) - 1, min(_LOOKED_AT, len(images.targets))):
        try:
            modes.add(images.image(int(index)).mode)
        except Exception:
            continue
    return 1 if modes and modes <= _GREY_MODES else 3


def fingerprint(*splits: Images) -> str:
    """Return a digest of every image's name and class: tells whether a run goes on with the same data."""
    digest = hashlib.sha256()
    for images in splits:
        digest.update(images.targets.tobytes())
        for index in range(len(images.targets)):
            digest.update(images.name(index).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]
