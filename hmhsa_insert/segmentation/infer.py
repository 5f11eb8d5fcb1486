"""Scores of one image of any size: whole, or in windows that overlap."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from hmhsa_insert.segmentation.segmenter import Seen

_OVERLAP = 1 / 3  # of a window's side


def scores_of(model: nn.Module, image: Tensor, seen: Seen, size: Sequence[int]) -> Tensor:
    """Return the scores K×H×W of an image at a size of its own.

    Args:
        model: a segmenter, in eval mode.
        image: C×h×w in [0, 1], at the size that the network sees.
        seen: whether it is seen in windows.
        size: H and W of the scores.
    """
    height, width = image.shape[-2:]
    if seen.window is None or max(height, width) <= seen.window:
        scores = model(image[None]).float()
    else:
        scores = _in_windows(model, image, seen.window)
    if scores.shape[-2:] != tuple(size):
        scores = interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)
    found: Tensor = scores[0]
    return found


def _in_windows(model: nn.Module, image: Tensor, side: int) -> Tensor:
    """Return the mean of the scores 1×K×h×w that overlapping windows give each pixel."""
    height, width = image.shape[-2:]
    total = count = torch.zeros((), device=image.device)
    for top in starts(height, side):
        for left in starts(width, side):
            part = image[None, :, top : top + side, left : left + side]
            scores = model(part).float()
            if not total.ndim:
                total = scores.new_zeros(1, scores.shape[1], height, width)
                count = scores.new_zeros(1, 1, height, width)
            total[..., top : top + side, left : left + side] += scores
            count[..., top : top + side, left : left + side] += 1
    return total / count


def starts(length: int, side: int) -> list[int]:
    """Return where windows of `side` begin that cover `length`, a third of each shared with the next."""
    if length <= side:
        return [0]
    step = max(1, round(side * (1 - _OVERLAP)))
    return [*range(0, length - side, step), length - side]
