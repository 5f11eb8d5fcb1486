"""Images by number: what every source of data that is not a stream looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.pictures import ManyChannels, as_it_looks, is_gray, read_gray, read_picture
from hmhsa_insert.training.names import shown
from hmhsa_insert.training.problems import DataError

Targets = npt.NDArray[np.int64]
_LOOKED_AT = 1000


class Images(Protocol):
    """A split of labelled images."""

    @property
    def targets(self) -> Targets:
        """The class of every image, N."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image.Image:
        """Return one image as it looks; raises whatever its reader does for a damaged one."""

    def gray(self, index: int) -> bool:
        """Return True if one image has no color; raises as :meth:`image`."""

    def name(self, index: int) -> str:
        """Return what a report calls one image: printable, and no other image's."""


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

    def gray(self, index: int) -> bool:
        """Return True: there is one channel."""
        return True

    def name(self, index: int) -> str:
        """Return the image's number in its data set."""
        return f"{self.title}[{self.numbers[index]}]"


class ReaderImages:
    """Images of a timm ``ImageDataset``, such as a Hugging Face data set."""

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
        with self._reader[index][0] as file:
            return read_picture(file)

    def gray(self, index: int) -> bool:
        """Return True if one image has no color."""
        with self._reader[index][0] as file:
            return read_gray(file)

    def name(self, index: int) -> str:
        """Return what the reader calls the image."""
        return shown(str(self._reader.filename(index) or index))

    def content(self, index: int) -> bytes:
        """Return the bytes of one image's file; none if they cannot be read."""
        try:
            with self._reader[index][0] as file:
                read: bytes = file.read()
        except Exception:  # what a reader raises for a damaged record
            return b""
        return read


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
        return as_it_looks(self._dataset[index][0])

    def gray(self, index: int) -> bool:
        """Return True if one image has no color."""
        return is_gray(self._dataset[index][0])

    def name(self, index: int) -> str:
        """Return the image's number in its data set."""
        return f"{self._title}[{index}]"


class ChosenImages:
    """Some images of a split, as a split of their own.

    Attributes:
        images: the whole split.
        targets: the class of every chosen image, N.
    """

    def __init__(
        self, images: Images, indices: Sequence[int] | Targets, targets: Targets | None = None
    ) -> None:
        self.images = images
        self._indices = np.asarray(indices, dtype=np.int64)
        self.targets: Targets = images.targets[self._indices] if targets is None else targets

    def __len__(self) -> int:
        return len(self.targets)

    def image(self, index: int) -> Image.Image:
        """Return one image."""
        return self.images.image(int(self._indices[index]))

    def gray(self, index: int) -> bool:
        """Return True if one image has no color."""
        return self.images.gray(int(self._indices[index]))

    def name(self, index: int) -> str:
        """Return what the whole split calls the image."""
        return self.images.name(int(self._indices[index]))


def count_colored(images: Images, dropping: bool = False) -> tuple[int, int]:
    """Return how many of a sample of the images have color, and how many could be looked at.

    Args:
        images: the split.
        dropping: whether the user chose how many channels are read.

    Raises:
        DataError: an image has channels that would be dropped, which nobody asked for.
    """
    colored = seen = 0
    for index in np.linspace(0, len(images.targets) - 1, min(_LOOKED_AT, len(images.targets))):
        try:
            colored += not images.gray(int(index))
        except ManyChannels as error:
            if not dropping:
                tip = "`overrides=['loader.channels=3']` reads those; or write the ones that matter as RGB"
                raise DataError(Problem(images.name(int(index)), str(error), tip)) from error
            colored += 1
        except Exception:  # a damaged image fails in any way its format likes
            continue
        seen += 1
    return colored, seen


def names_digest(*splits: Images) -> str:
    """Return a digest of every image's name and class, and of nothing that is in the images."""
    digest = hashlib.sha256()
    for images in splits:
        digest.update(images.targets.tobytes())
        for index in range(len(images.targets)):
            digest.update(images.name(index).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]
