"""Run-length encoded masks, read here: pycocotools believes runs and writes beyond the mask that they do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Runs = npt.NDArray[np.int64]

# COCO's text: a character holds five bits of a number above "0", then whether more follow; the last has the sign.
_ZERO, _BITS, _MORE, _SIGN = ord("0"), 5, 0x20, 0x10
_MOST_CHARACTERS = 7  # of one number: 35 bits, more than any mask has pixels


class BadRuns(ValueError):
    """Runs that are none, or do not fill the mask."""


def read_runs(counts: Any, pixels: int) -> Runs:
    """Return the lengths of runs of 0, 1, 0, … down the columns of a mask of so many pixels.

    Args:
        counts: a list of integers, or COCO's compressed text.
        pixels: of the mask.

    Raises:
        BadRuns: says what is wrong.
    """
    runs = _decompressed(counts) if isinstance(counts, str) else _listed(counts, pixels)
    if runs.size and (runs.min() < 0 or runs.max() > pixels):
        raise BadRuns("has a run that is negative or longer than the image")
    if runs.sum() != pixels:
        raise BadRuns(f"has runs of {'fewer' if runs.sum() < pixels else 'more'} pixels than the image")
    return runs


def area_of(runs: Runs) -> int:
    """Return how many pixels are 1."""
    return int(runs[1::2].sum())


def _listed(counts: list[Any], pixels: int) -> Runs:
    """Return runs that are written out; integers may be written as floats."""
    for each in counts:
        if isinstance(each, bool) or not isinstance(each, int | float) or each != each // 1:
            raise BadRuns("has a run that is not an integer")
        if not 0 <= each <= pixels:
            raise BadRuns("has a run that is negative or longer than the image")
    return np.array([int(each) for each in counts], dtype=np.int64)


def _decompressed(text: str) -> Runs:
    try:
        values = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - _ZERO
    except UnicodeEncodeError as error:
        raise BadRuns("is not a run-length encoding: its text is not ASCII") from error
    if not values.size:
        return values
    if values.min() < 0 or values.max() > 0x3F:
        raise BadRuns("is not a run-length encoding: its text has other characters than '0' to 'o'")
    last = (values & _MORE) == 0
    if not last[-1]:
        raise BadRuns("is cut off: its text ends within a number")
    ends = np.flatnonzero(last)
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _MOST_CHARACTERS:
        raise BadRuns("has a run that is negative or longer than the image")
    place = np.arange(values.size) - np.repeat(ends - lengths + 1, lengths)
    parts = (values & 0x1F) << (_BITS * place)
    numbers = np.add.reduceat(parts, ends - lengths + 1)
    negative = (values[ends] & _SIGN) != 0
    numbers -= np.where(negative, np.int64(1) << (_BITS * lengths), 0)
    # From the fourth on a number is the difference to the one before last.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
