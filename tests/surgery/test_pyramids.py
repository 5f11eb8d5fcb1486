"""Detectors with a neck: the stages are the backbone's, whichever ways lead up and down again behind it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hmhsa_insert as hi


def _layer(inp: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inp, out, 3, stride, 1), nn.BatchNorm2d(out), nn.SiLU())


class Pyramid(nn.Module):
    """Four stages, a way up, and a way down again (PAN) or two (as BiFPN repeats it)."""

    def __init__(self, ways_down: int) -> None:
        super().__init__()
        self.stem = _layer(3, 8, 2)
        widths = (8, 8, 16, 16, 16)
        pairs = pairwise(widths)
        self.p2, self.p3, self.p4, self.p5 = (nn.Sequential(_layer(a, b, 2), _layer(b, b)) for a, b in pairs)
        self.t4, self.t3 = _layer(32, 16), _layer(32, 16)
        downs = [
            [_layer(16, 16, 2), _layer(32, 16), _layer(16, 16, 2), _layer(32, 16)] for _ in range(ways_down)
        ]
        self.downs = nn.ModuleList(nn.ModuleList(each) for each in downs)
        self.heads = nn.ModuleList(nn.Conv2d(16, 4, 1) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        p3 = self.p3(self.p2(self.stem(x)))
        p4 = self.p4(p3)
        n5 = self.p5(p4)
        n4 = self.t4(torch.cat([F.interpolate(n5, scale_factor=2), p4], 1))
        n3 = self.t3(torch.cat([F.interpolate(n4, scale_factor=2), p3], 1))
        for to4, join4, to5, join5 in self.downs:
            n4 = join4(torch.cat([to4(n3), n4], 1))
            n5 = join5(torch.cat([to5(n4), n5], 1))
        return [head(level) for head, level in zip(self.heads, (n3, n4, n5), strict=True)]


@pytest.mark.parametrize("ways_down", [0, 1, 2])
@pytest.mark.parametrize("size", [(3, 128, 128), (3, 96, 160)])
def test_the_stages_are_the_backbones(ways_down: int, size: Sequence[int]) -> None:
    found = hi.locate_stages(Pyramid(ways_down), tuple(size))
    ends = [(stage.index, stage.stride, stage.cut_points[-1].qualname) for stage in found if stage.index]
    assert ends == [(1, 4, "p2.1.2"), (2, 8, "p3.1.2"), (3, 16, "p4.1.2"), (4, 32, "p5.1.2")]
