"""Gray TIFFs of every depth, written by hand: a ramp from black to white is read as a ramp from black to white."""

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from hmhsa_insert.training.data.pictures import read_picture

RAMP = np.arange(0, 256, 8, dtype=np.int64)[None].repeat(4, 0)  # 4×32, 0 to 248


def _tiff(data: bytes, bits: int, sample_format: int = 1, photometric: int = 1) -> io.BytesIO:
    """Return an uncompressed little-endian TIFF of 32×4 pixels; photometric 0: zero is white."""
    entries = [
        (256, 4, 32),
        (257, 4, 4),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, 4),
        (279, 4, len(data)),
        (339, 3, sample_format),
    ]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    start = 8 + len(data)
    head = struct.pack("<2sHI", b"II", 42, start)
    return io.BytesIO(head + data + struct.pack("<H", len(entries)) + directory + struct.pack("<I", 0))


def _twelve(values: NDArray[np.int64]) -> bytes:
    """Pack two values of 12 bits into three bytes."""
    first, second = values.reshape(-1, 2).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8).tobytes()


FILES = {
    "8 bits": _tiff(RAMP.astype("<u1").tobytes(), 8),
    "8 bits, zero is white": _tiff((255 - RAMP).astype("<u1").tobytes(), 8, photometric=0),
    "12 bits": _tiff(_twelve(RAMP << 4), 12),
    "16 bits": _tiff((RAMP << 8).astype("<u2").tobytes(), 16),
    "16 bits, zero is white": _tiff((65535 - (RAMP << 8)).astype("<u2").tobytes(), 16, photometric=0),
    "16 bits, signed, none negative": _tiff((RAMP << 7).astype("<i2").tobytes(), 16, 2),
    "16 bits, signed, half negative": _tiff(((RAMP << 8) - 32768).astype("<i2").tobytes(), 16, 2),
    "32 bits": _tiff((RAMP << 24).astype("<u4").tobytes(), 32),
    "float": _tiff((RAMP / 255).astype("<f4").tobytes(), 32, 3),
    "float, zero is white": _tiff((1 - RAMP / 255).astype("<f4").tobytes(), 32, 3, photometric=0),
}


@pytest.mark.parametrize("name", FILES)
def test_a_ramp_is_a_ramp(name: str) -> None:
    found = np.asarray(read_picture(io.BytesIO(FILES[name].getvalue())).convert("L")).astype(int)
    assert abs(found - RAMP).max() <= 1  # rounding of integers of which zero is white
