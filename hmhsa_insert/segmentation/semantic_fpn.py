"""Semantic FPN, the decoder of the authors' segmentation: a feature pyramid whose levels are enlarged and added up.

Of Kirillov et al., Panoptic Feature Pyramid Networks (2019), as mmsegmentation has it, which the authors of H-MHSA
train with: a 3×3 convolution behind every level of the pyramid, BatchNorm in the branches, one dropout of channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

STRIDES = (4, 8, 16, 32)


class SemanticFPN(nn.Module):
    """Makes scores at a quarter of the image's side from the maps of strides 4 to 32.

    Args:
        maps: channels of the maps, finest first.
        num_classes: of the scores.
        channels: of the pyramid; the branches have half as many.
        dropout: probability of a dropped channel in front of the scores.
    """

    def __init__(self, maps: Sequence[int], num_classes: int, channels: int, dropout: float = 0.1) -> None:
        super().__init__()
        half = channels // 2
        self.lateral = nn.ModuleList(nn.Conv2d(each, channels, 1) for each in maps)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in maps)
        self.branches = nn.ModuleList(_Branch(channels, half, level) for level in range(len(maps)))
        self.dropout = nn.Dropout2d(dropout)
        self.scores = nn.Conv2d(half, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.scores.weight, std=0.01)

    def forward(self, _image: Tensor, maps: Mapping[int, Tensor]) -> Tensor:
        """Return the scores N×K×H/4×W/4 of the maps by their strides; the image plays no part."""
        found = [lateral(maps[stride]) for lateral, stride in zip(self.lateral, STRIDES, strict=True)]
        for level in range(len(found) - 1, 0, -1):
            found[level - 1] = found[level - 1] + interpolate(found[level], size=found[level - 1].shape[-2:])
        size = found[0].shape[-2:]
        parts = zip(self.branches, self.smooth, found, strict=True)
        enlarged = [branch(smooth(each), size) for branch, smooth, each in parts]
        scores: Tensor = self.scores(self.dropout(sum(enlarged)))
        return scores


class _Branch(nn.Module):
    """Convolutions and doublings that bring one level of the pyramid to the finest one's size."""

    def __init__(self, channels: int, out: int, level: int) -> None:
        super().__init__()
        count = max(1, level)
        self.doubles = level > 0
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels if step == 0 else out, out, 3, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(inplace=True),
            )
            for step in range(count)
        )

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Return a map of `size`, H and W."""
        for left, step in zip(range(len(self.steps) - 1, -1, -1), self.steps, strict=True):
            x = step(x)
            if self.doubles:
                # Sizes that the strides do not divide are met at the end.
                goal = [math.ceil(side / 2**left) for side in size]
                x = interpolate(x, size=goal, mode="bilinear", align_corners=False)
        return x
