"""Folders of small pictures, as tests want them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hmhsa_insert.training.data import Data
from hmhsa_insert.training.data.images import Images


def paint(path: str | Path, level: int = 100, mode: str = "RGB", size: int = 16) -> Path:
    """Write one picture, of noise around a level."""
    rng = np.random.default_rng(sum(os.fsencode(str(path))) + level)
    noise = np.clip(level + rng.integers(-20, 20, (size, size, 3)), 0, 255).astype(np.uint8)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).convert(mode).save(path)
    return path


def fill(root: Path, counts: Mapping[str, int], ending: str = "png", mode: str = "RGB") -> Path:
    """Write so many pictures into each folder below `root`; every folder has a level of its own."""
    for number, (folder, count) in enumerate(counts.items()):
        for index in range(count):
            paint(root / folder / f"{index}.{ending}", 40 + 60 * number % 180, mode)
    return root


def seen(images: object) -> list[tuple[str, int]]:
    """Return names and classes of a split, in order."""
    assert isinstance(images, Sequence) or hasattr(images, "targets")
    split: Images = images  # type: ignore[assignment]
    return [(split.name(index), int(target)) for index, target in enumerate(split.targets)]


def names(data: Data) -> tuple[set[str], set[str]]:
    """Return the names of the pictures in training and in validation."""
    return {name for name, _ in seen(data.train)}, {name for name, _ in seen(data.val)}
