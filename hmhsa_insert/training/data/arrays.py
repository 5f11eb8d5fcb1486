"""Images in NumPy files: any number of channels, at the precision that they have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch

ENDING = ".npy"
_MOST_CHANNELS = 64
_MOST_BYTES = 1 << 30
_HEADER = 4096  # characters
# What one stands for in integers of each size; fractions are taken as they are.
_WHITE = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0, "float64": 1.0}
_MODES = {"L": 1, "RGB": 3}


@dataclass(frozen=True)
class Planes:
    """An image of any number of channels.

    Attributes:
        values: C×H×W, float32; integers as shares of the largest that they hold.
    """

    values: torch.Tensor

    def convert(self, mode: str) -> Planes:
        """Return this image, which has to have the channels that are asked for: ``L``, ``RGB``, or a number."""
        wanted = _MODES.get(mode) or int(mode)
        if len(self.values) != wanted:
            raise ValueError(f"{len(self.values)} channels where {wanted} are expected")
        return self


def channels_in(file: IO[bytes]) -> int:
    """Return how many channels the array in an open file has; raises ValueError if it is no image."""
    return _header(file)[1]


def read_planes(file: IO[bytes]) -> Planes:
    """Return the array in an open file as an image; raises ValueError if it is none. Objects are never unpickled."""
    axis, _, kind, size = _header(file)
    file.seek(0)
    array: Any = np.lib.format.read_array(file, allow_pickle=False, max_header_size=_HEADER)
    assert array.nbytes == size
    values = np.expand_dims(array, 0) if axis is None else np.moveaxis(array, axis, 0)
    found = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32) / np.float32(_WHITE[kind]))
    if not bool(torch.isfinite(found).all()):
        raise ValueError("a value is not a finite number")
    return Planes(found)


def _header(file: IO[bytes]) -> tuple[int | None, int, str, int]:
    """Return the axis of the channels (None: there is none), how many there are, the type of numbers, and the bytes."""
    version = np.lib.format.read_magic(file)
    reading: Any = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if reading is None:
        raise ValueError(f"version {version} of the format is not read")
    shape, _, dtype = reading(file, max_header_size=_HEADER)
    size = math.prod(shape) * dtype.itemsize
    if dtype.name not in _WHITE or len(shape) not in (2, 3) or not 0 < size <= _MOST_BYTES:
        raise ValueError(f"an array of {dtype} and shape {shape} is no image")
    if len(shape) == 2:
        return None, 1, dtype.name, size
    # Images have fewer channels than pixels along a side.
    axis = 0 if shape[0] < shape[2] else 2
    if shape[0] == shape[2] or shape[axis] > _MOST_CHANNELS:
        raise ValueError(f"shape {shape} does not say which axis the channels are")
    return axis, shape[axis], dtype.name, size
