"""Read the text of a file, up to a limit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hmhsa_insert.errors import HmhsaInsertError, Problem

# Integers are smaller than this: seeds have 64 bits, and no count has more.
WHOLE_NUMBERS_END = 2**64
_PIECE = 1 << 20


@dataclass(frozen=True)
class FileLimits:
    """The limits for one kind of file; a larger file is an attack, or another kind of file.

    Attributes:
        bytes: largest size of the file.
        values: largest number of values in all lists and mappings, aliases counted each time.
        levels: deepest nesting of lists and mappings.
        odd_names: whether text may have lone surrogates, as Python has in file names that are not UTF-8.
        odd_numbers: whether numbers may be not finite; the code that reads the values then reports them.
        number_keys: whether keys of YAML may be whole numbers; they are read as text.
    """

    bytes: int
    values: int
    levels: int
    odd_names: bool = False
    odd_numbers: bool = False
    number_keys: bool = False


# Files that people write; the configuration of a run, which names the classes of its data, ImageNet-21k's among them;
# other files that this package writes, as JSON; annotations of a data set in one file, and of one image.
RECIPE = FileLimits(1 << 20, 10_000, 40)
CONFIG = FileLimits(8 << 20, 50_000, 64, odd_names=True)
RECORD = FileLimits(16 << 20, 1_000_000, 64)
DATASET = FileLimits(4 << 30, 1_000_000_000, 64, odd_names=True, odd_numbers=True)
LABELS = FileLimits(16 << 20, 200_000, 64, odd_names=True, number_keys=True)


def read_file(path: Path, error: type[HmhsaInsertError], limits: FileLimits, tip: str = "") -> str:
    """Return the text of a file, without a byte-order mark.

    Args:
        path: of the file.
        error: the class to raise for a file that cannot be used.
        limits: only `bytes` is used here.
        tip: what to do about a file that cannot be opened.

    Raises:
        HmhsaInsertError: an `error`: it cannot be opened, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = _first(file, limits.bytes + 1)
    except (OSError, ValueError) as reason:  # a null character in a name is a ValueError
        said = getattr(reason, "strerror", None) or reason
        raise error(Problem(str(path), f"cannot be read: {said}", tip)) from reason
    if len(data) > limits.bytes:
        raise error(
            Problem(str(path), f"this file is larger than {_size(limits.bytes)}, the most that is read")
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        before = data[: reason.start]
        line, column = before.count(b"\n") + 1, reason.start - before.rfind(b"\n")
        message = f"byte 0x{data[reason.start]:02x} is not UTF-8 text"
        raise error(Problem(f"{path}:{line}:{column}", message, "save the file as UTF-8")) from reason


def _first(file: BinaryIO, most: int) -> bytes:
    """Return at most `most` bytes, read piece by piece: a single call would allocate them all."""
    pieces = []
    while most and (piece := file.read(min(most, _PIECE))):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def _size(count: int) -> str:
    return f"{count >> 30} GiB" if count >> 30 else f"{count >> 20} MiB"
