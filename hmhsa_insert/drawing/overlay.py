"""An attention map over its image, as a picture."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

# What is not looked at stays grey and dim; what is looked at most has this color.
_HOT = (255, 92, 20)
_ASKED = (0, 220, 255)
# Networks may take images too small to be looked at: their pixels become squares, until a side has so many.
_LEAST_SIDE = 256


def overlay(image: Tensor, weights: Tensor, query: tuple[int, int] | None = None) -> Image.Image:
    """Return an image in grey, colored where attention looks: the largest weight fully, zero not at all.

    Args:
        image: 3×H×W or 1×H×W, from 0 to 1.
        weights: h×w of the map; each is shown as the rectangle that it stands for.
        query: the pixel that is asked about, row and column, marked by a small square.
    """
    height, width = image.shape[1:]
    grey = image.mean(0).clamp(0, 1) * 0.75
    heat = F.interpolate((weights / weights.max().clamp(min=1e-12))[None, None], (height, width))[0, 0]
    hot = torch.tensor(_HOT, dtype=torch.float32)[:, None, None]
    mixed = 255 * grey * (1 - heat * 0.8) + hot * heat * 0.8
    if query is not None:
        side = max(1, min(height, width) // 64)
        rows, cols = (slice(max(place - side, 0), place + side + 1) for place in query)
        mixed[:, rows, cols] = torch.tensor(_ASKED, dtype=torch.float32)[:, None, None]
    drawn = Image.fromarray(mixed.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())
    factor = -(-_LEAST_SIDE // min(height, width))
    return drawn.resize((width * factor, height * factor), Image.Resampling.NEAREST)
