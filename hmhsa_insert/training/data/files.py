"""Pictures in files: read by their paths, or by their places in a tar file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from hmhsa_insert.training.data.arrays import ENDING, channels_in, read_planes
from hmhsa_insert.training.data.digests import CONTENTS
from hmhsa_insert.training.data.images import Targets
from hmhsa_insert.training.data.pictures import ending, is_deep, read_gray, read_picture
from hmhsa_insert.training.data.tree import File, open_path
from hmhsa_insert.training.names import shown


class FileImages:
    """Pictures of a folder or a tar file.

    Attributes:
        files: in order.
        targets: the class of each, N.
        below: the split's folder below the root; names of pictures begin after it.
    """

    def __init__(self, root: Path, files: Sequence[File], targets: Sequence[int], below: str) -> None:
        self._root = str(root)
        self.files = files
        self.targets: Targets = np.asarray(targets, dtype=np.int64)
        self._cut = len(below) + 1 if below else 0

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> Image.Image:
        """Return one picture as it looks, its file closed again."""
        with self._open(index) as file:
            if self.arrays:
                return read_planes(file)  # type: ignore[return-value]
            return read_picture(file)

    def gray(self, index: int) -> bool:
        """Return True if one picture has no color."""
        with self._open(index) as file:
            return channels_in(file) == 1 if self.arrays else read_gray(file)

    def deep(self, index: int) -> bool:
        """Return True if one picture has gray levels of more than 8 bits."""
        with self._open(index) as file:
            return is_deep(file)

    @property
    def arrays(self) -> bool:
        """Whether these are arrays and no pictures; a folder has one of both."""
        return bool(self.files) and ending(self.files[0].path) == ENDING

    def array_channels(self, index: int) -> int:
        """Return how many channels an array has; raises ValueError if it is no image."""
        with self._open(index) as file:
            return channels_in(file)

    def name(self, index: int) -> str:
        """Return the file's path below the split's folder, printable."""
        return shown(self.path(index))

    def path(self, index: int) -> str:
        """Return the file's path below the split's folder, as it is."""
        return self.files[index].path[self._cut :]

    @contextmanager
    def _open(self, index: int) -> Iterator[IO[bytes]]:
        # A tar file is opened for every picture: one kept open would be shared with forked workers, its position too.
        file = self.files[index]
        with open(open_path(self._root, file), "rb") as opened:
            if file.tar is None:
                yield opened
            else:
                opened.seek(file.offset)
                yield io.BytesIO(opened.read(file.size))


def fingerprint(splits: Sequence[FileImages], contents: Sequence[bytes]) -> str:
    """Return a digest of every picture's path below its split, which names its class, and content; of nothing else.

    Args:
        splits: the pictures.
        contents: a digest of each picture's file, over all splits in order.
    """
    digest = hashlib.sha256()
    start = 0
    for images in splits:
        digest.update(b"split\0")
        names = (images.path(index).encode("utf-8", "surrogateescape") for index in range(len(images)))
        known = contents[start : start + len(images)]
        digest.update(b"".join(b"%b\0%b" % pair for pair in zip(names, known, strict=True)))
        start += len(images)
    return CONTENTS + digest.hexdigest()[:24]


def names_fingerprint(splits: Sequence[FileImages]) -> str:
    """Return the digest of names and classes that runs of earlier versions have."""
    digest = hashlib.sha256()
    for images in splits:
        digest.update(images.targets.tobytes())
        names = "".join(images.path(index) for index in range(len(images)))
        digest.update(names.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
